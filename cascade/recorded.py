"""A cascade's run read back from the ranking that it left, for the figures that need no more than that."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.alone import AllScores
from cascade.errors import CascadeError
from cascade.frames import canonical
from cascade.keep import KeepAll
from cascade.pipeline import CascadeResult, StageRun
from cascade.scorer import StageInfo
from cascade.stage_ranking import StageRanks

PREFIX = "score_"
"""Begins the name of a column of one stage's scores, which its rate ends."""


def recorded_result(frame: pl.DataFrame) -> CascadeResult:
    """The result of a run, from its ranking.

    frame: columns qid, docid, rank, stage, kept and, from the first stage to the last, one `score_RATE` per stage,
    null where the candidate did not reach it. Rules, costs and seconds are not in it: they read `KeepAll`, 0 and 0.

    Raises CascadeError for a missing column, a null, the same candidate twice, or scores that don't fit the stage.
    """
    frame = canonical(frame, required=("qid", "docid"))
    missing = [name for name in ("rank", "stage", "kept") if name not in frame.columns]
    if missing:
        raise CascadeError(f"unable to find column {missing[0]!r} of a ranking, got {frame.columns}; write it by run")
    columns = [name for name in frame.columns if name.startswith(PREFIX)]
    if not columns:
        raise CascadeError(
            f"a ranking needs a column {PREFIX}RATE for each stage, got {frame.columns}; write it by run"
        )
    nulls = [name for name in ("qid", "docid", "rank", "stage", "kept") if frame[name].null_count()]
    if nulls:
        raise CascadeError(
            f"column {nulls[0]!r} must have no nulls, got {frame[nulls[0]].null_count()}; mend the ranking"
        )
    scores = [pl.col(name).cast(pl.Float64).fill_nan(None).alias(f"score_{i}") for i, name in enumerate(columns)]
    frame = frame.select(
        "qid", "docid", "rank", pl.col("stage").cast(pl.Int64), *scores, pl.col("kept").cast(pl.Boolean)
    )
    last = len(columns) - 1
    wrong = ~pl.col("stage").is_between(0, last) | (pl.col("kept") & (pl.col("stage") < last))
    for stage in range(len(columns)):
        wrong |= pl.col(f"score_{stage}").is_finite().fill_null(False) != (pl.col("stage") >= stage)
    misfits = frame.filter(wrong)
    if len(misfits):
        qid, docid, stage = misfits.select("qid", "docid", "stage").row(0)
        raise CascadeError(
            f"a candidate has a finite score for every stage up to its own and none beyond, and is kept by the last "
            f"alone; query {qid!r}, candidate {docid!r} with stage {stage} of {len(columns)} does not: mend the ranking"
        )
    if frame.select("qid", "docid").is_duplicated().any():
        raise CascadeError("candidates must be unique within a query, the ranking has some twice; drop those rows")
    frame = frame.sort("qid", "rank", "docid")
    reached = [int((frame["stage"] >= stage).sum()) for stage in range(len(columns))]
    ways = zip(columns, reached, [*reached[1:], int(frame["kept"].sum())], strict=True)
    stages = tuple(
        StageRun(StageInfo(_rate(name), 0, 0.0), KeepAll(), came, left, 0.0 if came else None, 0.0, None)
        for name, came, left in ways
    )
    return CascadeResult(frame, stages, 0.0, 0)


def recorded_scores(result: CascadeResult, everything: CascadeResult) -> AllScores:
    """Every stage's scores of a run's candidates, from a run of the same stages, and maybe others, that dropped none.

    Stages are told apart by their rates. Raises CascadeError where one is missing, candidates differ, or one has no
    score.
    """
    rates = [run.info.rate for run in everything.stages]
    missing = [run.info.rate for run in result.stages if run.info.rate not in rates]
    if missing:
        raise CascadeError(f"the scores must be of the run's stages, they lack rate {missing[0]} and have {rates}")
    at = [rates.index(run.info.rate) for run in result.stages]
    names = [pl.col(f"score_{i}").alias(f"score_{stage}") for stage, i in enumerate(at)]
    frame = everything.frame.select("qid", "docid", *names).sort("qid", "docid")
    keys = result.frame.select("qid", "docid").sort("qid", "docid")
    if not frame.select("qid", "docid").equals(keys):
        raise CascadeError(
            f"the scores must be of the run's candidates, got {len(frame)} for {len(keys)}; run both over one table"
        )
    holes = sum(frame[f"score_{stage}"].null_count() for stage in range(len(at)))
    if holes:
        raise CascadeError(
            f"every stage must score every candidate, {holes} scores are missing; run with keep 'all' at every stage"
        )
    return AllScores(frame, tuple(run.info for run in result.stages))


def kept_as_many(ranks: StageRanks, result: CascadeResult) -> NDArray[np.bool_]:
    """(n, S) what each stage alone would keep of all the candidates: as many of a query as the run kept there."""
    rows = result.frame.sort("qid", "docid")
    kept = np.empty(ranks.places.shape[::-1], dtype=bool)
    for stage, place in enumerate(ranks.places):
        alive = rows.select((pl.col("stage") > stage) | pl.col("kept")).to_series().to_numpy()
        kept[:, stage] = place < ranks.per_query(alive)[ranks.query]
    return kept


def _rate(column: str) -> float | None:
    try:
        rate = float(column.removeprefix(PREFIX))
    except ValueError:
        return None
    return rate if 0 < rate <= 1 else None

"""How good: each stage alone, the cascade so far, and which stage lost what.

Counts are over (query, item) pairs, all queries together, as the paper counts items; `recall_by_query`
gives the per-query figures that retrieval measures average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cascade.alone import Alone
from cascade.pipeline import CascadeResult
from cascade.relevance import aligned, count_relevant, is_relevant


@dataclass(frozen=True)
class StageQuality:
    """Counts of one stage alone, or of a cascade up to a stage.

    candidates: all of them. relevant: relevant pairs, candidates or not. relevant_candidates: those that are.
    kept: candidates kept. correct: kept and relevant.
    """

    candidates: int
    relevant: int
    relevant_candidates: int
    kept: int
    correct: int

    @property
    def precision(self) -> float | None:
        """|kept & relevant| / |kept|; None when nothing is kept."""
        return _share(self.correct, self.kept)

    @property
    def recall(self) -> float | None:
        """|kept & relevant| / |relevant|; None when nothing is relevant."""
        return _share(self.correct, self.relevant)

    @property
    def accuracy(self) -> float | None:
        """Share of the candidates decided rightly: relevant and kept, or neither.

        Where all the candidates are relevant, as in the paper's cascade (each image is a candidate for its
        own class), this is the share classified as their class, the paper's "precision" (Table 4).
        """
        dropped_rightly = self.candidates - self.relevant_candidates - (self.kept - self.correct)
        return _share(self.correct + dropped_rightly, self.candidates)


def quality_alone(alone: Alone, relevant: pl.DataFrame) -> list[StageQuality]:
    """Each stage's own rule on all the candidates."""
    wanted = is_relevant(alone.frame, relevant)
    total = count_relevant(relevant)
    return [
        StageQuality(len(wanted), total, int(wanted.sum()), int(kept.sum()), int((kept & wanted).sum()))
        for kept in alone.kept.T
    ]


def quality_so_far(result: CascadeResult, relevant: pl.DataFrame) -> list[StageQuality]:
    """What survives every stage up to each one; its recall is the aggregate recall."""
    wanted = is_relevant(result.frame, relevant)
    total = count_relevant(relevant)
    qualities = []
    for stage in range(len(result.stages)):
        kept = survived(result, stage).to_numpy()
        counts = int(wanted.sum()), int(kept.sum()), int((kept & wanted).sum())
        qualities.append(StageQuality(len(wanted), total, *counts))
    return qualities


def survived(result: CascadeResult, stage: int) -> pl.Series:
    """(n,) whether each row of the result survived every stage up to and including `stage`."""
    return result.frame.select((pl.col("stage") > stage) | pl.col("kept")).to_series().alias("survived")


def loss_by_stage(result: CascadeResult, relevant: pl.DataFrame) -> pl.DataFrame:
    """Which stage dropped how many relevant items.

    Columns: stage (null in the first row: lost before the cascade, never a candidate), relevant_in, lost,
    relevant_out, lost_share (of all the relevant pairs; null when there are none). The lost and the last
    relevant_out add up to the relevant pairs.
    """
    so_far = quality_so_far(result, relevant)
    total = so_far[0].relevant
    out = [so_far[0].relevant_candidates, *(quality.correct for quality in so_far)]
    lost = -np.diff([total, *out])
    return pl.DataFrame(
        {
            "stage": [None, *range(len(so_far))],
            "relevant_in": [total, *out[:-1]],
            "lost": lost,
            "relevant_out": out,
            "lost_share": [_share(int(n), total) for n in lost],
        },
        schema_overrides={"stage": pl.Int64, "lost_share": pl.Float64},
    )


def recall_by_query(frame: pl.DataFrame, kept: pl.Series, relevant: pl.DataFrame) -> pl.DataFrame:
    """Recall of each query that has something relevant, candidates or not.

    frame: n rows with qid, docid. kept: (n,) what is kept of them. Columns of the answer: qid, relevant,
    correct, recall; sorted by qid.
    """
    keys, pairs = aligned(frame, relevant)
    found = keys.filter(kept.to_numpy() & is_relevant(keys, pairs))
    return (
        pairs.group_by("qid")
        .agg(relevant=pl.len())
        .join(found.group_by("qid").agg(correct=pl.len()), on="qid", how="left")
        .with_columns(pl.col("correct").fill_null(0))
        .with_columns(recall=pl.col("correct") / pl.col("relevant"))
        .sort("qid")
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None

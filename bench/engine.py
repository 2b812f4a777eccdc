"""The engine's overhead: a cascade of trivial scorers against the same filter written directly in polars."""

from typing import Any

import numpy as np
import polars as pl

from bench.timing import side_by_side
from cascade import CallableScorer, Cascade, StageInfo, TopK

QUERIES, PER_QUERY = 1_000, 1_000
CUTOFFS = (200, 50, 10)
KEYS = ["qid", "docid", "rank", "score", "stage", "score_0", "score_1", "score_2", "kept"]


def candidates(seed: int = 0) -> pl.DataFrame:
    """1,000,000 rows grouped by query, as a retriever hands them over: docids in no order within the query."""
    rng = np.random.default_rng(seed)
    n = QUERIES * PER_QUERY
    scores = {f"s{stage}": rng.standard_normal(n) for stage in range(len(CUTOFFS))}
    return pl.DataFrame({"qid": np.repeat(np.arange(QUERIES), PER_QUERY), "docid": rng.permutation(n), **scores})


def column(stage: int) -> Any:
    return lambda frame: frame[f"s{stage}"].to_numpy()


def ours(frame: pl.DataFrame, only_kept: bool = False) -> pl.DataFrame:
    stages = range(len(CUTOFFS))
    infos, reads = [StageInfo(None, 0, 0.0) for _ in stages], [[f"s{stage}"] for stage in stages]
    scorer = CallableScorer([column(stage) for stage in stages], infos, reads, order_free=True)
    return Cascade(scorer, [TopK(k) for k in CUTOFFS]).run(frame, only_kept=only_kept).frame


def direct(frame: pl.DataFrame) -> pl.DataFrame:
    """Rank within the query by score, ties by docid, and filter; three times.

    The fastest of five ways to write it that were timed (next came one sort by docid up front and a plain rank).
    It checks neither duplicates nor NaN, which the engine does.
    """
    alive = frame
    parts = []
    for stage, k in enumerate(CUTOFFS):
        last = stage == len(CUTOFFS) - 1
        alive = alive.rename({f"s{stage}": f"score_{stage}"}).with_columns(
            rank=pl.struct(-pl.col(f"score_{stage}"), "docid").rank("ordinal").over("qid"),
            score=pl.col(f"score_{stage}"),
            stage=pl.lit(stage, dtype=pl.Int32),
        )
        kept = pl.col("rank") <= k
        done = alive if last else alive.filter(~kept)
        done = done.with_columns(kept=kept if last else pl.lit(False))
        parts.append(done.select(name for name in KEYS if name in done.columns))
        alive = alive.filter(kept)
    return pl.concat(parts, how="diagonal").sort("qid", "rank").select(KEYS)


def engine_overhead(repeats: int) -> dict[str, Any]:
    """Both give the same table; polars uses its own threads in both."""
    frame = candidates()
    expected, found = direct(frame), ours(frame)
    expected = expected.with_columns(pl.col("rank", "stage").cast(pl.Int32))
    if not found.equals(expected):
        raise AssertionError("the engine and the direct expression must give the same table")
    return side_by_side("engine-overhead", lambda: ours(frame), lambda: direct(frame), None, repeats)

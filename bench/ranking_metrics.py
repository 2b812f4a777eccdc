"""Ranking measures: ours against ir_measures on a table it gets through, and ours alone on 10,000,000 rows."""

from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from bench.timing import side_by_side
from cascade import evaluate
from slicing import SlicingError

MEASURES = ("nDCG@10", "nDCG", "RR", "AP", "R@100", "R@1000", "P@10", "P(rel=2)@5", "Success@1")
PER_QUERY = 1_000
SMALL, LARGE = 200, 10_000  # queries
LEVELS = (0.6, 0.2, 0.1, 0.07, 0.03)
"""How often each label occurs: four rows in ten are relevant, far more than in most judgements."""


def tables(queries: int, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A run with scores and judgements of all its rows, both in no order at all, ids of integers."""
    rng = np.random.default_rng(seed)
    n = queries * PER_QUERY
    keys = pl.DataFrame({"qid": np.repeat(np.arange(queries), PER_QUERY), "docid": rng.permutation(n)})
    run = keys.with_columns(score=pl.Series(rng.standard_normal(n)))[rng.permutation(n)]
    judgements = keys.with_columns(label=pl.Series(rng.choice(len(LEVELS), n, p=LEVELS)))[rng.permutation(n)]
    return run, judgements


def metrics_10m(repeats: int) -> dict[str, Any]:
    """All the measures at once, tables in memory on both sides: for ir_measures, its fastest input, dictionaries."""
    try:
        import ir_measures
    except ModuleNotFoundError:
        raise SlicingError("metrics-10m compares with ir_measures, which is not installed; install '.[dev]'") from None
    run, judgements = tables(SMALL)
    wanted = [ir_measures.parse_measure(name) for name in MEASURES]
    run_dict, judged_dict = _dictionary(run, "score"), _dictionary(judgements, "label")

    def ours() -> dict[str, float | None]:
        return evaluate(run, judgements, MEASURES).means

    def rival() -> dict[str, float]:
        means = ir_measures.pytrec_eval.calc_aggregate(wanted, judged_dict, run_dict)
        return {str(measure): value for measure, value in means.items()}

    mine, theirs = ours(), rival()
    if any(abs(theirs[name] - (value or 0.0)) > 1e-9 for name, value in mine.items()):
        raise AssertionError(f"ours and ir_measures must agree, got {mine} and {theirs}")
    entry = side_by_side("metrics-10m", ours, rival, None, repeats)
    run, judgements = tables(LARGE)
    rows, seconds = len(run), _seconds(run, judgements)
    run, judgements = _string_ids(run), _string_ids(judgements)
    strings = _seconds(run, judgements)
    note = (
        f"the ratio is on {SMALL * PER_QUERY:,} rows; {rows:,} rows take ours {seconds:.1f} s, {strings:.1f} s with "
        "ids of strings"
    )
    large = {"rows_large": rows, "seconds_large": seconds, "seconds_large_strings": strings}
    return {**entry, "rows": SMALL * PER_QUERY, **large, "note": note}


def _seconds(run: pl.DataFrame, judgements: pl.DataFrame) -> float:
    began = perf_counter()
    evaluate(run, judgements, MEASURES)
    return perf_counter() - began


def _string_ids(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(
        pl.format("query-{}", "qid").alias("qid"), pl.format("document-{}", "docid").alias("docid")
    )


def _dictionary(table: pl.DataFrame, value: str) -> dict[str, dict[str, Any]]:
    answer: dict[str, dict[str, Any]] = {}
    for qid, docid, number in table.select(pl.col("qid", "docid").cast(pl.String), value).iter_rows():
        answer.setdefault(qid, {})[docid] = number
    return answer

"""Is one system better than another, or lucky in its queries? Paired tests over per-query measures.

The default test is the sign-flip permutation test of the mean difference. It tests the figure that tables show (the
mean), is exact whatever the differences' distribution as long as neither system is favoured (bounded, lumpy
measures such as RR included), and with very few queries it says so by p values that cannot get small. The t test
agrees with it closely on retrieval measures and is faster; Wilcoxon's test asks about ranks of differences and
throws ties away, so it can call two systems different whose means are equal (Smucker, Allan and Carterette 2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.numbers import check_seed
from cascade.ranking import Evaluation

Test = Literal["permutation", "t", "wilcoxon"]

_SLACK = 1e-12
"""Relative: a flipped sum this close to the observed one ties with it, whatever the order of the additions."""

_CELLS = 1 << 22
"""Signs or draws held at once."""


def compare_systems(
    systems: Mapping[str, Evaluation | pl.DataFrame],
    measures: Sequence[str],
    *,
    baseline: str | None = None,
    test: Test = "permutation",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Compare systems pair by pair on per-query measures.

    systems: name -> evaluation, or its `per_query` frame (qid and a column for each measure); at least two, over the
    same queries. measures: columns. baseline: compare every other system with this one; None compares every pair,
    each with the ones named before it. test: two-sided. confidence: of the interval, in (0, 1). resamples: sign flips
    and bootstrap draws, at least 100. seed: the same seed gives the same table.

    Columns: measure; system, baseline; queries (with a value for both); mean, baseline_mean; difference (of means)
    and its percentile bootstrap interval low, high; wins, losses, ties (queries); p; p_holm (over all the rows,
    Holm's step-down correction). p can't be below 1 / (resamples + 1) unless the flips were all gone through.

    Raises CascadeError for fewer than two systems, an unknown one, a missing measure, differing queries (naming
    one), and a t test on differences without spread.
    """
    if test not in ("permutation", "t", "wilcoxon"):
        raise CascadeError(f"test must be 'permutation', 't' or 'wilcoxon', got {test!r}")
    if not 0 < confidence < 1:
        raise CascadeError(f"confidence must be between 0 and 1, got {confidence!r}")
    if not isinstance(resamples, int) or isinstance(resamples, bool) or resamples < 100:
        raise CascadeError(f"resamples must be a whole number of at least 100, got {resamples!r}")
    check_seed(seed)
    names = list(systems)
    if len(names) < 2:
        raise CascadeError(f"at least two systems are needed, got {names}")
    if baseline is not None and baseline not in systems:
        raise CascadeError(f"unknown baseline {baseline!r}; systems: {', '.join(names)}")
    if isinstance(measures, str) or not len(measures):
        raise CascadeError(f"measures must be a list of at least one name, got {measures!r}")
    tables = {name: _table(name, system, measures) for name, system in systems.items()}
    for name in names[1:]:
        _require_same_queries(names[0], tables[names[0]], name, tables[name])
    if baseline is None:
        pairs = [(later, earlier) for j, later in enumerate(names) for earlier in names[:j]]
    else:
        pairs = [(name, baseline) for name in names if name != baseline]
    rows = []
    for measure in measures:
        for system, other in pairs:
            mine, theirs = _values(tables, measure, system, other)
            difference = mine - theirs
            p = paired_p(difference, test, resamples=resamples, seed=seed)
            low, high = bootstrap_interval(difference, confidence=confidence, resamples=resamples, seed=seed)
            rows.append(
                {
                    "measure": measure,
                    "system": system,
                    "baseline": other,
                    "queries": len(difference),
                    "mean": float(mine.mean()),
                    "baseline_mean": float(theirs.mean()),
                    "difference": float(difference.mean()),
                    "low": low,
                    "high": high,
                    "wins": int((difference > 0).sum()),
                    "losses": int((difference < 0).sum()),
                    "ties": int((difference == 0).sum()),
                    "p": p,
                }
            )
    table = pl.DataFrame(rows)
    return table.with_columns(p_holm=pl.Series(holm(table["p"].to_numpy())))


def paired_p(
    difference: NDArray[np.float64], test: Test = "permutation", *, resamples: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p of no difference, from (n,) paired differences, n >= 1; 1 when all of them are 0.

    permutation: the share of sign flips whose mean is at least as far from 0. All 2^n of them where that is at most
    `resamples`, else so many drawn, (hits + 1) / (draws + 1). t, wilcoxon: scipy's, with Wilcoxon's own treatment of
    zero differences (dropped).
    """
    from scipy import stats

    difference = np.asarray(difference, dtype=np.float64)
    if not len(difference) or not np.isfinite(difference).all():
        raise CascadeError(f"differences must be finite, at least one, got {difference[:3]} of {len(difference)}")
    if not difference.any():
        return 1.0
    if test == "wilcoxon":
        return float(stats.wilcoxon(difference[difference != 0]).pvalue)
    if test == "permutation":
        return _sign_flips(difference, resamples, seed)
    if len(difference) < 2 or np.ptp(difference) <= _SLACK * np.abs(difference).max():
        raise CascadeError(
            f"a t test needs differences with some spread, got {len(difference)} all equal to {difference[0]:g}; "
            f"use test='permutation'"
        )
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def bootstrap_interval(
    difference: NDArray[np.float64], *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of (n,) values, n >= 1; queries are drawn with replacement."""
    from scipy import stats

    if len(difference) == 1:
        return float(difference[0]), float(difference[0])
    result = stats.bootstrap(
        (difference,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, _CELLS // len(difference)),
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m,) p values corrected for m comparisons by Holm's step-down method (1979), in [0, 1].

    The smallest is multiplied by m, the next by m - 1, and so on; none may fall below a smaller one's.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return adjusted


def _sign_flips(difference: NDArray[np.float64], resamples: int, seed: int) -> float:
    """See `paired_p`. scipy's permutation_test gives the same; at 10,000 queries it takes several times as long.

    Flipping the signs of a subset changes the sum by twice the subset's sum, so one product of a 0/1 matrix and the
    differences does a batch of flips. Differences of 0 flip to themselves and are left out.
    """
    values = difference[difference != 0]
    n, total = len(values), values.sum()
    far = abs(total) - _SLACK * np.abs(values).sum()
    if n < 63 and 2**n <= resamples:
        subsets = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float((np.abs(total - 2 * (subsets @ values)) >= far).mean())
    rng = np.random.default_rng(seed)
    hits, left = 0, resamples
    width = -(-n // 8)
    while left:
        batch = min(left, max(1, _CELLS // n))
        random = np.frombuffer(rng.bytes(batch * width), dtype=np.uint8).reshape(batch, width)
        flipped = np.unpackbits(random, axis=1, count=n).astype(np.float64) @ values
        hits += int((np.abs(total - 2 * flipped) >= far).sum())
        left -= batch
    return (hits + 1) / (resamples + 1)


def _table(name: str, system: Evaluation | pl.DataFrame, measures: Sequence[str]) -> pl.DataFrame:
    frame = system.per_query if isinstance(system, Evaluation) else system
    if not isinstance(frame, pl.DataFrame):
        raise CascadeError(f"system {name!r} must be an Evaluation or its per_query frame, got {type(system).__name__}")
    for column in ("qid", *measures):
        if column not in frame.columns:
            raise CascadeError(f"system {name!r} has no column {column!r}; columns: {', '.join(frame.columns)}")
    if frame["qid"].is_duplicated().any():
        twice = frame["qid"].filter(frame["qid"].is_duplicated())[0]
        raise CascadeError(f"system {name!r} must have each query once, got {twice!r} more than once")
    return frame.select("qid", *dict.fromkeys(measures)).sort("qid")


def _require_same_queries(first: str, one: pl.DataFrame, second: str, two: pl.DataFrame) -> None:
    if one["qid"].dtype != two["qid"].dtype:
        raise CascadeError(
            f"systems must be scored on the same queries, got qid of {one['qid'].dtype} in {first!r} and "
            f"{two['qid'].dtype} in {second!r}; cast one"
        )
    for has, name, lacks, other in ((one, first, two, second), (two, second, one, first)):
        missing = has.join(lacks, on="qid", how="anti")
        if len(missing):
            raise CascadeError(
                f"systems must be scored on the same queries, got query {missing['qid'][0]!r} in {name!r} but not in "
                f"{other!r} ({len(missing)} such); evaluate both against the same judgements"
            )


def _values(
    tables: Mapping[str, pl.DataFrame], measure: str, system: str, other: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both systems' values over the queries that count; a query counts for both or for neither."""
    mine, theirs = tables[system][measure].cast(pl.Float64), tables[other][measure].cast(pl.Float64)
    uneven = mine.is_null() != theirs.is_null()
    if uneven.any():
        qid = tables[system]["qid"].filter(uneven)[0]
        raise CascadeError(
            f"systems must be scored on the same queries, got query {qid!r} with {measure} for only one of "
            f"{system!r} and {other!r}; evaluate both against the same judgements"
        )
    values = mine.drop_nulls().to_numpy(), theirs.drop_nulls().to_numpy()
    if not len(values[0]):
        raise CascadeError(f"no query has a value of {measure} for {system!r} and {other!r}; nothing to compare")
    return values

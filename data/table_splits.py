"""Dividing a candidate table into training, validation and test parts: whole queries, by chance or by time."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.columns import require
from data.errors import DataError

_QUERY_SPLIT = 11  # tells this use of the seed from others


def split_by_query(
    frame: pl.DataFrame, shares: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> tuple[pl.DataFrame, ...]:
    """Divide whole queries at random.

    Which query goes where depends on the set of query ids, the shares and the seed, not on the order of the
    rows; within a part the rows keep their order. Counts of queries follow the shares by the method of largest
    remainders, each part getting at least one.

    Args:
        frame: a column ``qid`` without nulls.
        shares: one for each part, each above 0, summing to 1.
        seed: non-negative.

    Raises:
        DataError: shares that do not sum to 1, or fewer queries than parts.
    """
    require(("qid",), frame.columns, "the table")
    if seed < 0:
        raise DataError(f"seed must not be negative, got {seed}")
    queries = frame["qid"].unique().sort()
    counts = _counts(len(queries), shares)
    order = np.random.default_rng([seed, _QUERY_SPLIT]).permutation(len(queries))
    part = np.empty(len(queries), dtype=np.int64)
    part[order] = np.repeat(np.arange(len(counts)), counts)
    return _divide(frame, queries, part, len(counts))


def split_by_time(
    frame: pl.DataFrame, column: str, shares: Sequence[float] = (0.8, 0.1, 0.1)
) -> tuple[pl.DataFrame, ...]:
    """Divide whole queries by their time, the earliest first.

    A query's time is that of its latest row, so that nothing in a part is later than its last moment. Queries
    of one time stay together: where a border would fall among them they all go to the earlier part. Shares are
    of queries.

    Args:
        frame: columns ``qid`` and ``column``, numbers or dates, both without nulls.
        shares: one for each part, each above 0, summing to 1.

    Raises:
        DataError: shares that do not sum to 1, a missing or ill-typed column, nulls, or so few different times
            that a part would be empty.
    """
    require(("qid", column), frame.columns, "the table")
    check_time(column, frame.schema[column])
    bad = int(frame.select(missing_times(column)).item())
    if bad:
        raise DataError(f"time column {column!r} must have no missing values, got {bad}: fill or drop those rows")
    times = frame.group_by("qid").agg(time=pl.col(column).max()).sort("time", "qid")
    part = parts_by_time(times, shares)
    return _divide(frame, times["qid"], part, len(shares))


def check_time(column: str, dtype: pl.DataType) -> None:
    """Refuse a time column that is neither number nor date."""
    if not (dtype.is_numeric() or dtype.is_temporal()):
        raise DataError(f"time column {column!r} must be a number or a date, got {dtype}: cast it first")


def missing_times(column: str) -> pl.Expr:
    """How many rows have no time: null or NaN."""
    return pl.col(column).null_count() + pl.col(column).cast(pl.Float64, strict=False).is_nan().sum()


def parts_by_time(times: pl.DataFrame, shares: Sequence[float]) -> NDArray[np.int64]:
    """The part, from 0, of each query, as :func:`split_by_time` says.

    times: a row per query by rising ``time``.
    """
    counts = _counts(len(times), shares)
    rank = times["time"].rank("min").to_numpy() - 1  # queries earlier than this one
    part = np.searchsorted(np.cumsum(counts)[:-1], rank, side="right")
    empty = [number for number in range(len(counts)) if number not in part]
    if empty:
        raise DataError(
            f"each of {len(counts)} parts must hold a query, part {empty[0] + 1} would be empty: {len(times)} queries "
            f"have {times['time'].n_unique()} different times: choose other shares or split by query"
        )
    return part


def _divide(frame: pl.DataFrame, queries: pl.Series, part: NDArray[np.int64], parts: int) -> tuple[pl.DataFrame, ...]:
    where = pl.DataFrame({"qid": queries, "__part": part})
    places = frame.select("qid").join(where, on="qid", how="left", maintain_order="left")["__part"]
    return tuple(frame.filter(places == number) for number in range(parts))


def check_shares(shares: Sequence[float]) -> NDArray[np.float64]:
    """The shares as an array; each must be above 0, and their sum 1."""
    values = np.asarray(shares, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not (values > 0).all() or abs(values.sum() - 1) > 1e-6:
        raise DataError(f"shares must each be above 0 and sum to 1, got {list(shares)}: mend them, such as 0.8,0.1,0.1")
    return values


def _counts(queries: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """Queries of each part: largest remainders, at least one each."""
    values = check_shares(shares)
    if queries < len(values):
        raise DataError(f"{len(values)} parts need at least as many queries, got {queries}: ask for fewer parts")
    ideal = queries * values / values.sum()
    counts = np.maximum(np.floor(ideal + 1e-9).astype(np.int64), 1)
    while counts.sum() < queries:
        counts[np.argmax(ideal - counts)] += 1
    while counts.sum() > queries:
        counts[np.argmax(np.where(counts > 1, counts - ideal, -np.inf))] -= 1
    return counts

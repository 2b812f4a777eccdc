"""Do two stages order a query's candidates alike? Kendall's tau-b, for all queries at once.

Knight's way (1966): sort by the one score, count the inversions of the other. The inversions are counted bit by bit
from the highest, as one builds a wavelet tree: log2(candidates of the largest query) passes over flat arrays, and no
loop over queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.order import order_within, starts_of

_CHUNK = 1 << 17
"""Candidates handled together, so that the passes stay in the processor's cache."""


def kendall_tau(
    first: NDArray[np.float64], second: NDArray[np.float64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(q,) tau-b of each query between two scores of its candidates, in [-1, 1].

    first, second: (n,) finite scores, query by query. sizes: (q,) candidates of each query, summing to n.

    With C concordant and D discordant pairs out of P, T1 tied in the first score and T2 in the second:
    tau-b = (C - D) / sqrt((P - T1) (P - T2)). NaN where a score does not tell any two candidates apart, which
    includes queries with fewer than two. Equals `scipy.stats.kendalltau` query by query.

    Raises CascadeError when the lengths disagree or a score is not finite.
    """
    return kendall_matrix([first, second], sizes)[0, 1]


@dataclass(frozen=True)
class _Levels:
    """value: (n,) 0-based rank of a score among the different scores of its query. ties: (q,) tied pairs."""

    value: NDArray[np.int64]
    ties: NDArray[np.int64]


def kendall_matrix(
    scores: Sequence[NDArray[np.float64]] | NDArray[np.float64], sizes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(S, S, q) tau-b of each query between every two of S scores; see `kendall_tau`.

    scores: (S, n) finite, query by query. sizes: (q,) candidates of each query, summing to n.
    """
    levels = [_level(row, sizes) for row in _checked(scores, sizes)]
    taus = np.empty((len(levels), len(levels), len(sizes)))
    for i, one in enumerate(levels):
        taus[i, i] = np.where(_pairs(sizes) > one.ties, 1.0, np.nan)
        for j in range(i):
            taus[i, j] = taus[j, i] = _tau(levels[j], one, sizes)
    return taus


def _checked(
    scores: Sequence[NDArray[np.float64]] | NDArray[np.float64], sizes: NDArray[np.int64]
) -> list[NDArray[np.float64]]:
    n, shapes = int(sizes.sum()), [np.shape(row) for row in scores]
    if any(shape != (n,) for shape in shapes):
        raise CascadeError(f"scores must have one entry for each of {n} candidates, got {', '.join(map(str, shapes))}")
    rows = [np.asarray(row, dtype=np.float64) for row in scores]
    if not all(np.isfinite(row).all() for row in rows):
        raise CascadeError("scores must be finite, got NaN or infinity; mend or drop those candidates")
    return rows


def _pairs(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return counts * (counts - 1) // 2


def _level(scores: NDArray[np.float64], sizes: NDArray[np.int64]) -> _Levels:
    """Dense ranks, so that what follows deals in small integers."""
    query = np.repeat(np.arange(len(sizes)), sizes)
    order = order_within(query, scores)
    new = np.ones(len(order), dtype=bool)
    new[1:] = (scores[order[1:]] != scores[order[:-1]]) | (query[1:] != query[:-1])
    level = np.cumsum(new) - 1
    starts = starts_of(sizes)
    lowest = level[np.minimum(starts[:-1], max(len(level) - 1, 0))] if len(level) else np.zeros(len(sizes), np.int64)
    value = np.empty_like(level)
    value[order] = level - np.repeat(lowest, sizes)
    groups = np.bincount(level)
    heads = query[np.flatnonzero(new)]
    ties = np.zeros(len(sizes), dtype=np.int64)
    np.add.at(ties, heads, _pairs(groups))
    return _Levels(value, ties)


def _tau(one: _Levels, two: _Levels, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    starts = starts_of(sizes)
    discordant, both = np.zeros(len(sizes), dtype=np.int64), np.zeros(len(sizes), dtype=np.int64)
    first = 0
    while first < len(sizes):
        after = max(first + 1, int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1)
        rows = slice(starts[first], starts[after])
        part = slice(first, after)
        discordant[part], both[part] = _count(one.value[rows], two.value[rows], sizes[part])
        first = after
    pairs = _pairs(sizes)
    difference = pairs - one.ties - two.ties + both - 2 * discordant
    spread = np.sqrt((pairs - one.ties).astype(np.float64)) * np.sqrt((pairs - two.ties).astype(np.float64))
    tau = np.divide(difference, spread, out=np.full(len(sizes), np.nan), where=spread > 0)
    return np.clip(tau, -1, 1)


def _count(
    one: NDArray[np.int64], two: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(q,) discordant pairs, and (q,) pairs tied in both, of a chunk of queries."""
    q, n = len(sizes), len(one)
    query = np.repeat(np.arange(q), sizes)
    if not n:
        return np.zeros(q, np.int64), np.zeros(q, np.int64)
    width = int(max(one.max(), two.max())) + 1
    key = (query * width + one) * width + two
    key.sort()
    second = key % width
    ends = np.flatnonzero(np.append(key[1:] != key[:-1], True))
    runs = np.diff(ends, prepend=-1)
    both = np.bincount(query[ends], weights=_pairs(runs), minlength=q).astype(np.int64)
    return _inversions(second, query, q, width), both


def _inversions(values: NDArray[np.int64], query: NDArray[np.int64], queries: int, width: int) -> NDArray[np.int64]:
    """(queries,) pairs i < j of one query with values[i] > values[j]; values in [0, width).

    Two values differ first at some bit, above which they agree. Pass by pass the values are grouped by the bits
    above, in their original order within a group; each 0 then counts the 1s that precede it in its group. The
    values of one query stay together throughout, so `query` need not move.
    """
    n = len(values)
    counts = np.zeros(queries, dtype=np.int64)
    here = np.arange(n)
    for bit in reversed(range(int(width - 1).bit_length())):
        group = query * width + (values >> (bit + 1))
        head = np.ones(n, dtype=bool)
        head[1:] = group[1:] != group[:-1]
        at = np.flatnonzero(head)
        size = np.diff(np.append(at, n))
        start = np.repeat(at, size)
        one = (values >> bit) & 1
        ones = np.cumsum(one) - one  # 1s before, in the chunk
        before = ones - ones[start]  # and in the group
        zero = one == 0
        counts += np.bincount(query[zero], weights=before[zero], minlength=queries).astype(np.int64)
        if bit:
            zeros = size - np.add.reduceat(one, at)
            target = np.where(zero, here - before, start + np.repeat(zeros, size) + before)
            moved = np.empty_like(values)
            moved[target] = values
            values = moved
    return counts

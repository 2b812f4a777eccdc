"""Ordering many candidates at once: by score within a group, ties by position. No loop over groups."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

_SIGN = np.int64(-(2**63))
_PIECE = 1024  # candidates sorted at once where groups end often enough: the keys then stay in the fastest cache
_LEAST_ROOM = 8


def order_within(groups: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions (n,) sorted by group ascending, then score descending, then position ascending.

    groups: (n,) integers of at least 0; scores: (n,) finite.
    """
    return order_by(groups, _monotone(0.0 - scores))  # 0.0 - s also makes -0.0 and 0.0 the same


def order_by(groups: NDArray[np.int64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Positions (n,) sorted by group, then key, then position, all ascending.

    groups: (n,) integers of at least 0; keys: (n,).

    One number of 64 bits a candidate is sorted, by value: the group, the key's leading bits, the position. The few
    candidates whose leading bits agree are then put in order by the bits left out. Once the groups lie one behind the
    other, whole groups are sorted a piece at a time. On 1,000,000 random scores of 1,000 groups this takes a third of
    the time of `np.argsort` and less than a sixth of that of `np.lexsort`.
    """
    n = len(keys)
    if not n:
        return np.empty(0, dtype=np.int64)
    if n > _PIECE and groups.max() < 1 << 16 and not _rise(groups):  # of 16 bits numpy sorts in linear time
        apart = np.argsort(groups.astype(np.uint16), kind="stable")
        return apart[order_by(groups[apart], keys[apart])]
    for_position, for_group = (n - 1).bit_length(), int(groups.max()).bit_length()
    room = 64 - for_position - for_group
    if room < _LEAST_ROOM:
        return np.lexsort((keys, groups))
    keys = keys - keys.min()
    left_out = max(0, int(keys.max()).bit_length() - room)
    packed = keys >> np.uint64(left_out)
    if for_group:
        packed |= groups.astype(np.uint64) << np.uint64(room)
    packed <<= np.uint64(for_position)
    packed |= np.arange(n, dtype=np.uint64)
    for low, high in pairwise(_pieces(groups)):
        packed[low:high].sort()
    order = (packed & np.uint64((1 << for_position) - 1)).view(np.int64)
    if left_out:
        packed >>= np.uint64(for_position)
        same = packed[1:] == packed[:-1]
        if same.any():
            _settle(order, same, keys & np.uint64((1 << left_out) - 1))
    return order


def _monotone(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Unsigned integers in the order of the floats: IEEE 754 bits, all flipped where the sign is set, else the sign."""
    bits = values.view(np.int64)
    return (bits ^ ((bits >> 63) | _SIGN)).view(np.uint64)


def _pieces(groups: NDArray[np.int64]) -> list[int]:
    """0, n and between them ends of groups, about `_PIECE` apart; none between where the groups don't rise."""
    n = len(groups)
    if n <= _PIECE or not _rise(groups):
        return [0, n]
    ends = np.append(np.flatnonzero(groups[1:] != groups[:-1]) + 1, n)
    return [0, *np.unique(ends[np.searchsorted(ends, np.append(np.arange(_PIECE, n, _PIECE), n))]).tolist()]


def _rise(groups: NDArray[np.int64]) -> bool:
    return not (groups[1:] < groups[:-1]).any()


def _settle(order: NDArray[np.int64], same: NDArray[np.bool_], rest: NDArray[np.uint64]) -> None:
    """Order the runs of equal leading bits (`same[i]`: those at i and i + 1) by the (n,) bits left out, in place."""
    at = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    run = np.insert(np.cumsum(~same, dtype=np.int64), 0, 0)[at]
    members = order[at]
    rest = rest[members]
    if np.any((rest[1:] < rest[:-1]) & (run[1:] == run[:-1])):
        order[at] = members[order_by(run, rest)]


def starts_of(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups + 1,) where each group begins, and the total, from the groups' sizes."""
    starts = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def places(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the 0-based place of each member in its group, for groups laid end to end."""
    starts = starts_of(sizes)
    return np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)

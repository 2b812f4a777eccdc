"""Ordering many candidates at once: by score within a group, ties by position. Loops over pieces, never over groups."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Keys(Protocol):
    """What orders n candidates: 64-bit numbers, signed or not, in an array or made when asked for."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, part: slice, /) -> NDArray[np.uint64] | NDArray[np.int64]:
        """Those of consecutive candidates."""
        ...


_SIGN = np.int64(-(2**63))
_PIECE = 1024  # candidates sorted at once where groups end often enough: the keys then stay in the fastest cache
_CHUNK = 65_536  # candidates prepared for it at once: what is computed on the way then stays in the next one


def order_within(
    groups: NDArray[np.int64], scores: NDArray[np.float64], level: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Positions (n,) sorted by group ascending, then score descending, then position ascending.

    groups: (n,) integers of at least 0; scores: (n,) finite. level: as in `order_runs`.
    """
    return order_by(groups, _monotone(0.0 - scores), level)  # 0.0 - s also makes -0.0 and 0.0 the same


def order_by(groups: NDArray[np.int64], keys: Keys, level: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """Positions (n,) sorted by group, then key, then position, all ascending.

    groups: (n,) integers; keys: (n,), signed or not; level: as in `order_runs`. Fastest where the members of a group
    stand together.
    """
    return order_runs(*runs(groups), keys, level)


def runs(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The runs of members (n,) of one group: (r,) the group of each run; (r,) how long it is."""
    begins = np.flatnonzero(np.append(len(groups) > 0, groups[1:] != groups[:-1]))
    return groups[begins], np.diff(np.append(begins, len(groups)))


def order_runs(
    heads: NDArray[np.int64], lengths: NDArray[np.int64], keys: Keys, level: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """As `order_by`, of r runs laid end to end, each of members of one group.

    heads: (r,) the group of each run, never that of the run before; lengths: (r,) how many it has. level: (n,) written
    to: true for each in the order returned that has the group and the key of the one before.
    """
    if level is None:
        level = np.empty(len(keys), dtype=np.bool_)
    if not len(keys) or (heads[1:] > heads[:-1]).all():
        return _order_rising(lengths, keys, level)
    if 2 * len(heads) <= len(keys):
        rising = by_group(heads)
        in_order = heads[rising]
        if (in_order[1:] != in_order[:-1]).all():  # no group is in two runs, so that each run stays as it is
            shift = np.empty(len(rising), dtype=np.int64)
            shift[rising] = starts_of(lengths[rising])[:-1] - starts_of(lengths)[rising]
            return _order_rising(lengths, keys, level, shift)
    groups = np.repeat(heads, lengths)
    apart = by_group(groups)
    groups = groups[apart]
    begins = np.flatnonzero(np.append(True, groups[1:] != groups[:-1]))
    return apart[_order_rising(np.diff(np.append(begins, len(keys))), keys[:][apart], level)]


def by_group(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions (n,) sorted by group, then position; at least one."""
    if groups.min() >= 0 and groups.max() < 1 << 16:
        return np.argsort(groups.astype(np.uint16), kind="stable")  # of 16 bits numpy sorts in linear time
    return order_runs(np.zeros(1, dtype=np.int64), np.array([len(groups)]), groups)


def _order_rising(
    sizes: NDArray[np.int64], keys: Keys, level: NDArray[np.bool_], shift: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """As `order_runs`, of rising groups of so many members each; `shift` puts each so far behind its place."""
    order = np.empty(len(keys), dtype=np.int64)
    level[:] = False
    if not len(keys):
        return order
    for some, after, low, high in chunks(sizes):
        inside, same = _order_chunk(sizes[some:after], keys[low:high])
        inside += low
        to: slice | NDArray[np.int64] = slice(low, high)
        if shift is not None:
            to = np.arange(low, high) + np.repeat(shift[some:after], sizes[some:after])
        order[to] = inside
        if same.any():
            level[to] = same
    return order


def _order_chunk(
    sizes: NDArray[np.int64], keys: NDArray[np.uint64] | NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The order and the level of `order_runs`, of rising groups of so many members each, at least one in all.

    What is sorted, some groups at a time, is one number a candidate: its group, its key's leading bits and its
    position, the first and the last counted from where the piece begins. It has 32 bits where these hold everything,
    which takes half the time of 64. The few candidates whose leading bits agree are then put in order by the rest.
    """
    n = len(keys)
    bounds, group = pieces(sizes)
    begin = np.repeat(bounds[:-1], np.diff(bounds))
    rest = (keys - keys.min()).view(np.uint64)  # where a difference of signed numbers wraps around, it is right again
    for_position, for_group, for_key = _bits(np.diff(bounds) - 1), _bits(group), _bits(rest)
    left_out = max(0, for_key - (64 - for_position - for_group))
    packed = rest >> np.uint64(left_out) if left_out else rest
    if for_group:
        packed |= np.repeat(group.astype(np.uint64) << np.uint64(for_key - left_out), sizes)
    packed <<= np.uint64(for_position)
    packed |= (np.arange(n) - begin).view(np.uint64)
    number: NDArray[Any] = packed.astype(np.uint32) if for_position + for_group + for_key <= 32 else packed
    for low, high in pairwise(bounds.tolist()):
        number[low:high].sort()
    order = (number & number.dtype.type((1 << for_position) - 1)).astype(np.int64)
    order += begin
    number >>= number.dtype.type(for_position)
    level = np.append(False, number[1:] == number[:-1])
    level[bounds[:-1]] = False  # neighbours in different pieces
    if left_out and level.any():
        _settle(order, level, rest & np.uint64((1 << left_out) - 1))
    return order, level


def _monotone(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Unsigned integers in the order of the floats: IEEE 754 bits, all flipped where the sign is set, else the sign."""
    bits = values.view(np.int64)
    return (bits ^ ((bits >> 63) | _SIGN)).view(np.uint64)


def _bits(values: NDArray[Any]) -> int:
    return int(values.max()).bit_length()


def chunks(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int, int, int]]:
    """Whole groups of so many members each, as fit the cache: of groups [some, after) the members [low, high)."""
    starts = starts_of(sizes)
    for some, after in pairwise(_cuts(starts, _CHUNK).tolist()):
        yield some, after, int(starts[some]), int(starts[after])


def pieces(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pieces of a chunk that are sorted at once: (p + 1,) their bounds; (groups,) each group's number in its own.

    sizes: (groups,) members of each group, at least one in all.
    """
    starts = starts_of(sizes)
    cuts = _cuts(starts, _PIECE)
    return starts[cuts], np.arange(len(sizes)) - np.repeat(cuts[:-1], np.diff(cuts))


def _cuts(starts: NDArray[np.int64], apart: int) -> NDArray[np.int64]:
    """0, the number of groups and between them groups that start about `apart` from each other."""
    within = np.searchsorted(starts, np.arange(apart, starts[-1], apart))
    within = within[starts[within] < starts[-1]]
    return np.unique(np.concatenate([[0], within, [len(starts) - 1]]))


def _settle(order: NDArray[np.int64], level: NDArray[np.bool_], rest: NDArray[np.uint64]) -> None:
    """Put runs of equal leading bits (`level[i]`: those at i - 1 and i) in the order of the (n,) bits left out."""
    at, lengths = level_runs(level)
    members = order[at]
    order[at] = members[order_runs(np.arange(len(lengths)), lengths, rest[members], inside := np.empty_like(level[at]))]
    level[at] = inside


def level_runs(level: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where those are that are level with a neighbour (`level[i]`: i - 1 and i are), and the length of each run."""
    at = np.flatnonzero(level | np.append(level[1:], False))
    begins = np.flatnonzero(~level[at])
    return at, np.diff(np.append(begins, len(at)))


def starts_of(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(groups + 1,) where each group begins, and the total, from the groups' sizes."""
    starts = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    return starts


def places(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the 0-based place of each member in its group, for groups laid end to end."""
    starts = starts_of(sizes)
    return np.arange(starts[-1]) - np.repeat(starts[:-1], sizes)

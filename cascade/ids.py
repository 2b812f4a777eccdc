"""Ids in order, by way of numbers in the same order, which sort and compare faster than strings."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.order import Keys, chunks, level_runs, order_runs, order_within, pieces

IdsAt = Callable[[NDArray[np.int64]], pl.Series]
"""The ids of the candidates at (m,) positions."""

_SPARSE = 8  # times as wide as their number may integers be spread, to be counted instead of sorted
_WORD = 8  # bytes of a string in a number
_BYTES = np.array([(1 << 8 * some) - 1 for some in range(_WORD + 1)], dtype=np.uint64)  # masks of the first so many


def runs_of(ids: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The runs of equal ids: (r,) the place of each one's id among the different ids, from 0; (r,) how long each is.

    ids: (n,) integers or strings, no nulls; places ascend with the ids.
    """
    differ = ids[1:].ne_missing(ids[:-1]).to_numpy()
    begins = np.flatnonzero(np.append(len(ids) > 0, differ))
    return _places(ids[pl.Series(begins)]), np.diff(np.append(begins, len(ids)))


def _places(ids: pl.Series) -> NDArray[np.int64]:
    """(n,) the place of each id among the different ones."""
    if ids.dtype == pl.String:
        return ids.cast(pl.Enum(ids.unique().sort())).to_physical().cast(pl.Int64).to_numpy()
    if len(ids) and not _wide(ids.dtype):
        whole = ids if ids.dtype == pl.UInt64 else ids.cast(pl.Int64)
        low, high = int(whole.min()), int(whole.max())  # type: ignore[arg-type]
        if high - low <= _SPARSE * len(ids):
            offset = (whole - low).cast(pl.Int64).to_numpy()
            seen = np.zeros(high - low + 1, dtype=np.bool_)
            seen[offset] = True
            return (np.cumsum(seen) - 1)[offset]
    return ids.rank("dense").cast(pl.Int64).to_numpy() - 1


def order_by_ids(
    heads: NDArray[np.int64], lengths: NDArray[np.int64], ids: pl.Series
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (n,) sorted by group, then id; and those of them, in this order, that repeat the one before.

    heads, lengths: the groups, as of `order_runs`; ids: (n,) integers or strings, no nulls. Strings are in the order of
    their bytes in UTF-8: all are ordered by the first eight, those still level by the next eight, and so on.
    """
    level = np.zeros(len(ids), dtype=np.bool_)
    if not len(ids):
        return np.arange(0), np.arange(0)
    numbers, done = _numbers(ids, 0)
    order = order_runs(heads, lengths, numbers, level)
    while done and level.any():
        at, lengths = level_runs(level)
        numbers, done = _numbers(ids[pl.Series(order[at])], done)
        inside = np.empty(len(at), dtype=np.bool_)
        order[at] = order[at][order_runs(np.arange(len(lengths)), lengths, numbers, inside)]
        level[at] = inside
    return order, order[level]


def best_first(groups: NDArray[np.int64], scores: NDArray[np.float64], ids: IdsAt | None = None) -> NDArray[np.int64]:
    """Positions (n,) sorted by group ascending, then score descending; ties by id, or by position without ids.

    groups: (n,) integers of at least 0; scores: (n,) finite.
    """
    level = np.empty(len(scores), dtype=np.bool_)
    order = order_within(groups, scores, level)
    if ids is not None and level.any():
        at, lengths = level_runs(level)
        members = order[at]
        order[at] = members[order_by_ids(np.arange(len(lengths)), lengths, ids(members))[0]]
    return order


def repeated(sizes: NDArray[np.int64], ids: pl.Series) -> NDArray[np.int64]:
    """Positions (m,), ascending, of all whose id another member of their group has as well; besides, rarely, of others.

    sizes: (groups,) members of each group, laid end to end; ids: (n,). Of each id only a hash is looked at, cut to what
    32 bits have room for beside its group's number: these are sorted in a third of the time of the ids.
    """
    suspects = [np.arange(0)]
    for some, after, low, high in chunks(sizes):
        bounds, group = pieces(sizes[some:after])
        for_group = int(group.max()).bit_length()
        number = (ids[low:high].hash().to_numpy() >> np.uint64(32 + for_group)).astype(np.uint32)
        if for_group:
            number |= np.repeat(group.astype(np.uint32) << np.uint32(32 - for_group), sizes[some:after])
        in_order = number.copy()
        for begin, end in pairwise(bounds.tolist()):
            in_order[begin:end].sort()
        same = in_order[1:] == in_order[:-1]
        if same.any():
            suspects.append(low + np.flatnonzero(np.isin(number, in_order[1:][same])))
    return np.concatenate(suspects)


def _numbers(ids: pl.Series, done: int) -> tuple[Keys, int]:
    """(n,) numbers in the order of the ids, as far as their first so many bytes tell; 0 where they say it all.

    done: bytes, the first of each id, that need no look, since only ids are compared that agree in them.
    """
    if _wide(ids.dtype):
        return ids.rank("dense").cast(pl.UInt64).to_numpy(), 0
    if ids.dtype == pl.UInt64:
        return ids.to_numpy(), 0
    if ids.dtype != pl.String:
        return ids.cast(pl.Int64).to_numpy(), 0
    lengths = ids.str.len_bytes().to_numpy()
    longest = int(lengths.max())
    if done and done >= longest:  # what is level now differs in bytes of zero at the end, or in nothing
        return lengths.astype(np.int64), 0
    if not done and longest > _WORD:
        done = _shared(ids)
    return _Words(ids, lengths, done), done + _WORD


def _shared(strings: pl.Series) -> int:
    """How many bytes are the same at the beginning of all of them."""
    least, most = (np.frombuffer(str(end).encode(), dtype=np.uint8) for end in (strings.min(), strings.max()))
    both = min(len(least), len(most))
    return int(np.append(least[:both] != most[:both], True).argmax())


class _Words:
    """The bytes [done, done + 8) of strings as numbers, the first the most significant, 0 beyond a string's end.

    Made a part at a time, so that what is computed on the way stays in cache. Bytes are fetched eight at a time from
    where they lie, one string behind the other, in two aligned numbers each.
    """

    def __init__(self, strings: pl.Series, lengths: NDArray[np.uint32], done: int) -> None:
        self._strings = strings.cast(pl.Binary)
        self._lengths = lengths
        self._done = done

    def __len__(self) -> int:
        return len(self._strings)

    def __getitem__(self, part: slice) -> NDArray[np.uint64]:
        data = self._strings[part].cast(pl.List(pl.UInt8)).explode(empty_as_null=False).to_numpy()
        aligned = np.zeros(len(data) // _WORD + 2, dtype="<u8")
        aligned.view(np.uint8)[: len(data)] = data
        lengths = self._lengths[part].astype(np.int64)
        begin = np.cumsum(lengths)
        begin -= lengths
        if self._done:
            begin += np.minimum(lengths, self._done)
            lengths = np.maximum(lengths - self._done, 0)
        at = begin >> 3
        begin <<= 3
        begin &= 63
        shift = begin.view(np.uint64)
        number = aligned[at]
        number >>= shift  # the first byte is the least significant
        rest = aligned[1:][at]
        rest <<= np.uint64(1)
        shift ^= np.uint64(63)
        rest <<= shift  # in two steps, because one by 64 need not give 0
        number |= rest
        number &= _BYTES[np.minimum(lengths, _WORD)]
        return number.byteswap(inplace=True)


def _wide(dtype: pl.DataType) -> bool:
    return dtype in (pl.Int128, pl.UInt128)

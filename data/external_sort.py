"""Whole queries in the order of their ids, from a table of any size, in bounded memory.

A table whose rows come query by query, ids rising, is streamed. Any other is first dealt out on disk: the
queries' ids are divided into ranges of about equal numbers of rows, each range becomes a partition, and one
partition at a time is sorted in memory. So memory holds a partition or the largest query, whichever is larger,
and the numbers of rows of all queries.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.files import Scratch

PARTITION_BYTES = 128 << 20
"""Size of a partition, and of what is held before it is written, as held in memory."""

_SURVEY_ROWS = 1_000_000
_MERGE_AT = 64


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over the query ids tells.

    Attributes:
        rows: candidates in the table.
        queries: queries in the table.
        rising: whether the rows come query by query, ids rising.
        sizes: columns ``qid``, by rising id, and ``size``, the query's candidates; None for a rising table.
    """

    rows: int
    queries: int
    rising: bool
    sizes: pl.DataFrame | None


def survey(source: pl.LazyFrame) -> Survey:
    """Count and look at the order; ``source`` has a column ``qid`` without nulls (nulls sort first)."""
    rows, runs, rising, last = 0, 0, True, None
    counts: list[pl.DataFrame] = []
    for frame in stream(source.select("qid"), _SURVEY_ROWS):
        ids = frame["qid"]
        if not len(ids):
            continue
        rows += len(ids)
        if rising and ids.null_count() == 0:
            rising = ids.is_sorted() and (last is None or last <= ids[0])
            runs += ids.rle_id().n_unique() - (last is not None and last == ids[0])
            last = ids[-1]
        else:
            rising = False
        counts.append(frame.group_by("qid").agg(size=pl.len().cast(pl.Int64)))
        if len(counts) >= _MERGE_AT:
            counts = [_merge(counts)]
    if rising:
        return Survey(rows, runs, True, None)
    sizes = _merge(counts).sort("qid")
    return Survey(rows, len(sizes), False, sizes)


def _merge(counts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(counts).group_by("qid").agg(pl.col("size").sum())


def stream(source: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """The rows of ``source`` in their order, about ``rows`` at a time, through polars' streaming engine."""
    yield from source.collect_batches(chunk_size=rows, maintain_order=True, engine="streaming")


def sorted_frames(source: pl.LazyFrame, found: Survey, rows: int, folder: Path | None) -> Iterator[pl.DataFrame]:
    """The rows of ``source`` so that queries come whole and by rising id, in frames of any size.

    Args:
        found: what :func:`survey` told of the same source.
        rows: how many rows to stream at a time, at least 1.
        folder: where the temporary folder is made; None for the system's place.
    """
    if found.sizes is None:
        yield from stream(source, rows)
        return
    scratch = Scratch("sort", folder)
    pieces = _deal(source, found.sizes, rows, scratch.path)
    for number in sorted(pieces):
        partition = pl.scan_ipc(pieces[number], glob=False).collect()
        for piece in pieces[number]:
            piece.unlink()
        yield partition.sort("qid", maintain_order=True)


def _deal(source: pl.LazyFrame, sizes: pl.DataFrame, rows: int, scratch: Path) -> dict[int, list[Path]]:
    """Write the rows into partitions by ranges of query ids; return each partition's files."""
    pieces: dict[int, list[Path]] = defaultdict(list)
    held: dict[int, list[pl.DataFrame]] = defaultdict(list)
    firsts: pl.Series | None = None
    held_bytes = 0.0
    written = 0

    def write() -> None:
        nonlocal held_bytes, written
        for number, frames in held.items():
            path = scratch / f"{number:06d}-{written:06d}.arrow"
            pl.concat(frames).write_ipc(path, compression="lz4")
            pieces[number].append(path)
        written += 1
        held_bytes = 0.0
        held.clear()

    for frame in stream(source, rows):
        if not len(frame):
            continue
        if firsts is None:
            row_bytes = max(1.0, frame.estimated_size() / len(frame))
            firsts = _first_ids(sizes, max(1, int(PARTITION_BYTES / row_bytes)))
        number = firsts.search_sorted(frame["qid"], side="right") - 1
        for (key,), part in (
            frame.with_columns(number.alias("__partition"))
            .partition_by("__partition", as_dict=True, include_key=False)
            .items()
        ):
            held[int(key)].append(part)
        held_bytes += frame.estimated_size()
        if held_bytes >= PARTITION_BYTES:
            write()
    write()
    return pieces


def _first_ids(sizes: pl.DataFrame, target: int) -> pl.Series:
    """The first query id of each partition of about ``target`` rows; queries are never divided."""
    before = sizes["size"].cum_sum().to_numpy() - sizes["size"].to_numpy()
    number = before // target
    new = np.insert(number[1:] != number[:-1], 0, True)
    return sizes["qid"].filter(pl.Series(new))


def whole_queries(frames: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Regroup frames that come by rising ``qid`` into batches of whole queries.

    A batch holds as many queries as fit into ``rows`` rows, or one query that is larger by itself. Where the
    batches begin depends on the queries alone, not on how the frames came.
    """
    held: list[pl.DataFrame] = []
    height, enough = 0, rows
    for frame in frames:
        held.append(frame)
        height += len(frame)
        if height <= enough:
            continue
        table = pl.concat(held)
        starts = _starts(table)
        done = 0
        for low, high in _groups(starts, rows):
            if high == height:  # holds the last query, of which more may come
                break
            yield table[low:high]
            done = high
        held, height = [table[done:]], height - done
        enough = max(rows, 2 * height)
    if height:
        table = pl.concat(held)
        for low, high in _groups(_starts(table), rows):
            yield table[low:high]


def _starts(table: pl.DataFrame) -> NDArray[np.int64]:
    """Where each query begins, and the table's end."""
    new = table.select((pl.col("qid") != pl.col("qid").shift()).fill_null(True)).to_series().to_numpy()
    return np.append(np.flatnonzero(new), len(table))


def _groups(starts: NDArray[np.int64], rows: int) -> Iterator[tuple[int, int]]:
    first, last = 0, len(starts) - 1
    while first < last:
        beyond = int(np.searchsorted(starts, starts[first] + rows, side="right")) - 1
        beyond = max(beyond, first + 1)
        yield int(starts[first]), int(starts[beyond])
        first = beyond

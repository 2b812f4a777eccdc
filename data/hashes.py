"""Queries recognised again in another table: a hash of each with all its candidates."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

_ROWS = 100_000
"""Rows whose values are held a second time, about."""


def query_hashes(frame: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.int64]:
    """A hash of each query: of its id, its candidates' ids, their labels and the given columns.

    Data sets that number their queries and candidates from 0 share ids, and often labels; that is why columns with
    features belong into the hash. The same values give the same hash in any format, version and order of rows; numbers
    count in 32 bits, a missing one is missing, a missing label is 0.

    Args:
        frame: whole queries as :meth:`CandidateTable.read` gives them, with ``label``.
        columns: features and ids of the frame.

    Returns:
        int64 (queries,), uniform over all of int64, in the frame's order.
    """
    numbers = [name for name in columns if frame.schema[name].is_float()]
    texts = ["docid", *(name for name in columns if name not in numbers)]
    found = []
    for qids, part, borders in _slices(frame):
        labels = _bits(part.select(pl.col("label").fill_null(0.0)))
        features = _bits(part.select(numbers))
        words = [part[name].cast(pl.String).fill_null("\1").to_list() for name in texts]
        for qid, start, end in zip(qids, borders[:-1], borders[1:], strict=True):
            digest = hashlib.blake2b(f"{qid}\0".encode(), digest_size=8)
            for column in words:
                digest.update("\0".join(column[start:end]).encode())
            digest.update(labels[start:end].data)
            digest.update(features[start:end].data)
            found.append(int.from_bytes(digest.digest(), "little", signed=True))
    return np.array(found, dtype=np.int64)


def _slices(frame: pl.DataFrame) -> Iterator[tuple[list[object], pl.DataFrame, list[int]]]:
    """The queries' ids, their rows, and where in these each begins and ends; some queries at a time."""
    lengths = frame["qid"].rle().struct.unnest()
    ends = np.cumsum(lengths["len"].to_numpy().astype(np.int64))
    first = done = 0
    while first < len(ends):
        after = max(first + 1, int(np.searchsorted(ends, done + _ROWS, side="right")))
        borders = [0, *(ends[first:after] - done).tolist()]
        yield lengths["value"][first:after].to_list(), frame.slice(done, borders[-1]), borders
        first, done = after, int(ends[after - 1])


def _bits(frame: pl.DataFrame) -> NDArray[np.int32]:
    """(N, columns) the bits of 32-bit floats, each value in one way: no -0.0, one kind of NaN."""
    if not frame.width:
        return np.zeros((0, 0), dtype=np.int32)
    values = np.ascontiguousarray(frame.cast(pl.Float32).fill_null(float("nan")).to_numpy()) + np.float32(0.0)
    values[np.isnan(values)] = np.nan
    return values.view(np.int32)

"""Dividing a table on disk, which may be larger than memory, into training, validation and test files.

Two passes of polars' streaming engine. The first finds each query's part, which memory holds for every query (its id, a
time, a number); the second reads the table once for each part and writes the rows that belong to it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.columns import require
from data.csv_tables import open_csv
from data.errors import DataError
from data.files import atomic_folder, first_line, no_room, reading
from data.prepared import PARTS
from data.schema import key_dtype
from data.sources import Source, format_of, open_parquet, open_svmlight
from data.table_splits import check_shares, check_time, missing_times, parts_by_time

RECORD = "split.json"
"""Says how a folder's files came about; it is written with them, so a folder with it is complete."""


@dataclass(frozen=True)
class SplitPart:
    """One file of a split: its name (``train``, ``validation`` or ``test``), where it is, what it holds."""

    name: str
    path: Path
    rows: int
    queries: int


def split_table(
    path: Path | str,
    out: Path | str,
    *,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    time: str | None = None,
    categorical: Sequence[str] = (),
) -> tuple[SplitPart, ...]:
    """Write ``train.parquet``, ``validation.parquet`` and ``test.parquet`` with all columns of a table, and how.

    Every query is wholly in one part, whatever the order of the rows; within a part they keep their order.

    Without ``time``, a query's part follows from its id and the seed alone (a hash falls into the first share, the
    second or the third), so it stays where it is when the table grows; the parts' sizes are near the shares, not equal
    to them. With ``time``, the earliest queries are trained on and the latest tested, as :func:`data.split_by_time`
    has it, shares being of queries.

    Args:
        path: a candidate table, .parquet, .csv or SVMlight text; needs ``qid`` (or an alias) and no features.
        out: the folder; new, empty, or an earlier split, which is replaced as a whole.
        shares: of the three parts, each above 0, summing to 1.
        seed: of the hash, non-negative.
        time: column that says when, a number or a date.
        categorical: for CSV, columns that hold ids; numbers in other columns become floats.

    Raises:
        DataError: an unreadable table, a missing or ill-typed column, null ids or times, a part without queries, a
            folder that holds something else.
    """
    path, out = Path(path), Path(out)
    if len(check_shares(shares)) != len(PARTS):
        raise DataError(f"shares must be {len(PARTS)} ({', '.join(PARTS)}), got {list(shares)}: such as 0.8,0.1,0.1")
    if seed < 0:
        raise DataError(f"seed must not be negative, got {seed}: try 0")
    source = _open(path, categorical, time)
    table = source.frame.with_columns(pl.col("qid").cast(key_dtype("qid", source.columns["qid"], path)))
    queries = _queries(table, time, path)
    part = _by_hash(queries["qid"], shares, seed) if time is None else parts_by_time(queries, shares)
    empty = [name for number, name in enumerate(PARTS) if number not in part]
    if empty:
        raise DataError(
            f"{path}: each part must hold a query, {empty[0]} would be empty of {len(queries)} queries at the shares "
            f"{list(shares)}: choose other shares or another seed"
        )
    with atomic_folder(out, RECORD) as folder:
        parts = tuple(
            _write(table, queries, part == number, folder / f"{PARTS[number]}.parquet", path) for number in range(3)
        )
        record = {
            "schema": 1,
            "by": "query" if time is None else "time",
            "shares": list(shares),
            **({"seed": seed} if time is None else {"time": time, "first": _firsts(queries, part)}),
            "categorical": list(categorical),
            "parts": {each.name: {"rows": each.rows, "queries": each.queries} for each in parts},
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    return tuple(SplitPart(each.name, out / each.path.name, each.rows, each.queries) for each in parts)


def is_split(folder: Path) -> bool:
    """Whether :func:`split_table` wrote a folder, or something that it takes for such."""
    return (folder / RECORD).is_file()


def split_record(folder: Path) -> dict[str, Any]:
    """What :func:`split_table` wrote down about the columns of the files in a folder: ``time`` and ``categorical``.

    Empty where the folder is no split, or was made before these were written.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        time, ids = record.get("time"), record.get("categorical", [])
    except (OSError, ValueError, AttributeError, RecursionError):  # some other split.json
        return {}
    good = {"categorical": tuple(ids)} if isinstance(ids, list) and all(isinstance(name, str) for name in ids) else {}
    return {**good, "time": time} if isinstance(time, str) else good


def _open(path: Path, categorical: Sequence[str], time: str | None) -> Source:
    kind = format_of(path, None)
    if kind == "svmlight":
        source = open_svmlight([path], None, None)
    elif kind == "csv":
        source = open_csv([path], categorical, time=time)
    else:
        source = open_parquet([path])
    require(("qid", *([time] if time is not None else []), *categorical), source.columns.names(), path)
    if time is not None:
        check_time(time, source.columns[time])
    return source


def _queries(table: pl.LazyFrame, time: str | None, path: Path) -> pl.DataFrame:
    """A row per query: ``qid``, and with a time column ``time``, that of its latest row, by which they rise."""
    latest = [] if time is None else [pl.col(time).max().alias("time"), missing_times(time).alias("missing")]
    with reading(path):
        queries = table.group_by("qid").agg(latest).collect(engine="streaming")
    if not len(queries):
        raise DataError(f"{path} holds no candidate: at least one row is wanted")
    if queries["qid"].null_count():
        raise DataError(f"{path}: column 'qid' must have no nulls, got some: fill or drop those rows")
    if time is None:
        return queries.sort("qid")
    missing = int(queries["missing"].sum())
    if missing:
        raise DataError(f"{path}: time column {time!r} must have no missing values, got {missing}: fill or drop those")
    return queries.drop("missing").sort("time", "qid")


def _by_hash(qids: pl.Series, shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """The part of each query: where a hash of its id, as text, falls in [0, 1)."""
    key = seed.to_bytes((seed.bit_length() + 7) // 8 or 1, "little")[:64]
    places = [
        int.from_bytes(hashlib.blake2b(str(qid).encode(), digest_size=8, key=key).digest(), "little") for qid in qids
    ]
    borders = np.cumsum(np.asarray(shares, dtype=np.float64))[:-1]
    return np.searchsorted(borders, np.array(places, dtype=np.float64) / 2.0**64, side="right")


def _write(
    table: pl.LazyFrame, queries: pl.DataFrame, chosen: NDArray[np.bool_], path: Path, source: Path
) -> SplitPart:
    wanted = queries.filter(chosen).select("qid")
    rows = table.join(wanted.lazy(), on="qid", how="semi", maintain_order="left")
    try:
        rows.sink_parquet(path, engine="streaming", maintain_order=True)
        count = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:  # not OSError: the table was read before, so it is the disk written to
        if no_room(error):
            raise
        raise DataError(f"{source} cannot be read ({first_line(error)}): it is damaged or changed meanwhile") from error
    return SplitPart(path.stem, path, count, len(wanted))


def _firsts(queries: pl.DataFrame, part: NDArray[np.int64]) -> dict[str, Any]:
    """The earliest time of each part, as text where it is no number."""
    values = {name: queries["time"].filter(pl.Series(part == number))[0] for number, name in enumerate(PARTS)}
    return {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}

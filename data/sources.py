"""Candidate files as lazy frames: Parquet, and SVMlight by way of Parquet in a temporary folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from data.columns import renames
from data.errors import DataError
from data.files import Scratch, existing_file, reading
from data.groups import read_groups, rows_to_groups
from data.svmlight import MOST_FEATURES, read_chunks

FORMATS: dict[str, str] = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".txt": "svmlight",
    ".svm": "svmlight",
    ".svmlight": "svmlight",
    ".letor": "svmlight",
}
"""Suffixes and the formats they stand for."""

_FEATURE_NAME = re.compile(r"f(0|[1-9][0-9]*)")


@dataclass(frozen=True, eq=False)
class Source:
    """A table as it lies on disk.

    Attributes:
        frame: canonical names, types as in the file.
        columns: those names and types.
        scratch: the temporary folder that must live as long as ``frame``, or None.
    """

    frame: pl.LazyFrame
    columns: pl.Schema
    scratch: Scratch | None = None


def format_of(path: Path, given: str | None) -> str:
    """The format of a file: the one given, or else by its suffix."""
    if given is not None:
        if given not in FORMATS.values():
            raise DataError(f"unknown format {given!r}: parquet, csv or svmlight")
        return given
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: unknown suffix {suffix!r}; known: {', '.join(FORMATS)}: rename it")
    return FORMATS[suffix]


def open_parquet(paths: Sequence[Path]) -> Source:
    """Parquet files of one schema, one after the other."""
    first: pl.Schema | None = None
    for path in paths:
        with reading(existing_file(path)):
            columns = pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema()
        if first is not None and columns != first:
            odd = next(name for name in {**first, **columns} if first.get(name) != columns.get(name))
            raise DataError(
                f"{path} must have the columns of {paths[0]}: column {odd!r} is {columns.get(odd, 'missing')}, "
                f"there {first.get(odd, 'missing')}"
            )
        first = columns
    return _named(pl.scan_parquet(list(paths), glob=False, hive_partitioning=False), paths)


def _named(scan: pl.LazyFrame, paths: Sequence[Path]) -> Source:
    with reading(described(paths)):
        scan = scan.rename(renames(scan.collect_schema().names()))
        return Source(scan, scan.collect_schema())


def open_svmlight(
    paths: Sequence[Path], groups: Sequence[Path] | None, wanted: Sequence[str] | None, folder: Path | None = None
) -> Source:
    """SVMlight files, one after the other, as the columns qid, docid, label, f1, f2, ... (f0 where it occurs).

    The text is parsed once, into Parquet in a temporary folder that goes when the source does.

    Args:
        paths: the files; the row numbers that stand for missing document ids run on from file to file.
        groups: a group-size file for each, where the rows have no ``qid``.
        wanted: feature names; those beyond the highest index in the files are all 0.
        folder: where the temporary folder is made; None for the system's place.
    """
    if groups is not None and len(groups) != len(paths):
        raise DataError(f"there must be one group-size file for each of {len(paths)} tables, got {len(groups)}")
    scratch = Scratch("svmlight", folder)
    parts: list[Path] = []
    rows, queries, lowest, highest = 0, 0, 1, 0
    integers = {"qid": True, "docid": True}
    named: bool | None = None
    for number, path in enumerate(paths):
        sizes = None if groups is None else read_groups(groups[number])
        file_rows = 0
        file_parts = []
        for chunk in read_chunks(path):
            if chunk.qids is None and groups is None:
                raise DataError(
                    f"{path} has no 'qid:': add it, or give the file of group sizes (`slicerank data letor --groups`)"
                )
            if chunk.qids is not None and groups is not None:
                raise DataError(f"{path} has 'qid:' already: leave the group-size file (groups) out")
            if named is not None and named != (chunk.docids is not None):
                raise DataError(f"{path}: all files must have a '#docid' comment on each row, or none of them")
            named = chunk.docids is not None
            low = int(chunk.index.min()) if len(chunk.index) else 1
            high = int(chunk.index.max()) if len(chunk.index) else 0
            lowest, highest = min(lowest, low), max(highest, high)
            low = min(low, 1)
            here = np.arange(rows + file_rows, rows + file_rows + len(chunk))
            keys = {
                "qid": pl.Series(here) if chunk.qids is None else chunk.qids,
                "docid": pl.Series(here) if chunk.docids is None else chunk.docids,
                "label": pl.Series(chunk.labels),
            }
            for key in integers:
                integers[key] = integers[key] and _canonical_integers(keys[key])
            features = pl.from_numpy(chunk.dense(low, high), schema=[f"f{index}" for index in range(low, high + 1)])
            parts.append(scratch.path / f"{len(parts):06d}.parquet")
            pl.DataFrame(keys).hstack(features).write_parquet(parts[-1], compression="lz4")
            file_parts.append(parts[-1])
            file_rows += len(chunk)
        if sizes is not None and groups is not None:
            _put_groups(file_parts, queries + rows_to_groups(sizes, file_rows, path, groups[number]))
            queries += len(sizes)
        rows += file_rows
    return _joined(scratch, parts, lowest, max(highest, _highest(wanted)), integers)


def _canonical_integers(ids: pl.Series) -> bool:
    """Whether ids can become integers and still be told apart: "7" and "007" are two."""
    if ids.dtype.is_integer():
        return True
    return bool((ids.cast(pl.Int64, strict=False).cast(pl.String) == ids).fill_null(False).all())


def _put_groups(parts: list[Path], qids: np.ndarray) -> None:
    """Replace the column qid of a file's parts."""
    done = 0
    for part in parts:
        frame = pl.read_parquet(part, glob=False)
        frame.with_columns(qid=pl.Series(qids[done : done + len(frame)])).write_parquet(part, compression="lz4")
        done += len(frame)


def _highest(wanted: Sequence[str] | None) -> int:
    found = [_FEATURE_NAME.fullmatch(name) for name in wanted or ()]
    return max((int(match[1]) for match in found if match and len(match[1]) < 9), default=0)


def _joined(
    scratch: Scratch,
    parts: list[Path],
    lowest: int,
    highest: int,
    integers: dict[str, bool],
) -> Source:
    """One lazy frame of all parts, absent features 0, ids as integers where all are."""
    if highest > MOST_FEATURES:
        raise DataError(f"features must be at most f{MOST_FEATURES}, got f{highest}: candidate tables are dense")
    stored = pl.scan_parquet(parts[0], glob=False).collect_schema()
    features = [f"f{index}" for index in range(lowest, highest + 1)]
    schema = pl.Schema(
        {name: stored[name] for name in ("qid", "docid", "label")} | dict.fromkeys(features, pl.Float32())
    )
    scan = pl.scan_parquet(parts, schema=schema, missing_columns="insert", glob=False).with_columns(
        *(pl.col(name).fill_null(0.0) for name in features),
        *(pl.col(name).cast(pl.Int64) for name, whole in integers.items() if whole),
    )
    return Source(scan, scan.collect_schema(), scratch)


def described(paths: Sequence[Path]) -> str:
    """The files in words, for messages."""
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} (and {len(paths) - 1} more)"

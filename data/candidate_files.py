"""Writing candidate tables."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from data.columns import RESERVED, renames, require
from data.errors import DataError
from data.files import atomic_path
from data.schema import is_number
from data.sources import format_of
from data.svmlight import svmlight_lines


def write_candidates(
    frame: pl.DataFrame | Iterable[pl.DataFrame],
    path: Path | str,
    *,
    format: str | None = None,
    features: Iterable[str] | None = None,
) -> None:
    """Write a candidate table, whole or not at all.

    Args:
        frame: columns ``qid`` and ``docid`` (or aliases) and any others; or frames of the same columns, one
            after the other, which need not fit into memory together.
        path: the file to write.
        format: ``parquet``, ``csv`` or ``svmlight``; None goes by the suffix.
        features: for SVMlight, the numeric columns that become index 1, 2, ...; None means every numeric
            column that is neither key nor result.

    Raises:
        DataError: a missing column, an unknown suffix, a path that cannot be written.
    """
    path = Path(path)
    kind = format_of(path, format)
    frames = _canonical(iter((frame,)) if isinstance(frame, pl.DataFrame) else iter(frame))
    first = next(frames, None)
    if first is None:
        raise DataError(f"cannot write {path}: no table was given, at least one is wanted")
    with atomic_path(path) as temporary:
        if kind == "svmlight":
            numeric = _numeric(first) if features is None else list(features)
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                for part in _chain(first, frames):
                    file.writelines(line + "\n" for line in svmlight_lines(part, numeric))
        elif kind == "csv":
            with temporary.open("wb") as binary:
                for number, part in enumerate(_chain(first, frames)):
                    part.write_csv(binary, include_header=number == 0)
        else:
            _sink(first, frames, temporary)


def _canonical(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    for frame in frames:
        named = frame.rename(renames(frame.columns))
        require(("qid", "docid"), named.columns, "the table")
        yield named


def _chain(first: pl.DataFrame, rest: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    yield first
    yield from rest


def _numeric(frame: pl.DataFrame) -> list[str]:
    return [name for name, dtype in frame.schema.items() if is_number(dtype) and name not in RESERVED]


def _sink(first: pl.DataFrame, rest: Iterator[pl.DataFrame], path: Path) -> None:
    """Write one Parquet file; more than one frame goes by way of files beside it, so that memory holds one."""
    second = next(rest, None)
    if second is None:
        first.write_parquet(path)
        return
    pieces: list[Path] = []
    try:
        for part in _chain(first, _chain(second, rest)):
            pieces.append(path.with_name(f"{path.name}.{len(pieces):06d}.tmp"))
            part.write_parquet(pieces[-1], compression="lz4")
        pl.scan_parquet(pieces, glob=False).sink_parquet(path, engine="streaming")
    finally:
        for piece in pieces:
            piece.unlink(missing_ok=True)

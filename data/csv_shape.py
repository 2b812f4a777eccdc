"""The shape of a CSV file: that every line has as many fields as the header, and on which line a row stands.

polars fills a short line up with nulls without a word and gives no line number for a long one, so the text is looked
at first: separators and line ends outside quotation marks are counted by array operations, some megabytes at a time.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.files import existing_file, first_line, reading

_CHUNK_BYTES = 8 << 20
_LONGEST_RECORD = 64 << 20  # beyond it a quotation mark was never closed
_MARK = "\ufeff".encode()  # some programs begin UTF-8 text with it


@dataclass(frozen=True, eq=False)
class _Records:
    """Consecutive records of a file, n of them.

    text: all of them, each with its line end but perhaps the last. starts, ends: (n,) where in ``text`` each lies,
    without its line end. lines: (n,) the line each begins on, from 1. fields: (n,) how many it has, 0 on an empty line.
    """

    text: bytes
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    lines: NDArray[np.int64]
    fields: NDArray[np.int64]


def check_csv(path: Path | str) -> list[str]:
    """The names in the header, after a look at every line.

    Raises:
        DataError: no such file or an empty one, text that is not UTF-8, a name that stands twice in the header; or,
            with its number, a line with more or fewer fields than the header, an empty one, or one with a quotation
            mark that is never closed.
    """
    path = existing_file(path)
    names: list[str] | None = None
    for records in _records(path):
        fields, lines = records.fields, records.lines
        if names is None:
            written = np.flatnonzero(fields)
            if not len(written):
                continue
            first = int(written[0])
            names = _names(records.text[records.starts[first] : records.ends[first]], path)
            fields, lines = fields[first + 1 :], lines[first + 1 :]
        wrong = np.flatnonzero(fields != len(names))
        if len(wrong):
            line, found = int(lines[wrong[0]]), int(fields[wrong[0]])
            what = f"{found} field{'s' if found > 1 else ''}" if found else "an empty line"
            raise DataError(
                f"{path}, line {line}: every line must have the header's {len(names)} fields, got {what}: "
                "mend or drop it"
            )
    if names is None:
        raise DataError(f"{path} holds only empty lines: a header and at least one row are wanted")
    return names


def line_of(path: Path, row: int) -> int:
    """The number, from 1, of the line on which a row begins; row 0 is the first behind the header."""
    wanted = row + 1
    for records in _records(path):
        lines = records.lines[records.fields > 0]
        if wanted < len(lines):
            return int(lines[wanted])
        wanted -= len(lines)
    raise DataError(f"{path} changed while it was read: read it again")


def _names(header: bytes, path: Path) -> list[str]:
    names = next(csv.reader([header.removeprefix(_MARK).decode("utf-8")]))
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: a column stands once in the header, {twice[0]!r} stands there twice: rename one")
    return names


def _records(path: Path) -> Iterator[_Records]:
    line = 1
    rest = b""
    with reading(path), path.open("rb") as file:
        while block := file.read(_CHUNK_BYTES):
            rest += block
            records = _cut(rest, line)
            if records is None:
                if len(rest) > _LONGEST_RECORD:
                    raise _unclosed(path, line)
                continue
            yield _utf8(records, path)
            line += records.text.count(b"\n")
            rest = rest[len(records.text) :]
        if rest:
            records = _cut(rest + b"\n", line)
            if records is None or len(records.text) <= len(rest):
                raise _unclosed(path, line + (0 if records is None else records.text.count(b"\n")))
            yield _utf8(records, path)


def _cut(text: bytes, line: int) -> _Records | None:
    """The whole records at the head of ``text``, which begins with one; None where none ends in it."""
    code = np.frombuffer(text, dtype=np.uint8)
    ends, commas = code == ord("\n"), code == ord(",")
    lines_end = np.flatnonzero(ends)
    if b'"' in text:
        outside = ~np.logical_xor.accumulate(code == ord('"'))
        ends, commas = ends & outside, commas & outside
    stops = np.flatnonzero(ends)
    if not len(stops):
        return None
    starts = np.concatenate([[0], stops[:-1] + 1])
    bare = np.where((stops > starts) & (code[stops - 1] == ord("\r")), stops - 1, stops)
    fields = np.diff(np.searchsorted(np.flatnonzero(commas), stops), prepend=0) + 1
    return _Records(
        text[: int(stops[-1]) + 1],
        starts,
        bare,
        line + np.searchsorted(lines_end, starts),
        np.where(bare > starts, fields, 0),
    )


def _utf8(records: _Records, path: Path) -> _Records:
    try:
        records.text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = int(records.lines[0]) + records.text.count(b"\n", 0, error.start)
        raise DataError(f"{path}, line {line}: text must be UTF-8 ({first_line(error)}): convert the file") from error
    return records


def _unclosed(path: Path, line: int) -> DataError:
    return DataError(
        f"{path}, line {line}: a quotation mark must be closed, one that opens here or below never is: close it"
    )

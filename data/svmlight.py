"""SVMlight/LETOR text: ``label [qid:Q] index:value ... [# comment]``, parsed by column operations, not line by line.

LETOR writes the document into the comment, ``#docid = X``. A line that does not fit is refused with its number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.columns import require
from data.errors import DataError
from data.files import existing_file, first_line, reading

MOST_FEATURES = 20_000
"""Highest feature index read: candidate tables are dense."""

_CHUNK_BYTES = 8 << 20
_SHOWN = 60


@dataclass(frozen=True, eq=False)
class SvmlightChunk:
    """Some consecutive rows of a file, n of them.

    Attributes:
        lines: (n,) int64, the number of each row's line, from 1.
        labels: (n,) float64.
        qids: (n,) strings, or None where no row has one.
        docids: (n,) strings from the comments, or None where no row has one.
        row, index, value: (m,) the m features written down: the row's place in the chunk, the feature's
            index, its value as float32.
    """

    lines: NDArray[np.int64]
    labels: NDArray[np.float64]
    qids: pl.Series | None
    docids: pl.Series | None
    row: NDArray[np.int64]
    index: NDArray[np.int64]
    value: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def dense(self, low: int, high: int) -> NDArray[np.float32]:
        """The features ``low`` to ``high``, both included, absent ones 0; shape (n, high - low + 1)."""
        matrix = np.zeros((len(self), high - low + 1), dtype=np.float32)
        inside = (self.index >= low) & (self.index <= high)
        matrix[self.row[inside], self.index[inside] - low] = self.value[inside]
        return matrix


def read_chunks(path: Path | str, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[SvmlightChunk]:
    """Read a file piece by piece, whole lines each; blank lines and lines of comment alone are skipped.

    Raises:
        DataError: no such file, an empty one, or a bad line, named by its number: a label or value that is no
            number, an index that is no whole number from 0 to ``MOST_FEATURES`` or stands twice, a ``qid``
            (or a ``#docid``) on some rows and not on others.
    """
    path = existing_file(path)
    seen = _Seen(path)
    line = 1
    with reading(path), path.open("rb") as file:
        rest = b""
        while block := file.read(chunk_bytes):
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            if end:
                chunk, lines = _parse(block[:end], line, path)
                line += lines
                if chunk is not None:
                    seen.check(chunk)
                    yield chunk
        if rest:
            chunk, _ = _parse(rest, line, path)
            if chunk is not None:
                seen.check(chunk)
                yield chunk
    if not seen.rows:
        raise DataError(f"{path} holds no candidate: lines of the form 'label qid:Q index:value ...' are wanted")


class _Seen:
    """Whether the chunks so far had query and document ids, which must be so for all rows or none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.qid = self.docid = False

    def check(self, chunk: SvmlightChunk) -> None:
        has = (chunk.qids is not None, chunk.docids is not None)
        if self.rows and has != (self.qid, self.docid):
            what = "qid" if has[0] != self.qid else "#docid"
            _all_or_none(self.path, int(chunk.lines[0]), what)
        self.qid, self.docid = has
        self.rows += len(chunk)


def _parse(block: bytes, first: int, path: Path) -> tuple[SvmlightChunk | None, int]:
    """Parse whole lines, the first of which has the number ``first``; also return how many lines there are."""
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        number = first + block.count(b"\n", 0, error.start)
        raise DataError(f"{path}, line {number}: text must be UTF-8 ({first_line(error)}): convert the file") from error
    raw = pl.Series("text", text.split("\n"), dtype=pl.String)
    if text.endswith("\n"):
        raw = raw.head(len(raw) - 1)
    frame = pl.DataFrame({"line": np.arange(first, first + len(raw)), "text": raw}).select(
        "line",
        "text",
        body=pl.col("text").str.extract(r"^([^#]*)").str.replace_all(r"\s", " ").str.strip_chars(),
        comment=pl.col("text").str.extract(r"#(.*)$"),
    )
    frame = frame.filter(pl.col("body") != "")
    if not len(frame):
        return None, len(raw)
    frame = frame.with_columns(
        label=pl.col("body").str.extract(r"^(\S+)"),
        qid=pl.col("body").str.extract(r"^\S+ +qid:(\S*)"),
        docid=pl.col("comment").str.extract(r"^\s*docid\s*=\s*(\S+)"),
        # What follows the label and the query.
        pairs=pl.col("body").str.replace(r"^\S+ *(qid:\S*)? *", ""),
    )
    labels = frame["label"].cast(pl.Float64, strict=False)
    _refuse(path, frame, labels.is_null(), "the label must be a number", "label")
    _refuse(path, frame, (frame["qid"] == "").fill_null(False), "the query after 'qid:' must not be empty", "body")
    row, index, value = _pairs(path, frame)
    return (
        SvmlightChunk(
            frame["line"].to_numpy(),
            labels.to_numpy(),
            _ids(path, frame, "qid", "qid"),
            _ids(path, frame, "docid", "#docid"),
            row,
            index,
            value,
        ),
        len(raw),
    )


def _pairs(path: Path, frame: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The features written down, as in :class:`SvmlightChunk`, by rising row."""
    pairs = (
        frame.select(row=pl.int_range(pl.len(), dtype=pl.Int64), pair=pl.col("pairs").str.split(" "))
        .explode("pair")
        .filter(pl.col("pair") != "")
        .with_columns(parts=pl.col("pair").str.splitn(":", 2))
        .unnest("parts")
        .with_columns(
            index=pl.col("field_0").cast(pl.Int64, strict=False),
            value=pl.col("field_1").cast(pl.Float64, strict=False),
        )
    )
    bad = pairs.filter(
        pl.col("index").is_null() | pl.col("value").is_null() | ~pl.col("index").is_between(0, MOST_FEATURES)
    )
    if len(bad):
        place, pair, index, value = bad.select("row", "pair", "index", "value").row(0)
        line = frame["line"][place]
        if index is not None and value is not None:
            raise DataError(
                f"{path}, line {line}: a feature's index must lie between 0 and {MOST_FEATURES}, got {index}: "
                "candidate tables are dense"
            )
        raise DataError(f"{path}, line {line}: a feature must be written index:value, got {pair[:_SHOWN]!r}")
    row, index = pairs["row"].to_numpy(), pairs["index"].to_numpy()
    _refuse_twice(path, frame, row, index)
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which the table's checks refuse
        return row, index, pairs["value"].to_numpy().astype(np.float32)


def _refuse_twice(path: Path, frame: pl.DataFrame, row: NDArray[np.int64], index: NDArray[np.int64]) -> None:
    key = row * (MOST_FEATURES + 1) + index
    if len(key) < 2 or (key[1:] > key[:-1]).all():  # rising, as the format's own programs demand
        return
    order = np.sort(key)
    twice = order[1:][order[1:] == order[:-1]]
    if len(twice):
        place, feature = divmod(int(twice[0]), MOST_FEATURES + 1)
        raise DataError(f"{path}, line {frame['line'][place]}: feature {feature} stands twice: write it once")


def _ids(path: Path, frame: pl.DataFrame, column: str, what: str) -> pl.Series | None:
    ids = frame[column]
    if ids.null_count() == len(ids):
        return None
    if ids.null_count():
        has = ids.is_not_null()
        _all_or_none(path, int(frame["line"].filter(has != has[0])[0]), what)
    return ids


def _all_or_none(path: Path, line: int, what: str) -> None:
    raise DataError(
        f"{path}, line {line}: every row must have a {what} or none, this one differs from those before: mend the line"
    )


def _refuse(path: Path, frame: pl.DataFrame, wrong: pl.Series, rule: str, column: str) -> None:
    if wrong.any():
        line, value = frame.filter(wrong).select("line", column).row(0)
        raise DataError(f"{path}, line {line}: {rule}, got {value[:_SHOWN]!r}")


def svmlight_lines(frame: pl.DataFrame, numeric: list[str]) -> pl.Series:
    """The lines of a candidate table, one string a row: feature i of ``numeric`` is written with the index i + 1.

    frame: columns ``qid``, ``docid``, ``label`` and the numeric ones. Zeros are left out, as the format has it;
    nulls and NaN are written as ``nan``.

    Raises:
        DataError: a missing column, or an id with white space or ``#`` in it.
    """
    require(("qid", "docid", "label", *numeric), frame.columns, "the table")
    ids = frame.select(pl.col("qid", "docid").cast(pl.String))
    for name in ids.columns:
        broken = ids[name].filter(ids[name].str.contains(r"[\s#]") | (ids[name] == ""))
        if len(broken):
            raise DataError(
                f"{name} must have no white space and no '#' in SVMlight text, got {broken[0]!r}: rename it"
            )
    features = [
        pl.when(pl.col(name).cast(pl.Float32).fill_null(float("nan")) != 0)
        .then(pl.format(f" {number}:{{}}", pl.col(name).cast(pl.Float32).fill_null(float("nan")).cast(pl.String)))
        .otherwise(pl.lit(""))
        for number, name in enumerate(numeric, start=1)
    ]
    label = pl.col("label").cast(pl.Float32)
    whole = pl.when(label == label.round()).then(label.cast(pl.Int64, strict=False).cast(pl.String))
    return frame.select(
        line=pl.concat_str(
            [
                whole.otherwise(label.cast(pl.String)),
                pl.lit(" qid:"),
                pl.col("qid").cast(pl.String),
                *features,
                pl.lit(" #docid = "),
                pl.col("docid").cast(pl.String),
            ]
        )
    ).to_series()

"""Candidate tables: opening them, reading them whole or query by query, and saying what they hold."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import polars as pl

from data.conform import conform
from data.csv_tables import open_csv
from data.errors import DataError
from data.external_sort import Survey, sorted_frames, survey, whole_queries
from data.files import Scratch, reading
from data.schema import Labels, Request, TableSchema, is_list, resolve
from data.sources import Source, described, format_of, open_parquet, open_svmlight

BATCH_ROWS = 200_000
"""Rows of a batch where nothing else is asked for."""


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """Candidates of queries in one or more files; nothing but their columns is read before it is asked for.

    Attributes:
        paths: the files.
        schema: what reading gives.
        typed: whether the format says itself what type a column has, as Parquet does and text does not.
    """

    paths: tuple[Path, ...]
    schema: TableSchema
    typed: bool
    _source: pl.LazyFrame = field(repr=False)
    _scratch: Scratch | None = field(repr=False, default=None)

    @cached_property
    def _survey(self) -> Survey:
        with reading(described(self.paths)):
            return survey(self._source)

    @property
    def rows(self) -> int:
        """Number of candidates; the first call goes over the query ids once."""
        return self._survey.rows

    @property
    def queries(self) -> int:
        """Number of queries; the first call goes over the query ids once."""
        return self._survey.queries

    def read(self) -> pl.DataFrame:
        """The whole table in memory, sorted by qid, then docid.

        Columns as ``schema.dtypes`` has them. Nulls and NaN of numeric features stay.

        Raises:
            DataError: unreadable files, or values that break a rule (:func:`data.conform.conform` has the list).
        """
        with reading(described(self.paths)):
            return conform(self._source.collect(engine="streaming"), self.schema, described(self.paths))

    def batches(self, rows: int = BATCH_ROWS, *, folder: Path | str | None = None) -> Iterator[pl.DataFrame]:
        """The same table as :meth:`read`, in the same order, a batch of whole queries at a time.

        Memory is bounded however long the table is, and however its rows are scattered: a table whose queries
        are not in order is first dealt out on disk, about its own size (:mod:`data.external_sort`).

        Args:
            rows: at least 1; a batch holds as many queries as fit, or one query that is larger by itself.
            folder: where temporary files go; None for the system's place.

        Raises:
            DataError: as :meth:`read`.
        """
        if rows < 1:
            raise DataError(f"rows of a batch must be at least 1, got {rows}")
        return self._batches(rows, None if folder is None else Path(folder))

    def _batches(self, rows: int, folder: Path | None) -> Iterator[pl.DataFrame]:
        where = described(self.paths)
        frames = whole_queries(sorted_frames(self._source, self._survey, rows, folder), rows)
        while True:
            with reading(where):
                frame = next(frames, None)
            if frame is None:
                return
            yield conform(frame, self.schema, where)

    def with_ids(self, types: Mapping[str, pl.DataType]) -> "CandidateTable":
        """The same table with id columns as another table has them; text does not say whether 7 is a number.

        A typed table stays as it is: its ids are what they are.

        types: for categorical columns Int64, which makes the id null, so unknown, where it is not the usual form of a
        whole number, or String.
        """
        casts, dtypes = [], dict(self.schema.dtypes)
        for name, dtype in types.items():
            if dtypes[name] != dtype and not self.typed:
                text = pl.col(name).cast(pl.String)
                whole = text.cast(pl.Int64, strict=False)
                casts.append(text if dtype == pl.String else pl.when(whole.cast(pl.String) == text).then(whole))
                dtypes[name] = dtype
        return replace(self, schema=replace(self.schema, dtypes=dtypes), _source=self._source.with_columns(casts))

    def fingerprint(self) -> str:
        """A hash (64 hexadecimal digits) of the columns and the values that reading gives.

        It does not depend on the files' format, their names or the order of their rows.
        """
        digest = hashlib.blake2b(digest_size=32)
        digest.update(repr([(name, str(dtype)) for name, dtype in self.schema.dtypes.items()]).encode())
        for frame in self.batches(BATCH_ROWS):
            digest.update(f"batch {len(frame)}".encode())
            for column in frame.iter_columns():
                _hash_column(digest, column)
        return digest.hexdigest()


def _hash_column(digest: "hashlib.blake2b", column: pl.Series) -> None:
    if column.null_count():
        digest.update(b"nulls")
        digest.update(column.is_null().to_numpy().data)
    if column.dtype == pl.String:
        filled = column.fill_null("")
        digest.update(filled.str.len_bytes().to_numpy().data)
        digest.update("".join(filled.to_list()).encode())
        return
    if column.dtype.is_temporal():
        column = column.to_physical()
    if column.dtype.is_float():
        column = column.fill_nan(float("nan"))
    digest.update(column.fill_null(0).to_numpy().data)


def scan_candidates(
    path: Path | str | Sequence[Path | str],
    *,
    format: str | None = None,
    groups: Path | str | Sequence[Path | str] | None = None,
    features: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    time: str | None = None,
    exclude: Sequence[str] = (),
    labels: Labels = "whole",
    counts: Sequence[str] = (),
) -> CandidateTable:
    """Open a candidate table.

    Columns ``qid`` and ``docid`` (integer or string), ``label`` if there is one, under these names or their
    aliases (:data:`data.columns.ALIASES`). Features are numeric columns, or one list/array column
    ``features``, which becomes ``f0``, ``f1``, ... SVMlight/LETOR text gives ``f1`` to ``fn`` by its indices,
    absent ones 0, and ``docid`` from the ``#docid = X`` comment, else the row's number from 0. What CSV columns
    are follows from all of their values (:func:`data.csv_tables.open_csv`).

        scan_candidates("train.parquet", categorical=["user", "item"]).read()
        scan_candidates("rank.train", format="svmlight", groups="rank.train.query")

    Args:
        path: a file, or several of the same columns, read one after the other.
        format: ``parquet``, ``csv`` or ``svmlight``; None goes by the suffix (.parquet, .csv, and .txt, .svm,
            .svmlight, .letor).
        groups: LightGBM's group-size file (one for each SVMlight file) where rows have no ``qid``; queries are
            numbered from 0.
        features: the numeric columns to use; None means every numeric column but keys, results (``score``,
            ``rank``, ``stage``, ``target``, ``ideal``), categorical and time. For SVMlight, names beyond the
            highest index in the file are features that are 0 everywhere.
        categorical: integer or string columns that are ids.
        time: a column that says when, a number or a date.
        exclude: columns that are not read, whatever they hold.
        labels: whether every label must be there (``whole``), a null means that nobody judged (``partial``), or the
            column is not even read (``ignored``).
        counts: columns of whole numbers, of any numeric type, or nulls; they may be features or ids besides.

    Raises:
        DataError: no such file, an unreadable or empty one, an unknown suffix or format, a missing or ill-typed
            column, a bad line of SVMlight or CSV, group sizes that do not fit.
    """
    paths = _paths(path)
    named = None if features is None else tuple(features)
    request = Request(named, tuple(categorical), time, tuple(exclude), labels, tuple(dict.fromkeys(counts)))
    formats = {format_of(each, format) for each in paths}
    if len(formats) > 1:
        raise DataError(f"the files of one table must have one format, got {' and '.join(sorted(formats))}")
    (kind,) = formats
    if groups is not None and kind != "svmlight":
        raise DataError(f"groups go with SVMlight text without 'qid:', got them with {kind}: add a column 'qid'")
    if kind == "svmlight":
        source = open_svmlight(paths, None if groups is None else _paths(groups), features)
    elif kind == "csv":
        numbers = None if features is None else (*features, *counts)
        unread = (*exclude, *(("label",) if labels == "ignored" else ()))
        source = open_csv(paths, categorical, numbers, time, unread)
    else:
        source = open_parquet(paths)
    schema = resolve(source.columns, request, _widths(source, paths), described(paths))
    used = [name for name in source.columns.names() if name not in schema.ignored]
    return CandidateTable(tuple(paths), schema, kind == "parquet", source.frame.select(used), source.scratch)


def _paths(path: Path | str | Sequence[Path | str]) -> list[Path]:
    paths = [Path(path)] if isinstance(path, str | Path) else [Path(each) for each in path]
    if not paths:
        raise DataError("at least one file is wanted, got an empty list")
    return paths


def _widths(source: Source, paths: Sequence[Path]) -> dict[str, int]:
    """The lengths of the list and array columns in the first row, which there must be."""
    with reading(described(paths)):
        row = source.frame.head(1).collect()
    if not len(row):
        raise DataError(f"{described(paths)} holds no candidate: at least one row is wanted")
    widths = {}
    for name, dtype in source.columns.items():
        if is_list(dtype):
            value = row[name][0]
            widths[name] = dtype.shape[0] if isinstance(dtype, pl.Array) else (0 if value is None else len(value))
    return widths

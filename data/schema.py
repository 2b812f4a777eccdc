"""What a candidate table's columns are: keys, numeric features, categorical ids, time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from data.columns import LIST_FEATURES, RESERVED, require
from data.errors import DataError

Labels = Literal["whole", "partial", "ignored"]
"""What the column of labels may hold: one for every candidate, nulls where nobody judged, or anything, unread."""


@dataclass(frozen=True)
class TableSchema:
    """The columns that reading a candidate table gives, besides ``qid`` and ``docid``.

    Attributes:
        numeric: the numeric features, Float32.
        categorical: the id columns, Int64 or String; a null is an unknown id.
        has_label: whether there is a ``label``, Float32, at least 0, that is read.
        time: the column that says when, or None.
        dtypes: what each column has as its type, in the columns' order: qid, docid, label, time,
            categorical, numeric, counts.
        ignored: columns of the file that are not read, and their types there.
        labels: what the label may hold.
        counts: columns of whole numbers or nulls, Int64, whatever other role they have.
    """

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    has_label: bool
    time: str | None
    dtypes: dict[str, pl.DataType]
    ignored: dict[str, pl.DataType] = field(default_factory=dict)
    labels: Labels = "whole"
    counts: tuple[str, ...] = ()

    @property
    def has_time(self) -> bool:
        """Whether the table says when."""
        return self.time is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column read, in order."""
        return tuple(self.dtypes)


@dataclass(frozen=True)
class Request:
    """What the caller of :func:`data.scan_candidates` asked for.

    features: names, or None for every numeric column that is no key.
    exclude: columns to leave out.
    """

    features: tuple[str, ...] | None
    categorical: tuple[str, ...]
    time: str | None
    exclude: tuple[str, ...] = ()
    labels: Labels = "whole"
    counts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        named = [*(self.features or ()), *self.categorical, *([self.time] if self.time else []), *self.exclude]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise DataError(
                f"a column has one role (feature, categorical, time or excluded), {twice[0]!r} was named twice"
            )
        if self.features is not None and not (self.features or self.categorical):
            raise DataError("features must name at least one column, got none: leave it out for all numeric columns")
        keys = [name for name in (*named, *self.counts) if name in ("qid", "docid", "label")]
        if keys:
            raise DataError(
                f"{keys[0]!r} is a key, it can be no feature, categorical, time, count or excluded column: leave it out"
            )


def resolve(columns: pl.Schema, request: Request, widths: dict[str, int], where: Path | str) -> TableSchema:
    """Decide each column's role.

    Args:
        columns: names (canonical) and types as they are in the file.
        widths: the lengths of list and array columns.
        where: the file, for messages.

    Raises:
        DataError: a missing column, or one of an unfitting type.
    """
    names = columns.names()
    asked = (*(request.features or ()), *request.categorical, *([request.time] if request.time else []))
    asked = (*asked, *request.counts)
    require(("qid", "docid", *asked, *request.exclude), names, where)
    dtypes: dict[str, pl.DataType] = {name: key_dtype(name, columns[name], where) for name in ("qid", "docid")}
    has_label = "label" in names and request.labels != "ignored"
    if has_label:
        if not is_number(columns["label"]):
            raise DataError(f"{where}: column 'label' must be numeric, got {columns['label']}: cast it first")
        dtypes["label"] = pl.Float32()
    if request.time is not None:
        if not (columns[request.time].is_temporal() or columns[request.time].is_numeric()):
            raise DataError(
                f"{where}: time column {request.time!r} must be a number or a date, got {columns[request.time]}: "
                "cast it first"
            )
        dtypes[request.time] = pl.Float64() if columns[request.time].is_decimal() else columns[request.time]
    for name in request.categorical:
        dtypes[name] = key_dtype(name, columns[name], where)
    sources = _feature_columns(columns, request, where)
    for source in sources:
        for name in expanded(source, columns, widths):
            if name in dtypes:
                raise DataError(f"{where}: two columns would be named {name!r}: rename one")
            dtypes[name] = pl.Float32()
    for name in request.counts:
        if not (columns[name].is_numeric() or columns[name] == pl.Null):
            raise DataError(f"{where}: column {name!r} must hold whole numbers, got {columns[name]}: convert it first")
        dtypes[name] = pl.Int64()  # a feature of whole numbers gives the same 32-bit floats from there
    numeric = tuple(name for source in sources for name in expanded(source, columns, widths))
    if not numeric and not request.categorical:
        raise DataError(f"{where}: at least one numeric or categorical feature is wanted, got none: add a column")
    used = {"qid", "docid", *asked, *sources, *(["label"] if has_label else [])}
    ignored = {name: dtype for name, dtype in columns.items() if name not in used}
    return TableSchema(
        numeric, request.categorical, has_label, request.time, dtypes, ignored, request.labels, request.counts
    )


def expanded(source: str, columns: pl.Schema, widths: dict[str, int]) -> list[str]:
    """The features that the column ``source`` of the file becomes."""
    if is_list(columns[source]):
        return [f"f{number}" for number in range(widths[source])]
    return [source]


def _feature_columns(columns: pl.Schema, request: Request, where: Path | str) -> list[str]:
    """The columns of the file that hold features."""
    if request.features is None:
        if LIST_FEATURES in columns and is_list(columns[LIST_FEATURES]):
            chosen = [LIST_FEATURES]
        else:
            taken = {*request.categorical, request.time, *request.exclude}
            chosen = [
                name
                for name, dtype in columns.items()
                if is_number(dtype) and name not in RESERVED and name not in taken
            ]
    else:
        chosen = list(request.features)
    lists = [name for name in chosen if is_list(columns[name])]
    if lists and len(chosen) > 1:
        raise DataError(f"{where}: a list of features must be the only feature column, got {lists[0]!r} among others")
    for name in chosen:
        inner = columns[name].inner if is_list(columns[name]) else columns[name]  # type: ignore[attr-defined]
        if not is_number(inner):
            raise DataError(
                f"{where}: feature column {name!r} must be numeric, got {columns[name]}: encode it, or declare it "
                "as categorical"
            )
    return chosen


def is_list(dtype: pl.DataType) -> bool:
    """Whether a column of this type holds one list of features a row."""
    return isinstance(dtype, pl.List | pl.Array)


def is_number(dtype: pl.DataType | type[pl.DataType]) -> bool:
    """Whether a column of this type can be read as numbers."""
    return bool(dtype.is_numeric()) or dtype == pl.Boolean


def key_dtype(name: str, dtype: pl.DataType, where: Path | str) -> pl.DataType:
    """What an id column is read as.

    Raises:
        DataError: a type other than integers and strings.
    """
    if dtype.is_integer():
        return pl.Int64()
    if dtype == pl.String or dtype in (pl.Categorical, pl.Enum):
        return pl.String()
    raise DataError(f"{where}: column {name!r} must be integer or string, got {dtype}: cast it first")

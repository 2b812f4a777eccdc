"""The values of a candidate table: checked, cast to the schema's types, in canonical order."""

import polars as pl

from data.errors import DataError
from data.schema import TableSchema, is_list


def conform(frame: pl.DataFrame, schema: TableSchema, where: object) -> pl.DataFrame:
    """Return whole queries as the schema says, sorted by qid, then docid.

    frame: canonical names, types as in the file. Nulls and NaN in numeric features stay.

    Raises:
        DataError: a null key or time; a label that is null (unless the schema's are partial), NaN, infinite or
            negative; an infinite feature; a list of features of another length; a count that is no whole number; two
            equal candidates in a query.
    """
    frame = _expand(frame, schema, where)
    for name in schema.counts:
        frame = _whole(frame, name, where)
    for name in ("qid", "docid", *((schema.time,) if schema.time else ())):
        nulls = frame[name].null_count()
        if frame.schema[name].is_float():
            nulls += int(frame[name].is_nan().sum())
        if nulls:
            raise DataError(f"{where}: column {name!r} must have no nulls, got {nulls}: fill or drop those rows")
    try:
        frame = frame.select(pl.col(name).cast(dtype) for name, dtype in schema.dtypes.items())
    except pl.exceptions.InvalidOperationError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{where}: ids must fit into 64-bit integers ({reason}): make them strings") from error
    if not _in_order(frame):
        frame = frame.sort("qid", "docid")
        _refuse_duplicates(frame, where)
    if schema.has_label:
        _check_label(frame, where, schema.labels == "partial")
    _refuse_infinite(frame, schema, where)
    return frame


def _expand(frame: pl.DataFrame, schema: TableSchema, where: object) -> pl.DataFrame:
    """Turn the list column, where there is one, into the columns ``f0``, ``f1``, ..."""
    lists = [name for name, dtype in frame.schema.items() if is_list(dtype)]
    if not lists:
        return frame
    (name,) = lists
    column, width = frame[name], len(schema.numeric)
    if isinstance(column.dtype, pl.List):
        lengths = column.list.len()
        wrong = frame.filter(lengths.ne_missing(pl.Series([width], dtype=lengths.dtype)))
        if len(wrong):
            qid, docid, found = wrong.select("qid", "docid", pl.col(name).list.len()).row(0)
            raise DataError(
                f"{where}: column {name!r} must hold lists of one length, {width} as in the first row, got "
                f"{'null' if found is None else found} for query {qid!r}, candidate {docid!r}"
            )
        column = column.list.to_array(width)
    elif column.null_count():
        raise DataError(f"{where}: column {name!r} must have no nulls, got {column.null_count()}: fill or drop them")
    parts = [column.arr.get(number).alias(feature) for number, feature in enumerate(schema.numeric)]
    return frame.drop(name).with_columns(parts)


def _in_order(frame: pl.DataFrame) -> bool:
    """Whether the pairs rise strictly, which also proves them unique."""
    qid, docid = pl.col("qid"), pl.col("docid")
    rises = (qid > qid.shift()) | ((qid == qid.shift()) & (docid > docid.shift()))
    return bool(frame.select(rises.all()).item())


def _refuse_duplicates(frame: pl.DataFrame, where: object) -> None:
    same = (pl.col("qid") == pl.col("qid").shift()) & (pl.col("docid") == pl.col("docid").shift())
    twice = frame.lazy().select("qid", "docid").filter(same.fill_null(False)).collect()
    if len(twice):
        qid, docid = twice.row(0)
        raise DataError(
            f"{where}: candidates must be unique within a query, query {qid!r} has candidate {docid!r} more than "
            "once: drop the surplus rows"
        )


def _whole(frame: pl.DataFrame, name: str, where: object) -> pl.DataFrame:
    """The frame with a column as Int64; NaN is null."""
    column = frame[name].fill_nan(None) if frame.schema[name].is_float() else frame[name]
    whole = column.cast(pl.Int64, strict=False)  # cuts off fractions, and is null for what does not fit
    wrong = frame.filter((whole.cast(column.dtype, strict=False) != column).fill_null(column.is_not_null()))
    if len(wrong):
        qid, docid, value = wrong.select("qid", "docid", name).row(0)
        raise DataError(
            f"{where}: column {name!r} must hold whole numbers of at most 63 bits, or nothing, got {value} for query "
            f"{qid!r}, candidate {docid!r}: round it, or leave it empty"
        )
    return frame.with_columns(whole.alias(name))


def _check_label(frame: pl.DataFrame, where: object, partial: bool) -> None:
    label = pl.col("label")
    wrong = frame.filter((label.is_null() & (not partial)) | label.is_nan() | label.is_infinite() | (label < 0))
    if len(wrong):
        qid, docid, value = wrong.select("qid", "docid", "label").row(0)
        raise DataError(
            f"{where}: labels must be finite numbers of at least 0, got {'null' if value is None else value} "
            f"for query {qid!r}, candidate {docid!r}: mend or drop that row"
        )


def _refuse_infinite(frame: pl.DataFrame, schema: TableSchema, where: object) -> None:
    if not schema.numeric:
        return
    infinite = frame.select(pl.col(schema.numeric).is_infinite().any())
    for name in schema.numeric:
        if infinite[name][0]:
            qid, docid, value = frame.filter(pl.col(name).is_infinite()).select("qid", "docid", name).row(0)
            raise DataError(
                f"{where}: feature {name!r} must be finite and within the range of 32-bit floats (or missing), got "
                f"{value} for query {qid!r}, candidate {docid!r}: leave it empty where it is not known"
            )

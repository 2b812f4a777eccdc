"""The feature matrix of a candidate table: numeric columns side by side, or one list/array column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError


def feature_matrix(frame: pl.DataFrame, features: str | Sequence[str]) -> NDArray[Any]:
    """(n, d) the features of each candidate, in fp32 where all of them are, otherwise in fp64.

    features: the names of d numeric columns, or the name of one list/array column of rows of equal length d.
    Nulls become NaN, which tree models read as missing. The type depends on no value: LightGBM rounds integers to fp32,
    and would otherwise do so or not as some other candidate of the batch has a null.
    """
    names = [features] if isinstance(features, str) else list(features)
    if not names:
        raise CascadeError("features must name at least one column, got none")
    unknown = [name for name in names if name not in frame.columns]
    if unknown:
        raise CascadeError(f"unable to find feature column {unknown[0]!r}; valid columns: {frame.columns}")
    lists = isinstance(features, str) and isinstance(frame.schema[features], pl.List | pl.Array)
    inner = [_inner(frame.schema[name]) if lists else frame.schema[name] for name in names]
    for name, dtype in zip(names, inner, strict=True):
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise CascadeError(f"feature column {name!r} must be numeric, got {frame.schema[name]}; encode it first")
    matrix = _stacked(frame[names[0]]) if lists else frame.select(names).to_numpy(order="c")
    single = all(dtype == pl.Float32 for dtype in inner)
    return matrix.astype(np.float32 if single else np.float64, copy=False)


def _inner(dtype: pl.DataType) -> pl.DataType:
    """The type of a list's numbers, or of an array's, which may be one of arrays."""
    inner: pl.DataType = dtype.inner  # type: ignore[attr-defined]
    return _inner(inner) if isinstance(dtype, pl.Array) and isinstance(inner, pl.Array) else inner


def _stacked(column: pl.Series) -> NDArray[Any]:
    if column.null_count():
        raise CascadeError(f"feature column {column.name!r} must have no nulls, got {column.null_count()}")
    if isinstance(column.dtype, pl.Array):
        return column.to_numpy().reshape(len(column), math.prod(column.dtype.shape))
    lengths = column.list.len().unique().to_list()
    if len(lengths) > 1:
        raise CascadeError(f"feature column {column.name!r} must hold lists of one length, got lengths {lengths}")
    width = int(lengths[0]) if lengths else 0
    flat = column.explode().to_numpy() if width else np.empty(0)
    return flat.reshape(len(column), width)

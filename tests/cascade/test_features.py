import numpy as np
import polars as pl
import pytest

from cascade.errors import CascadeError
from cascade.features import feature_matrix

FRAME = pl.DataFrame(
    {"a": [1, 2], "b": [0.5, None], "t": ["x", "y"], "l": [[1.0, 2.0], [3.0, 4.0]], "words": [["x"], ["y"]]}
)


def test_numeric_columns_stand_side_by_side_in_the_order_asked_for() -> None:
    assert np.array_equal(feature_matrix(FRAME, ["b", "a"]), [[0.5, 1], [np.nan, 2]], equal_nan=True)
    assert feature_matrix(FRAME, "a").tolist() == [[1], [2]]


@pytest.mark.parametrize("dtype", [pl.List(pl.Float32), pl.Array(pl.Float32, 2)])
def test_a_column_of_rows_becomes_the_matrix(dtype: pl.DataType) -> None:
    frame = FRAME.with_columns(pl.col("l").cast(dtype))
    assert feature_matrix(frame, "l").tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert len(feature_matrix(frame.clear(), "l")) == 0


@pytest.mark.parametrize(
    ("features", "text"),
    [
        ([], "at least one column"),
        (["a", "z"], "unable to find feature column 'z'; valid columns"),
        (["a", "t"], "'t' must be numeric, got String"),
        (["a", "l"], "'l' must be numeric, got List"),
        ("words", r"'words' must be numeric, got List\(String\)"),
    ],
)
def test_columns_that_are_no_features_are_refused(features: list[str], text: str) -> None:
    with pytest.raises(CascadeError, match=text):
        feature_matrix(FRAME, features)


def test_a_missing_row_is_refused() -> None:
    with pytest.raises(CascadeError, match="'l' must have no nulls, got 1"):
        feature_matrix(pl.DataFrame({"l": [[1.0], None]}), "l")


def test_rows_of_different_length_are_refused() -> None:
    with pytest.raises(CascadeError, match="lists of one length, got lengths"):
        feature_matrix(pl.DataFrame({"l": [[1.0], [1.0, 2.0]]}), "l")


@pytest.mark.parametrize("form", ["column", "list", "array"])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt8, pl.Boolean, pl.Float32, pl.Float64])
def test_the_type_of_the_matrix_depends_on_no_value(dtype: pl.DataType, form: str) -> None:
    frame = pl.DataFrame({"f": pl.Series([1, None, 0], strict=False).cast(dtype)})
    if form == "list":
        frame = frame.select(pl.col("f").implode().over(pl.int_range(3), mapping_strategy="join"))
    if form == "array":
        frame = frame.select(pl.col("f").reshape((3, 1)))
    for rows in ([0, 1, 2], [0, 2], [1]):
        matrix = feature_matrix(frame[rows], "f")
        assert matrix.dtype == np.dtype("float32" if dtype == pl.Float32 else "float64")
        assert np.array_equal(matrix[:, 0], np.array([1, np.nan, 0])[rows], equal_nan=True)

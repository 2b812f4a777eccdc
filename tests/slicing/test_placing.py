"""The place among quantiles, against numpy.interp over the same points."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from slicing.placing import MOST_QUANTILES, Placing

UP, DOWN = np.float32(np.inf), np.float32(-np.inf)
RNG = np.random.default_rng(0)


def next_fp32(x: Any, towards: np.float32) -> Any:
    with np.errstate(over="ignore"):  # past the largest
        return np.nextafter(x, towards)


def points(quantiles: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What numpy.interp interpolates between; a value that several quantiles share is a step with its own middle."""
    last = len(quantiles) - 1
    found: dict[float, float] = {}
    for value in np.unique(quantiles):
        at = np.flatnonzero(quantiles == value)
        found[float(value)] = (at[0] + at[-1]) / 2 / last
    if len(found) > 1:
        for value in np.unique(quantiles):
            at = np.flatnonzero(quantiles == value)
            if len(at) > 1:
                found.setdefault(float(next_fp32(value, UP)), at[-1] / last)
        for value in np.unique(quantiles):
            at = np.flatnonzero(quantiles == value)
            if len(at) > 1:
                found.setdefault(float(next_fp32(value, DOWN)), at[0] / last)
    else:
        found = dict.fromkeys(found, 0.5)
    x = np.array(sorted(each for each in found if np.isfinite(each)))
    return x, np.array([found[value] for value in x])


def around(quantiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """The quantiles, their neighbours among the fp32 numbers, what lies halfway to the next, the extremes, -0.0."""
    middle = (quantiles[1:].astype(np.float64) + quantiles[:-1]) / 2
    extremes = [0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38]
    near = [quantiles, next_fp32(quantiles, UP), next_fp32(quantiles, DOWN), middle, extremes]
    x = np.concatenate(near).astype(np.float32)
    return x[np.isfinite(x)]


def check(quantiles: NDArray[np.float32], x: NDArray[np.float32]) -> None:
    expected = np.interp(x, *points(quantiles))
    np.testing.assert_allclose(Placing.among(quantiles)(x), expected, atol=1.2e-7, rtol=0)


fp32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
few = st.sampled_from([0.0, -0.0, 1.0, 1e-45, -1e-45, 2e-45, 0.5, float(np.nextafter(np.float32(1), UP)), -3.4e38])


@settings(deadline=None, max_examples=300)
@given(st.lists(fp32 | few, min_size=2, max_size=40), st.lists(fp32, max_size=20))
def test_any_quantiles_as_numpy_interpolates(drawn: list[float], more: list[float]) -> None:
    quantiles = np.sort(np.array(drawn, dtype=np.float32))
    check(quantiles, np.concatenate([around(quantiles), np.array(more, dtype=np.float32)]))


@pytest.mark.parametrize(
    "column",
    [
        RNG.standard_normal(5000),
        np.exp(3 * RNG.standard_normal(5000)),
        1000 + RNG.random(5000) * 1e-2,
        RNG.poisson(2, 5000),
        RNG.random(5000) * (RNG.random(5000) < 0.3),
        np.append(100 + RNG.standard_normal(5000) * 1e-2, -1e6),
        RNG.standard_normal(5000) * 1e-42,
    ],
    ids=["normal", "heavy tail", "far from 0", "counts", "mostly 0", "an outlier", "denormal"],
)
@pytest.mark.parametrize("count", [2, 256, MOST_QUANTILES])
def test_columns_of_many_kinds_as_numpy_interpolates(column: NDArray[np.float64], count: int) -> None:
    quantiles = np.quantile(column, np.linspace(0, 1, count)).astype(np.float32)
    check(quantiles, np.concatenate([around(quantiles), column.astype(np.float32)]))


def test_cells_that_hold_all_the_quantiles_are_searched() -> None:
    near = np.linspace(1, 1.0001, 200, dtype=np.float32)  # no shift brings both these and their doubles near 0
    quantiles = np.concatenate([near, near * 2])
    assert Placing.among(quantiles).fullest > 100
    check(quantiles, around(quantiles))


def test_minus_zero_is_zero() -> None:
    tiny = 2.0**-149  # -0.0 has leading bits of its own, which negative quantiles share
    quantiles = np.array([-(2**20 - 1) * tiny, -tiny, 0, 0, 0], dtype=np.float32)
    check(quantiles, around(quantiles))


def test_missing_values_raise_nothing_and_leave_the_others_alone() -> None:
    found = Placing.among(np.array([0, 1], dtype=np.float32))(np.array([np.nan, 0.25, np.nan], dtype=np.float32))
    assert found[1] == np.float32(0.25)

"""A value's place among the quantiles of its feature: interpolation by table lookup instead of by search.

`numpy.interp` searches the quantiles anew for each value, some 90 ns. Here the value's own bits lead to a cell that
holds few quantiles, mostly one at most, so that a look or two finds the interval: some 10 ns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_QUANTILES = 4096

_CELL_BITS = 15  # cells of a feature: at most 2^15, of 2 bytes
_SIGN = np.uint32(1 << 31)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Placing:
    """The function from a feature's value to its place in training, in [0, 1]: piecewise linear between quantiles.

    A value that several quantiles share is a step: up to it the first one's place, at it the middle, past it the last
    one's. Beyond the ends it is 0 or 1; where all quantiles are the same it is 0.5 everywhere.

    Of m different quantiles, 2 m + 1 lines: below the first, at the first, between it and the second, and so on.

    Attributes:
        values: fp32 (m,), the different quantiles, rising, without -0.0, and one NaN behind them, past which no search
            goes.
        intercepts, slopes: fp64 (2 m + 1,), of each line. Two fp32 numbers lie at least 2^-24 of their size apart, so
            the sum of intercept and product is still good to 1e-8.
        low, high: keys of the first and the last quantile.
        shift: a value's cell is its key's distance from `low`, shifted right by this.
        before: int16, for each cell how many quantiles lie in cells below it.
        fullest: quantiles in the fullest cell, at least 1.
    """

    values: Floats
    intercepts: NDArray[np.float64]
    slopes: NDArray[np.float64]
    low: np.uint32
    high: np.uint32
    shift: np.uint32
    before: NDArray[np.int16]
    fullest: int

    @classmethod
    def among(cls, quantiles: Floats) -> "Placing":
        """The function for rising, finite fp32 quantiles, 2 to 4096 of them."""
        values, first, count = np.unique(quantiles + np.float32(0), return_index=True, return_counts=True)
        keys = _keys(values)
        low, high = keys[0], keys[-1]
        shift = np.uint32(max(0, int(high - low).bit_length() - _CELL_BITS))
        cells = (keys - low) >> shift
        before = np.searchsorted(cells, np.arange(int(cells[-1]) + 1)).astype(np.int16)
        lines = _lines(values, first / (len(quantiles) - 1), count, len(quantiles) - 1)
        fullest = int(np.bincount(cells).max())
        return cls(np.append(values, np.float32(np.nan)), *lines, low, high, shift, before, fullest)

    def __call__(self, x: Floats) -> Floats:
        """The places, fp32 (n,), of fp32 values (n,); anything where a value is NaN."""
        x = x + np.float32(0)  # -0.0 is 0.0
        keys = _keys(x).clip(self.low, self.high)
        keys -= self.low
        keys >>= self.shift
        at = self.before.take(keys.astype(np.int64), mode="clip").astype(np.int64)
        left = self.fullest  # the last quantile that is not more than x, if there is one, is among these many from `at`
        while left > 1:
            half = left // 2
            at += half * (self.values.take(at + half, mode="clip") <= x)
            left -= half
        nearest = self.values.take(at, mode="clip")
        beyond = (x > nearest).view(np.int8) + (x >= nearest).view(np.int8)
        at += at
        at += beyond
        places = self.slopes.take(at, mode="clip")
        places *= x.astype(np.float64)
        places += self.intercepts.take(at, mode="clip")
        return places.astype(np.float32)


def _keys(x: Floats) -> NDArray[np.uint32]:
    """Unsigned integers in the order of the floats: IEEE 754 bits, flipped where the sign is set."""
    bits = x.view(np.uint32)
    flip = (bits.view(np.int32) >> 31).view(np.uint32)
    return bits ^ (flip | _SIGN)


def _lines(
    values: Floats, begins: NDArray[np.float64], count: NDArray[np.int64], last: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intercepts and slopes; `begins` is the place of each value's first quantile.

    Past a step begins the next fp32 number, before one ends the previous one, so that nothing lies between.
    """
    intercepts, slopes = np.full(2 * len(values) + 1, 0.5), np.zeros(2 * len(values) + 1)
    if len(values) == 1:
        return intercepts, slopes
    ends = begins + (count - 1) / last
    step = count > 1
    x0 = np.where(step[:-1], np.nextafter(values[:-1], np.float32(np.inf)), values[:-1]).astype(np.float64)
    x1 = np.where(step[1:], np.nextafter(values[1:], np.float32(-np.inf)), values[1:]).astype(np.float64)
    apart = x1 > x0  # else nothing, or one number, lies between two steps
    rise = np.where(apart, (begins[1:] - ends[:-1]) / np.where(apart, x1 - x0, 1.0), 0.0)
    slopes[2:-1:2] = rise
    intercepts[2:-1:2] = ends[:-1] - rise * x0
    intercepts[1::2] = (begins + ends) / 2
    intercepts[0], intercepts[-1] = 0.0, 1.0
    return intercepts, slopes

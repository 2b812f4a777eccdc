"""A value's place among the quantiles of its feature: interpolation by table lookup instead of by search.

`numpy.interp` searches the quantiles anew for each value, some 90 ns. Here the value's own leading bits name a cell
that holds few quantiles, mostly one at most, so that a look or two finds the interval: some 15 ns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_QUANTILES = 4096

_LEADING_BITS = 16  # of a value, which name its cell: sign, exponent and 7 bits of the fraction
_CELLS = 1 << _LEADING_BITS
_TRAILING_BITS = np.uint32(32 - _LEADING_BITS)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Placing:
    """The function from a feature's value to its place in training, from 0 to 1: piecewise linear between quantiles.

    A value that several quantiles share is a step: up to it the first one's place, at it the middle, past it the last
    one's. Beyond the ends it is 0 or 1; where all quantiles are the same it is 0.5 everywhere. The places are stretched
    to a range of choice.

    Attributes:
        thresholds: fp32 (t + fullest,), where one of t + 1 lines ends and the next begins, rising, without -0.0, and
            NaN behind them, past which no search goes.
        intercepts, slopes: fp64 (t + 1,), of each line. Two fp32 numbers lie at least 2^-24 of their size apart, so
            the sum of intercept and product is still good to 1e-8 of the range.
        shift: added to a value before its leading bits are taken: cells are the narrower the nearer to 0, so the
            quantiles should lie around 0. Rounding keeps the order, so that what lies in a lower cell is smaller.
        before: int16, for each cell how many thresholds lie in lower ones.
        fullest: thresholds in the fullest cell, at least 1.
    """

    thresholds: Floats
    intercepts: NDArray[np.float64]
    slopes: NDArray[np.float64]
    shift: np.float32
    before: NDArray[np.int16]
    fullest: int

    @classmethod
    def among(cls, quantiles: Floats, low: float = 0.0, high: float = 1.0) -> "Placing":
        """The function for rising, finite fp32 quantiles, 2 to 4096 of them, onto [low, high]."""
        values, first, count = np.unique(quantiles + np.float32(0), return_index=True, return_counts=True)
        thresholds, lines = _thresholds(values, count > 1)
        intercepts, slopes = _lines(values, first / (len(quantiles) - 1), count, len(quantiles) - 1)
        shifts = np.float32(0), np.float32(0) - values[len(values) // 2]  # never -0.0, so that x + shift is not
        held, shift = min([(_held(thresholds, shift), shift) for shift in shifts], key=lambda each: each[0].max())
        before = (held.cumsum() - held)[_RANKS].astype(np.int16)
        fullest = int(held.max())
        return cls(
            np.append(thresholds, np.full(fullest, np.nan, dtype=np.float32)),
            low + (high - low) * intercepts[lines],
            (high - low) * slopes[lines],
            shift,
            before,
            fullest,
        )

    def __call__(self, x: Floats) -> Floats:
        """The places, fp32 (n,), of fp32 values (n,); anything where a value is NaN."""
        line = self.before.take(_cell(x, self.shift).astype(np.int64), mode="clip").astype(np.int64)
        left = self.fullest  # only these many thresholds from `line` on may be passed yet
        while left:
            half = (left + 1) // 2
            passed = self.thresholds[half - 1 :].take(line, mode="clip") <= x
            line += passed if half == 1 else half * passed
            left //= 2
        places = self.slopes.take(line, mode="clip")
        places *= x
        places += self.intercepts.take(line, mode="clip")
        return places.astype(np.float32)


def _cell(x: Floats, shift: np.float32) -> NDArray[np.uint32]:
    """The leading bits of each number, shifted."""
    with np.errstate(over="ignore"):  # infinite is a cell like any other, and in its place
        bits = (x + shift).view(np.uint32)
    bits >>= _TRAILING_BITS
    return bits


def _rank(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """Cells in the order of the numbers that they hold: of the leading bits the first is the sign."""
    return np.where(cells < _CELLS // 2, cells + np.int64(_CELLS // 2), np.int64(_CELLS - 1) - cells)


_RANKS = _rank(np.arange(_CELLS))


def _held(thresholds: Floats, shift: np.float32) -> NDArray[np.int64]:
    """How many thresholds lie in each cell, by its rank."""
    return np.bincount(_rank(_cell(thresholds, shift)), minlength=_CELLS)


def _thresholds(values: Floats, step: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """Where lines begin, and which of :func:`_lines` are met: below the first threshold, then from each one on.

    At a value that is no step the lines on both sides agree, so the one at the value itself is left out.
    """
    past = _moved(values, np.inf, step)
    begins = np.stack([values, past], axis=1).ravel()
    met = np.stack([step, np.ones_like(step)], axis=1).ravel()
    return begins[met], np.append(0, np.flatnonzero(met) + 1)


def _lines(
    values: Floats, begins: NDArray[np.float64], count: NDArray[np.int64], last: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Intercepts and slopes of 2 m + 1 lines for m values: below the first, at it, between it and the second, ...

    `begins` is the place of each value's first quantile. Past a step begins the next fp32 number, before one ends the
    previous one, so that nothing lies between.
    """
    intercepts, slopes = np.full(2 * len(values) + 1, 0.5), np.zeros(2 * len(values) + 1)
    if len(values) == 1:
        return intercepts, slopes
    ends = begins + (count - 1) / last
    step = count > 1
    x0 = _moved(values[:-1], np.inf, step[:-1]).astype(np.float64)
    x1 = _moved(values[1:], -np.inf, step[1:]).astype(np.float64)
    apart = x1 > x0  # else nothing, or one number, lies between two steps
    rise = np.where(apart, (begins[1:] - ends[:-1]) / np.where(apart, x1 - x0, 1.0), 0.0)
    slopes[2:-1:2] = rise
    intercepts[2:-1:2] = ends[:-1] - rise * x0
    intercepts[1::2] = (begins + ends) / 2
    intercepts[0], intercepts[-1] = 0.0, 1.0
    return intercepts, slopes


def _moved(values: Floats, towards: float, where: NDArray[np.bool_]) -> Floats:
    """The neighbouring numbers where asked for."""
    with np.errstate(over="ignore"):  # past the greatest lies infinity: a threshold that no value meets
        return np.nextafter(values, np.float32(towards), out=values.copy(), where=where)

"""Which slice rate a training step takes: Equation 10 and the paper's dynamic scheduling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch

from slicing.errors import SlicingError
from slicing.rates import check_rates


class Distribution(Protocol):
    """A distribution F over the real line; its draws are rounded to the nearest valid slice rate."""

    def cdf(self, value: float, lower_bound: float) -> float:
        """F(value), in ``[0, 1]``; ``lower_bound`` is lb, the narrowest valid rate."""
        ...


@dataclass(frozen=True)
class Normal:
    """Normal distribution of the slice rate, by default the paper's N(1, 1/3) with 1/3 as the standard
    deviation.

    Section 3.5.2 writes N(mean, var), by which 1/3 would be the variance; the code that its authors published
    draws from a normal of standard deviation 1/3. The code is what was run, so it decides here. For the other
    reading pass ``std=math.sqrt(1 / 3)``: it draws the narrowest of six rates from 0.375 up 17% of the time
    instead of 5%.

    Args:
        mean: any finite number.
        std: the standard deviation, in ``(0, inf)``.
    """

    mean: float = 1.0
    std: float = 1 / 3

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise SlicingError(f"mean must be finite, got {self.mean}; the paper uses 1")
        if not (math.isfinite(self.std) and self.std > 0):
            raise SlicingError(f"std must be positive and finite, got {self.std}; the paper uses 1/3")

    def cdf(self, value: float, lower_bound: float) -> float:
        """F(value)."""
        return 0.5 * math.erfc((self.mean - value) / (self.std * math.sqrt(2)))


@dataclass(frozen=True)
class Uniform:
    """Uniform distribution of the slice rate, U(lb - span, 1 + span) (section 3.5.2).

    Rounding to the nearest valid rate halves the share of the first and the last rate when ``span`` is 0; for
    evenly spaced rates a span of half their spacing gives all of them the same share.

    Args:
        span: how far the distribution reaches beyond lb and 1, in ``[0, inf)``.
    """

    span: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.span) and self.span >= 0):
            raise SlicingError(f"span must be finite and at least 0, got {self.span}; try 0")

    def cdf(self, value: float, lower_bound: float) -> float:
        """F(value)."""
        low, high = lower_bound - self.span, 1.0 + self.span
        return min(max((value - low) / (high - low), 0.0), 1.0)


def rate_probabilities(rates: Sequence[float], distribution: Distribution) -> tuple[float, ...]:
    """The chance of each rate: that a draw from the distribution is nearest to it (Equation 10).

    The boundaries between rates are their midpoints, and the first and the last rate take the tails:
    ``p(r_i) = F((r_i + r_i+1)/2) - F((r_i-1 + r_i)/2)``.

    Args:
        rates: K valid rates, rising, the last one 1.0.
        distribution: F.

    Returns:
        K probabilities that sum to 1.

    Raises:
        SlicingError: when the rates are not valid.
    """
    rates = check_rates(rates)
    midpoints = [(a + b) / 2 for a, b in pairwise(rates)]
    below = [0.0, *(distribution.cdf(midpoint, rates[0]) for midpoint in midpoints), 1.0]
    return tuple(after - before for before, after in pairwise(below))


def sample_rate(rates: Sequence[float], distribution: Distribution, generator: torch.Generator) -> float:
    """One of ``rates``, drawn with the chances of :func:`rate_probabilities` from a CPU generator."""
    chances = torch.tensor(rate_probabilities(rates, distribution), dtype=torch.float64)
    return rates[int(torch.multinomial(chances, 1, generator=generator))]

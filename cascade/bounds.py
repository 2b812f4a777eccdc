"""Tests of a mean: is the expected loss at most alpha? Valid for any distribution of losses in [0, 1].

Each gives a p-value for the hypothesis that the mean of n independent losses is above `alpha`: under it, the
chance that the p-value is at most delta is at most delta, for every n and every distribution on [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bound = Literal["betting", "hoeffding-bentkus"]

_BETS = 32


def betting(losses: NDArray[np.float64], alpha: float) -> float:
    """The inverse of the capital of a gambler who bets against a mean above alpha.

    Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting" (JRSS B, 2024): with a
    bet b in [0, 1 / (1 - alpha)], the product of 1 - b (loss - alpha) is never negative and has a mean of at most 1
    if the mean loss is at least alpha. So has an average of such products over bets fixed beforehand (half of the
    capital on the highest bet, which pays best when no loss occurs, the rest spread evenly), and Markov's
    inequality makes its inverse a p-value. It does not depend on the order of the losses.

    losses: (n,) in [0, 1]. alpha: in (0, 1).
    """
    return _inverse_capital(losses, alpha, len(losses))


def hoeffding_bentkus(losses: NDArray[np.float64], alpha: float) -> float:
    """The smaller of Hoeffding's relative-entropy bound and Bentkus' binomial bound.

    Bates, Angelopoulos, Lei, Malik and Jordan, "Distribution-free, risk-controlling prediction sets" (JACM,
    2021), section 3.1.1: min(exp(-n h(min(mean, alpha), alpha)), e P(Bin(n, alpha) <= ceil(n mean))), where h is the
    Kullback-Leibler divergence of two coins.

    losses: (n,) in [0, 1]. alpha: in (0, 1).
    """
    from scipy.stats import binom  # slow to import, and not needed for betting

    n = len(losses)
    total = float(losses.sum())
    mean = min(total / n, alpha)
    entropy = (1 - mean) * np.log((1 - mean) / (1 - alpha)) + (mean * np.log(mean / alpha) if mean > 0 else 0.0)
    bentkus = np.e * binom.cdf(np.ceil(total - 1e-9), n, alpha)
    return float(min(1.0, np.exp(-n * entropy), bentkus))


P_VALUES: dict[Bound, Callable[[NDArray[np.float64], float], float]] = {
    "betting": betting,
    "hoeffding-bentkus": hoeffding_bentkus,
}

SOURCES: dict[Bound, str] = {
    "betting": "the betting bound of Waudby-Smith and Ramdas (2024)",
    "hoeffding-bentkus": "the Hoeffding-Bentkus bound (Bates et al. 2021)",
}


def queries_needed(losses: NDArray[np.float64], alpha: float, delta: float, bound: Bound) -> int | None:
    """Least n for which n losses spread like these would give a p-value of at most delta.

    None where no number would do (their mean is not below alpha), or more than ten million. losses: (m,), m at
    least 1.
    """
    if losses.mean() >= alpha:
        return None
    test = P_VALUES[bound]

    def passes(n: int) -> bool:
        if bound == "hoeffding-bentkus":
            return test(np.full(n, losses.mean()), alpha) <= delta  # it reads the mean and n alone
        return _inverse_capital(losses, alpha, n) <= delta

    high = 1
    while not passes(high):
        high *= 2
        if high > 10_000_000:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


def _inverse_capital(losses: NDArray[np.float64], alpha: float, n: int) -> float:
    """`betting` for n losses of the same distribution as these m: each counts n / m times."""
    bets = np.arange(1, _BETS + 1) / _BETS / (1 - alpha)
    shares = np.full(_BETS, 0.5 / (_BETS - 1))
    shares[-1] = 0.5
    factors = np.maximum(1 - bets[:, None] * (losses[None, :] - alpha), 0.0)
    with np.errstate(divide="ignore"):
        logs = np.log(factors).mean(axis=1) * n + np.log(shares)
    top = logs.max()
    return float(np.exp(-max(0.0, top + np.log(np.exp(logs - top).sum())))) if np.isfinite(top) else 1.0

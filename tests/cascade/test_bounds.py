import math

import numpy as np
import pytest
from scipy.stats import binom

from cascade.bounds import P_VALUES, Bound, betting, hoeffding_bentkus, queries_needed

BOUNDS = list(P_VALUES)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("shape", ["coin", "rare", "fractions", "constant"])
def test_a_true_hypothesis_is_seldom_rejected(bound: Bound, shape: str) -> None:
    """Losses with a mean of exactly alpha: the p-value is at most delta in at most a share delta of draws."""
    rng = np.random.default_rng(7)
    alpha, delta, n, draws = 0.1, 0.1, 120, 1000
    losses = {
        "coin": (rng.random((draws, n)) < alpha).astype(float),
        "rare": (rng.random((draws, n)) < alpha / 0.5) * 0.5,
        "fractions": rng.beta(0.2, 1.8, (draws, n)),
        "constant": np.full((draws, n), alpha),
    }[shape]
    rejected = np.mean([P_VALUES[bound](row, alpha) <= delta for row in losses])
    assert rejected <= delta + 3 * math.sqrt(delta * (1 - delta) / draws)


def test_the_betting_capital_has_a_mean_of_one_under_the_hypothesis() -> None:
    """Exactly, over all outcomes of four coins: without the cap at 1 this is what Markov needs."""
    alpha, n = 0.3, 4
    mean = 0.0
    for ones in range(n + 1):
        losses = np.repeat([1.0, 0.0], [ones, n - ones])
        p_value = betting(losses, alpha)
        capital = 1 / p_value if p_value < 1 else 0.0  # the part that can be checked from outside
        mean += binom.pmf(ones, n, alpha) * capital
    assert 0 < mean <= 1


def test_betting_on_no_loss_is_the_written_out_average() -> None:
    alpha, n = 0.02, 200
    bets = [i / 32 / (1 - alpha) for i in range(1, 33)]
    capital = sum(0.5 / 31 * (1 + bet * alpha) ** n for bet in bets[:-1]) + 0.5 * (1 + bets[-1] * alpha) ** n
    assert betting(np.zeros(n), alpha) == pytest.approx(1 / capital)


def test_hoeffding_bentkus_is_the_written_out_minimum() -> None:
    losses, alpha = np.array([1.0] + [0.0] * 99), 0.05
    entropy = 0.01 * math.log(0.01 / 0.05) + 0.99 * math.log(0.99 / 0.95)
    bentkus = math.e * (0.95**100 + 100 * 0.05 * 0.95**99)
    assert hoeffding_bentkus(losses, alpha) == pytest.approx(min(math.exp(-100 * entropy), bentkus))


def test_hoeffding_bentkus_without_a_loss_is_the_chance_of_none() -> None:
    assert hoeffding_bentkus(np.zeros(149), 0.02) == pytest.approx(0.98**149)
    assert queries_needed(np.zeros(1), 0.02, 0.05, "hoeffding-bentkus") == 149  # log(.05) / log(.98) = 148.3


@pytest.mark.parametrize("bound", BOUNDS)
def test_queries_needed_is_the_least_number_that_passes(bound: Bound) -> None:
    losses = np.array([0.0] * 9 + [0.25])
    needed = queries_needed(losses, 0.05, 0.05, bound)
    assert needed is not None
    blocks = math.ceil(needed / 10)
    assert P_VALUES[bound](np.tile(losses, blocks), 0.05) <= 0.05
    assert P_VALUES[bound](np.tile(losses, blocks - 2), 0.05) > 0.05


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_mean_above_alpha_needs_more_than_any_number(bound: Bound) -> None:
    assert queries_needed(np.array([0.0, 0.2]), 0.1, 0.05, bound) is None


@pytest.mark.parametrize("bound", BOUNDS)
def test_p_values_are_shares_and_lower_losses_give_lower_ones(bound: Bound) -> None:
    values = [P_VALUES[bound](np.full(300, loss), 0.1) for loss in (0.0, 0.02, 0.05, 0.1, 0.5, 1.0)]
    assert values == sorted(values)
    assert 0 <= values[0] < 1e-9
    assert values[-1] == 1.0

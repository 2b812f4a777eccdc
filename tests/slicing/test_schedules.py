"""Equation 10 against scipy's distributions and against its own definition."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from slicing.errors import SlicingError
from slicing.schedules import Normal, Uniform, rate_probabilities, sample_rate

SIX = (0.375, 0.5, 0.625, 0.75, 0.875, 1.0)


@st.composite
def rates(draw: st.DrawFn) -> tuple[float, ...]:
    below = draw(st.lists(st.integers(1, 63), unique=True, max_size=8))
    return (*sorted(k / 64 for k in below), 1.0)


def equation_10(rates: tuple[float, ...], reference: scipy.stats.rv_continuous) -> list[float]:
    """Equation 10 case by case, as the paper prints it."""
    if len(rates) == 1:
        return [1.0]
    chances = []
    for i, rate in enumerate(rates):
        if i == 0:
            chances.append(reference.cdf((rate + rates[1]) / 2))
        elif i == len(rates) - 1:
            chances.append(1 - reference.cdf((rates[i - 1] + rate) / 2))
        else:
            upper, lower = (rate + rates[i + 1]) / 2, (rates[i - 1] + rate) / 2
            chances.append(reference.cdf(upper) - reference.cdf(lower))
    return chances


@given(rates(), st.floats(-1, 2), st.floats(0.05, 3))
def test_normal_is_equation_10(rates: tuple[float, ...], mean: float, std: float) -> None:
    found = rate_probabilities(rates, Normal(mean, std))
    assert found == pytest.approx(equation_10(rates, scipy.stats.norm(mean, std)), abs=1e-12)
    assert sum(found) == pytest.approx(1)


@given(rates(), st.floats(0, 2))
def test_uniform_is_equation_10(rates: tuple[float, ...], span: float) -> None:
    low, high = rates[0] - span, 1 + span
    if high > low:
        reference = equation_10(rates, scipy.stats.uniform(low, high - low))
        assert rate_probabilities(rates, Uniform(span)) == pytest.approx(reference, abs=1e-12)


def test_probabilities_are_shares_of_draws_nearest_to_each_rate() -> None:
    draws = np.random.default_rng(0).normal(1, 1 / 3, 400_000)
    nearest = np.abs(draws[:, None] - np.array(SIX)).argmin(axis=1)
    shares = np.bincount(nearest, minlength=6) / len(draws)
    assert rate_probabilities(SIX, Normal()) == pytest.approx(shares, abs=0.003)


def test_the_two_readings_of_the_papers_normal() -> None:
    assert rate_probabilities(SIX, Normal())[0] == pytest.approx(0.0457, abs=1e-4)
    assert rate_probabilities(SIX, Normal(std=math.sqrt(1 / 3)))[0] == pytest.approx(0.1650, abs=1e-4)


def test_uniform_with_half_a_spacing_beyond_the_ends_is_even() -> None:
    assert rate_probabilities(SIX, Uniform(span=0.125 / 2)) == pytest.approx([1 / 6] * 6)
    assert rate_probabilities(SIX, Uniform()) == pytest.approx([0.1, 0.2, 0.2, 0.2, 0.2, 0.1])


def test_the_only_rate_is_certain() -> None:
    assert rate_probabilities((1.0,), Uniform()) == (1.0,)
    assert sample_rate((1.0,), Normal(), torch.Generator()) == 1.0


def test_samples_follow_the_probabilities_and_the_generator() -> None:
    def draw(seed: int) -> list[float]:
        generator = torch.Generator().manual_seed(seed)
        return [sample_rate(SIX, Normal(), generator) for _ in range(3000)]

    drawn = draw(0)
    counts = [drawn.count(rate) for rate in SIX]
    expected = [3000 * p for p in rate_probabilities(SIX, Normal())]
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3
    assert drawn == draw(0)
    assert drawn != draw(1)


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_a_bad_std_is_refused(std: float) -> None:
    with pytest.raises(SlicingError, match="std must be positive"):
        Normal(std=std)


@pytest.mark.parametrize("span", [-0.1, math.inf, math.nan])
def test_a_bad_span_is_refused(span: float) -> None:
    with pytest.raises(SlicingError, match="span must be"):
        Uniform(span=span)


def test_a_bad_mean_or_bad_rates_are_refused() -> None:
    with pytest.raises(SlicingError, match="mean must be finite"):
        Normal(mean=math.nan)
    with pytest.raises(SlicingError, match=r"end|last rate"):
        rate_probabilities((0.25, 0.5), Normal())

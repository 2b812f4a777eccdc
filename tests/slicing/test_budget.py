"""From a budget to a rate: Equation 4 by arithmetic, and the exact count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicing import SlicingError, convert, flops, rate_for_budget, rate_for_flops
from slicing.models import mlp

RATES = [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(
    ("budget", "full", "rate"),
    [
        (100, 100, 1.0),
        (1000, 100, 1.0),  # min(sqrt(Ct / C0), 1)
        (99, 100, 0.75),
        (56.25, 100, 0.75),  # 0.75^2
        (56.24, 100, 0.5),
        (25, 100, 0.5),
        (24, 100, 0.25),
        (6.25, 100, 0.25),
    ],
)
def test_equation_4(budget, full, rate):
    assert rate_for_budget(RATES, budget, full) == rate


@given(budget=st.floats(0.01, 2.0))
def test_equation_4_takes_the_widest_rate_whose_square_fits(budget):
    fitting = [rate for rate in RATES if rate**2 <= budget + 1e-9]
    if not fitting:
        with pytest.raises(SlicingError, match=r"does not pay for the narrowest rate 0\.25"):
            rate_for_budget(RATES, budget, 1.0)
    else:
        assert rate_for_budget(RATES, budget, 1.0) == max(fitting)


@pytest.mark.parametrize(("budget", "full"), [(0, 1), (-1, 1), (1, 0), (1, -5), (float("nan"), 1.0)])
def test_costs_that_are_none_are_refused(budget, full):
    with pytest.raises(SlicingError, match=r"must be above 0|does not pay"):
        rate_for_budget(RATES, budget, full)


@pytest.mark.parametrize("connectivity", ["nested", "dense"])
def test_the_exact_count_never_overspends_and_wastes_no_rate(connectivity):
    network = convert(mlp([3, 8, 8, 2]), RATES, "dense")
    network = type(network)(network.spec, RATES, connectivity)
    costs = [flops(network, (3,), rate) for rate in RATES]
    for budget in range(costs[0], costs[-1] + 2, 4):
        rate = rate_for_flops(network, (3,), budget)
        assert rate == max(r for r, spent in zip(RATES, costs, strict=True) if spent <= budget)
    with pytest.raises(SlicingError, match="does not pay"):
        rate_for_flops(network, (3,), costs[0] - 1)


def test_equation_4_may_overspend_where_the_count_does_not():
    """The first layer is linear in r: 0.5 of the units cost 3*4 + 4*4 + 4*2 = 36 of 104, more than a quarter."""
    network = convert(mlp([3, 8, 8, 2]), RATES, "dense")
    full = flops(network, (3,))
    assert full == 3 * 8 + 8 * 8 + 8 * 2
    assert rate_for_budget(RATES, full / 4, full) == 0.5
    assert flops(network, (3,), 0.5) > full / 4
    assert rate_for_flops(network, (3,), full / 4) == 0.25

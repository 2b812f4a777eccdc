"""From a computing budget to a slice rate (Equation 4)."""

from collections.abc import Sequence
from math import sqrt

from slicing.errors import SlicingError
from slicing.flops import Shapes, cost
from slicing.network import SlicedNetwork


def rate_for_budget(rates: Sequence[float], budget: float, full_cost: float) -> float:
    """The widest valid rate with r <= min(sqrt(Ct / C0), 1) (Equation 4).

    Args:
        rates: the network's rates, rising.
        budget: Ct, what one candidate may cost, in any unit.
        full_cost: C0, what the whole network costs, in the same unit.

    Raises:
        SlicingError: when even the narrowest rate costs more, or a cost is not above zero.
    """
    if budget <= 0 or full_cost <= 0:
        raise SlicingError(f"budget and full_cost must be above 0, got {budget} and {full_cost}")
    limit = min(sqrt(budget / full_cost), 1.0)
    return _widest([rate for rate in rates if rate <= limit + 1e-12], rates, budget)


def rate_for_flops(network: SlicedNetwork, input_shape: Shapes, budget: float) -> float:
    """The widest rate that costs at most ``budget`` multiply-adds per candidate, counted exactly.

    Equation 4 takes the cost as quadratic in r. A first layer on a fixed number of inputs is linear in it, and so is a
    nested network in part, so that the narrow rates cost more of the whole than r squared: the exact count may admit
    only a narrower rate than Equation 4 does, and then Equation 4 would overspend.

    Raises:
        SlicingError: when even the narrowest rate costs more.
    """
    costs = cost(network, input_shape)
    affordable = [rate for k, rate in enumerate(network.rates) if costs.flops(k) <= budget]
    return _widest(affordable, network.rates, budget)


def _widest(affordable: Sequence[float], rates: Sequence[float], budget: float) -> float:
    if not affordable:
        raise SlicingError(
            f"a budget of {budget:g} does not pay for the narrowest rate {rates[0]}; "
            "raise it or train with a smaller lower bound"
        )
    return max(affordable)

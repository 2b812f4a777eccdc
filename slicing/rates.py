"""Slice rates: which ones a network offers, and how many units of a layer each one uses."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import floor

from slicing.errors import SlicingError


def check_rates(rates: Iterable[float]) -> tuple[float, ...]:
    """The valid slice rates of a network, as a tuple of floats.

    Args:
        rates: rising numbers in ``(0, 1]``, the last one 1.0; the first is the paper's lower bound lb.

    Raises:
        SlicingError: when they are empty, out of range, not rising, or do not end in 1.0.
    """
    try:
        checked = tuple(float(rate) for rate in rates)
    except (TypeError, ValueError, OverflowError) as error:
        raise SlicingError(f"rates must be numbers in (0, 1], got {rates!r}") from error
    if not checked:
        raise SlicingError("rates must name at least one slice rate, got none; try rates=[0.5, 1.0]")
    if not all(0.0 < rate <= 1.0 for rate in checked):
        raise SlicingError(f"every slice rate must lie in (0, 1], got {list(checked)}")
    if any(b <= a for a, b in pairwise(checked)):
        raise SlicingError(f"rates must rise strictly, got {list(checked)}; try {sorted(set(checked))}")
    if checked[-1] != 1.0:
        raise SlicingError(f"the last rate must be 1.0, the whole network, got {list(checked)}; append 1.0")
    return checked


def rate_index(rates: Sequence[float], rate: float | None) -> int:
    """The position of ``rate`` in ``rates``; ``None`` means the whole network, the last position.

    Raises:
        SlicingError: when the network was not built for this rate.
    """
    if rate is None:
        return len(rates) - 1
    for index, valid in enumerate(rates):
        if abs(valid - rate) < 1e-9:
            return index
    raise SlicingError(f"rate {rate} is not one of this network's rates {list(rates)}")


def width(rate: float, units: int) -> int:
    """Units in use at ``rate``: the first round(rate * units) of them (Equation 3), halves rounded up.

    Rounding halves up, not to even as Python's ``round`` does, keeps the widths of neighbouring rates apart.
    """
    return floor(rate * units + 0.5)


def legal_rates(units: int, granularity: int = 1) -> tuple[float, ...]:
    """Every rate at which a layer of ``units`` units can be cut without splitting a group of ``granularity``."""
    return tuple(w / units for w in range(granularity, units + 1, granularity))


def widths(rates: Sequence[float], units: int, granularity: int = 1, layer: str = "layer") -> tuple[int, ...]:
    """Units of one layer in use at each rate.

    Args:
        rates: the network's rates, as :func:`check_rates` returns them.
        units: M, the layer's units at full width.
        granularity: units that must stay together, such as a normalisation group or a grouped convolution's group.
        layer: the layer's name, for the error.

    Raises:
        SlicingError: when a width would be zero, split a group, or repeat that of the rate before.
    """
    cut = tuple(width(rate, units) for rate in rates)
    check_widths(cut, units, granularity, layer, rates)
    return cut


def check_widths(cut: Sequence[int], units: int, granularity: int, layer: str, rates: Sequence[float]) -> None:
    """Refuse widths that split a group, are empty, or leave a block without units, listing the legal ones."""
    for rate, w in zip(rates, cut, strict=True):
        if w % granularity or w == 0:
            why = f"splits a group of {granularity}" if w else "uses no unit at all"
            raise SlicingError(
                f"{layer}: rate {rate} asks for {w} of {units} units, which {why}; {_legal(units, granularity)}"
            )
    for (a, wa), (b, wb) in pairwise(zip(rates, cut, strict=True)):
        if wa == wb:
            raise SlicingError(
                f"{layer}: rates {a} and {b} both use {wa} of {units} units, so the step between them would add "
                f"nothing; {_legal(units, granularity)}"
            )


def _legal(units: int, granularity: int) -> str:
    if units // granularity > 24:  # a list longer than this is a rule, not a list
        return f"legal widths are the multiples of {granularity} up to {units} (rates k/{units // granularity})"
    shown = [f"{round(rate * units)} (rate {rate:.6g})" for rate in legal_rates(units, granularity)]
    return f"legal widths: {', '.join(shown)}"

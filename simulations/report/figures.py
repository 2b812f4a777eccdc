"""How numbers are written, the same on the page, on the terminal and in the heatmaps."""

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

MISSING = "\N{EN DASH}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in [0, 1] as a percentage."""
    return MISSING if value is None else f"{100 * value:.{digits}f}%"


def whole(value: float | None) -> str:
    """A count with thousands separated."""
    return MISSING if value is None else f"{round(value):,}"


def rate(value: float) -> str:
    """A slice rate with at least three decimals, as the paper writes it: 0.375, 1.000; 0.0625 stays whole."""
    return max(f"{value:.3f}", f"{value:.6f}".rstrip("0"), key=len)


def stages(rates: Sequence[float | None]) -> list[str]:
    """Names of stages: their slice rates; the number of a stage, from 1, that is not a slice of a network."""
    return [f"stage {k + 1}" if r is None else rate(r) for k, r in enumerate(rates)]


def decimals(values: Iterable[float | None]) -> int:
    """Decimals that show the smallest of `values` with about three digits; 2 as in the paper."""
    smallest = min((abs(v) for v in values if v), default=1.0)
    for digits, floor in ((2, 1.0), (3, 0.1), (4, 0.01), (5, 0.001)):
        if smallest >= floor:
            return digits
    return 6


def millions(values: Iterable[float | None], digits: int | None = None) -> list[str]:
    """Counts in millions, one number of decimals for the whole row or column."""
    scaled = [None if v is None else v / 1e6 for v in values]
    digits = decimals(scaled) if digits is None else digits
    return [MISSING if v is None else f"{v:,.{digits}f}" for v in scaled]


def large(value: float | None) -> str:
    """A total with its unit, three digits: 813 M, 7.07 G."""
    if value is None:
        return MISSING
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            scaled = value / size
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:,.{digits}f} {unit}"
    return f"{value:,.0f}"


def times(value: float | None) -> str:
    """A ratio with two decimals, more where it is small."""
    if value is None:
        return MISSING
    return f"{value:.2f}" if value >= 0.1 or value == 0 else f"{value:.2g}"


def seconds(value: float | None) -> str:
    """A duration with about three digits."""
    if value is None:
        return MISSING
    if value >= 600:
        return f"{int(value // 60)} min {int(value % 60)} s"
    if value >= 100:
        return f"{value:.0f} s"
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1000:.3g} ms" if value else "0 s"


def spread(values: Sequence[float | None], digits: int) -> str:
    """Mean and standard deviation; the mean alone of one value; a dash where a value is undefined."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return MISSING
    if len(known) == 1:
        return f"{known[0]:.{digits}f}"
    return f"{mean(known):.{digits}f} ± {stdev(known):.{digits}f}"

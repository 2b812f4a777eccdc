"""Side-by-side timing: both run in turn in one process, after warm-up, with the same threads; medians."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any


def side_by_side(
    case: str, ours: Callable[[], object], rival: Callable[[], object], flops_ratio: float | None, repeats: int
) -> dict[str, Any]:
    """One entry of bench.json."""
    seconds: dict[str, list[float]] = {"ours": [], "rival": []}
    for turn in range(repeats + 1):
        for name, function in (("ours", ours), ("rival", rival)):
            began = perf_counter()
            function()
            if turn:  # the first turn warms up
                seconds[name].append(perf_counter() - began)
    mine, theirs = median(seconds["ours"]), median(seconds["rival"])
    return {
        "case": case,
        "ours_seconds": mine,
        "rival_seconds": theirs,
        "ratio": mine / theirs,
        "flops_ratio": flops_ratio,
    }

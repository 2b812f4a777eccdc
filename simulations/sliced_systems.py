"""What sets the sliced systems of the controlled comparison apart, on images and on candidate tables alike."""

from collections.abc import Sequence
from typing import Any

from slicing.schemes import wide_weights

SLICED_SYSTEMS = ("dense-sampled", "dense-sandwich", "nested-recipe", "nested-even", "mixed")

_PLAIN = {"weights": None, "distill": 0.0, "own": 0.0, "lateral": 1.0}


def system_changes(name: str, rates: Sequence[float]) -> dict[str, Any]:
    """What to change in the settings of images' or tables' networks for one of :data:`SLICED_SYSTEMS`.

    Args:
        name: a dense network trained by sampled rates, or by the sandwich rule; a nested one by the recipe of
            ``docs/nesting.md``, or by that with equal loss weights; or one whose last rate is recomputed, every unit
            there reading every other, trained as the settings say but for ``own``, which such a network can't have.
        rates: of the network.
    """
    if name in ("dense-sampled", "dense-sandwich"):
        return {"connectivity": "dense", "scheme": name.removeprefix("dense-"), **_PLAIN}
    if name == "mixed":
        return {"connectivity": f"mixed@{rates[-1]:g}", "scheme": "joint", "own": 0.0}
    weights = wide_weights(len(rates)) if name == "nested-recipe" else (1.0,) * len(rates)
    return {"connectivity": "nested", "scheme": "joint", "weights": weights, "distill": 0.5, "own": 0.5, "lateral": 0.1}

"""What sets the sliced systems of the controlled comparison apart, on images and on candidate tables alike."""

from collections.abc import Sequence
from typing import Any

SLICED_SYSTEMS = ("dense-sampled", "dense-sandwich", "mixed")

_PLAIN = {"weights": None, "distill": 0.0, "own": 0.0}


def system_changes(name: str, rates: Sequence[float]) -> dict[str, Any]:
    """What to change in the settings of images' or tables' networks for one of :data:`SLICED_SYSTEMS`.

    Args:
        name: a dense network trained by sampled rates, or by the sandwich rule; or one whose last rate is recomputed,
            every unit there reading every other, trained as the settings say but for ``own``, which it can't have.
        rates: of the network.
    """
    if name in ("dense-sampled", "dense-sandwich"):
        return {"connectivity": "dense", "scheme": name.removeprefix("dense-"), **_PLAIN}
    return {"connectivity": f"mixed@{rates[-1]:g}", "scheme": "joint", "own": 0.0}

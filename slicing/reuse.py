"""What a step from one rate to a later one takes over of what was computed before."""

from typing import Literal

from slicing.connectivity import Firsts

Reuse = Literal["auto", "always", "never"]
"""``auto``: what is exact, all that does not change at that step, where that costs less than to compute it anew.
``always``: everything, in dense layers and where a segment begins the approximation of section 3.4. ``never``: nothing.
"""


def begin(reuse: Reuse, firsts: Firsts, start: int, to: int) -> int:
    """Where one operation begins in the step from ``start`` to ``to``: there, or at -1, anew.

    Args:
        reuse: what is taken over.
        firsts: the operation's segments.
        start: position of the rate reached before, or -1.
        to: position of the rate to reach.
    """
    if reuse == "never" or (reuse == "auto" and firsts[to] > start):
        return -1
    return start


def kept(reuse: Reuse, firsts: Firsts, to: int) -> bool:
    """Whether a later step takes over what an operation with these segments computed up to ``to``."""
    if to == len(firsts) - 1 or reuse == "never":
        return False
    return reuse == "always" or firsts[to + 1] <= to

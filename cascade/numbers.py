"""Which numbers are taken from outside: Python's whole numbers have no end, those of arrays have 63 bits."""

from __future__ import annotations

from math import isfinite

import numpy as np

from cascade.errors import CascadeError

MOST = 2**63 - 1
"""The largest whole number that an array holds."""


def is_whole(value: object, least: int = 1) -> bool:
    """Whether it is a whole number in [least, 2**63 - 1], and no boolean."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(least <= value <= MOST)


def is_finite(value: object) -> bool:
    """Whether it is a finite number that a float holds, and no boolean."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def check_seed(seed: int) -> int:
    """The seed, unless it is none.

    Raises CascadeError unless it is a whole number in [0, 2**63 - 1].
    """
    if not is_whole(seed, 0):
        raise CascadeError(f"seed must be a whole number of at least 0 in 63 bits, got {seed!r}; try 0")
    return seed

"""Do the stages err on the same items? The inclusion coefficient (Figure 9 of the paper).

An error of a stage is a relevant candidate that the stage alone would drop. In a cascade only what *no*
stage drops survives, so errors that coincide cost once and errors that differ add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.alone import Alone
from cascade.errors import CascadeError
from cascade.relevance import is_relevant

DENOMINATOR = "errors of the wider model (the later stage) of each pair"


def inclusion_coefficient(wider: NDArray[np.bool_], narrower: NDArray[np.bool_]) -> float | None:
    """Of the errors of the wider model, the share that the narrower makes too: |E_w & E_n| / |E_w|.

    wider, narrower: (n,) true where the model errs, over the same n items. The denominator is the *wider*
    model's errors. None when it makes none.
    """
    if wider.shape != narrower.shape:
        raise CascadeError(f"errors must be of the same items, got {wider.shape} and {narrower.shape}")
    errors = int(wider.sum())
    return int((wider & narrower).sum()) / errors if errors else None


@dataclass(frozen=True)
class Inclusion:
    """The coefficient of every pair of S stages.

    rates: (S,) of the stages. matrix: (S, S) symmetric, as the coefficient belongs to the pair; the
    diagonal is 1; None where the wider model makes no error. errors: (S,) how many each stage makes.
    denominator: of what.
    """

    rates: tuple[float | None, ...]
    matrix: tuple[tuple[float | None, ...], ...]
    errors: tuple[int, ...]
    denominator: str = DENOMINATOR


def inclusion_matrix(alone: Alone, relevant: pl.DataFrame) -> Inclusion:
    """The inclusion coefficients of all pairs of stages; of each pair the later stage is the wider model."""
    wanted = is_relevant(alone.frame, relevant)
    errors = [wanted & ~kept for kept in alone.kept.T]
    matrix = _symmetric(errors)
    return Inclusion(tuple(info.rate for info in alone.stages), matrix, tuple(int(error.sum()) for error in errors))


def _symmetric(errors: Sequence[NDArray[np.bool_]]) -> tuple[tuple[float | None, ...], ...]:
    def entry(i: int, j: int) -> float | None:
        return 1.0 if i == j else inclusion_coefficient(errors[max(i, j)], errors[min(i, j)])

    return tuple(tuple(entry(i, j) for j in range(len(errors))) for i in range(len(errors)))

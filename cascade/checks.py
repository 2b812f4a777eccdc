"""What the engine demands of the scores a session returns, before anything is done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.scorer import MODES, Mode, StageScores


class NotFiniteError(CascadeError):
    """A score is NaN or infinite; `position` is that of the candidate, `value` the score."""

    def __init__(self, position: int, value: float) -> None:
        super().__init__(f"scores must be finite, got {value} at position {position}")
        self.position = position
        self.value = value


@dataclass(frozen=True)
class Scored:
    """The checked scores of one call.

    scores: (n,) what candidates are ordered by: the score itself, or with one score per class the margin
    z[target] - max(z[other classes]).
    hits: (n,) whether the predicted class (highest score, lowest index of equal ones) is the target; None
    without scores per class.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_] | None
    flops: float
    mode: Mode


def checked(result: StageScores, stage: int, n: int, target: NDArray[np.int64] | None) -> Scored:
    """Check the shape, type and finiteness of a stage's scores for n candidates.

    target: (n,) class index of each candidate, or None when there is no such column.
    Raises CascadeError naming the stage, NotFiniteError for a NaN or infinite score.
    """
    values = checked_values(result, stage, n).astype(np.float64, copy=False)
    finite = np.isfinite(values)
    if not finite.all():
        first = np.argwhere(~finite)[0]
        raise NotFiniteError(int(first[0]), float(values[tuple(first)]))
    if values.ndim == 1:
        return Scored(values, None, float(result.flops), result.mode)
    return Scored(*_margins(values, stage, target), float(result.flops), result.mode)


def checked_values(result: StageScores, stage: int, n: int) -> NDArray[Any]:
    """A stage's scores of n candidates, once their form is checked: (n,) or (n, classes), finite or not.

    Raises CascadeError naming the stage.
    """
    if not isinstance(result, StageScores):
        raise CascadeError(f"stage {stage}: score() must return StageScores, got {type(result).__name__}")
    values = result.values
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        found = f"dtype {values.dtype}" if isinstance(values, np.ndarray) else type(values).__name__
        raise CascadeError(f"stage {stage}: scores must be a numeric numpy array, got {found}; convert them")
    if values.ndim not in (1, 2) or len(values) != n:
        raise CascadeError(
            f"stage {stage}: scores of {n} candidates must have shape ({n},) or ({n}, classes), "
            f"got {values.shape}; return one row per candidate still in"
        )
    if result.mode not in MODES:
        raise CascadeError(f"stage {stage}: mode must be one of {', '.join(MODES)}, got {result.mode!r}")
    if not (np.isfinite(result.flops) and result.flops >= 0):
        raise CascadeError(f"stage {stage}: flops must be a finite number of at least 0, got {result.flops!r}")
    return values


def _margins(
    values: NDArray[np.float64], stage: int, target: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    classes = values.shape[1]
    if classes < 2:
        raise CascadeError(f"stage {stage}: scores per class need at least 2 classes, got {classes}; return (n,)")
    if target is None:
        raise CascadeError(
            f"stage {stage}: scores per class need a 'target' column that says which class each candidate is "
            f"wanted for; add it, or return one score per candidate"
        )
    if len(target) and target.max() >= classes:
        raise CascadeError(f"stage {stage}: 'target' must be below the {classes} classes, got {target.max()}")
    rows = np.arange(len(values))
    hits = values.argmax(axis=1) == target
    others = values.copy()
    others[rows, target] = -np.inf
    return values[rows, target] - others.max(axis=1), hits

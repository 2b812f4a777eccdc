"""What a stage costs per candidate, from scratch and on top of an earlier stage: what a plan is charged with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade.errors import CascadeError


@dataclass(frozen=True)
class StageCosts:
    """Costs per candidate of K stages, in any one unit: FLOPs, measured milliseconds, feature cost.

    scratch: (K,) a stage that builds on nothing. increment: (K, K), `increment[j][k]` is stage k for a
    candidate that stage j has scored last, j < k; the other entries are not read. None: nothing is reused,
    stage k always costs `scratch[k]`. All finite and at least 0. unit: what they are counted in.

        StageCosts((1.0, 4.0), unit="FLOPs")                               separate models
        StageCosts((1.0, 4.0), ((0.0, 3.0), (0.0, 0.0)), unit="FLOPs")     the wider one reuses the narrower
    """

    scratch: tuple[float, ...]
    increment: tuple[tuple[float, ...], ...] | None = None
    unit: str = "FLOPs"

    def __post_init__(self) -> None:
        scratch = _numbers("scratch", self.scratch, 1)
        count = len(scratch)
        if not count:
            raise CascadeError("StageCosts: scratch must have one cost per stage, got none; give at least one")
        object.__setattr__(self, "scratch", tuple(scratch.tolist()))
        if not isinstance(self.unit, str) or not self.unit.strip():
            raise CascadeError(f"StageCosts: unit must be a name such as 'FLOPs', got {self.unit!r}; name it")
        if self.increment is None:
            return
        table = _numbers("increment", self.increment, 2)
        if table.shape != (count, count):
            raise CascadeError(
                f"StageCosts: increment must have shape ({count}, {count}) for {count} stages, got {table.shape}; "
                f"one row per stage built on, one column per stage reached"
            )
        object.__setattr__(self, "increment", tuple(map(tuple, table.tolist())))

    def __len__(self) -> int:
        return len(self.scratch)

    def of(self, before: int, stage: int) -> float:
        """Per candidate of `stage` after `before`, which is -1 where no stage went before."""
        if before < 0 or self.increment is None:
            return self.scratch[stage]
        return self.increment[before][stage]

    def path(self, stages: Sequence[int]) -> tuple[float, ...]:
        """Per candidate of each of these stages, run in this order."""
        return tuple(self.of(before, stage) for before, stage in zip((-1, *stages), stages, strict=False))


def _numbers(name: str, values: object, ndim: int) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise CascadeError(f"StageCosts: {name} must be numbers, got {values!r}; one per stage") from None
    if array.ndim != ndim:
        raise CascadeError(f"StageCosts: {name} must have {ndim} dimension(s), got {array.ndim}; see its docstring")
    read = array if ndim == 1 else _above(array)
    if not (np.isfinite(read) & (read >= 0)).all():
        raise CascadeError(f"StageCosts: {name} must be finite and at least 0, got {values!r}; mend the costs")
    return read


def _above(table: np.ndarray) -> np.ndarray:
    """The entries above the diagonal; the others, which nobody reads, may be anything, so they become 0."""
    rows, columns = np.indices(table.shape)
    return np.where(columns > rows, table, 0.0)

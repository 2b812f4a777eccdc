"""Some stages of a scorer as a scorer of their own: what a plan that leaves stages out is run with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.rows import Rows
from cascade.scorer import Scorer, Session, StageScores, begin, is_order_free


class SubsetScorer:
    """The stages `stages` (rising, at least one) of another scorer, which the protocol lets start anywhere.

        Cascade(SubsetScorer(scorer, plan.stages), plan.rules)

    The parameters held are those of the whole scorer: which of them only the others need, it can't tell.
    """

    def __init__(self, scorer: Scorer, stages: Sequence[int]) -> None:
        count = len(scorer.stages)
        rising = all(low < high for low, high in zip((-1, *stages), stages, strict=False))
        if not stages or not rising or stages[-1] >= count:
            raise CascadeError(f"stages must rise within [0, {count - 1}], the scorer's own, got {list(stages)!r}")
        self._scorer, self._chosen = scorer, tuple(stages)
        self.stages = tuple(scorer.stages[stage] for stage in stages)
        self.params_held = scorer.params_held
        self.order_free = is_order_free(scorer)

    def start(self, candidates: pl.DataFrame) -> _SubsetSession:
        """A session of the whole scorer, asked for these stages only."""
        return self.start_rows(Rows(candidates))

    def start_rows(self, rows: Rows) -> _SubsetSession:
        """The same over candidates whose columns are yet to be gathered."""
        return _SubsetSession(begin(self._scorer, rows), self._chosen)


class _SubsetSession:
    def __init__(self, session: Session, chosen: tuple[int, ...]) -> None:
        self._session, self._chosen = session, chosen

    def score(self, stage: int) -> StageScores:
        return self._session.score(self._chosen[stage])

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self._session.keep(survivors)

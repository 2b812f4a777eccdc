"""Independent models as a scorer: one plain function per stage, nothing shared, nothing cached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.features import feature_matrix
from cascade.rows import Rows, take
from cascade.scorer import StageInfo, StageScores

ScoreFunction = Callable[[pl.DataFrame], Any]
"""Candidates (n rows) in, scores (n,) or (n, classes) out: anything that numpy.asarray takes."""


class CallableScorer:
    """A scorer of one function per stage; every stage starts from scratch, so its mode is always `fresh`.

    functions: one per stage. infos: what each costs, in the same order; the models share nothing, so the
    parameters held are their sum. reads: for each function the names of the columns that it reads. It then gets
    these alone, and nothing else is gathered, which saves time and memory the wider the table is; None: all columns.
    order_free: whether the functions give a candidate the same score, to the last bit, whatever candidates stand beside
    it, as one that reads a column of scores does; the engine then need not put candidates in order first.

        CallableScorer([cheap, dear], [StageInfo(None, 0, 0.0), StageInfo(None, 1000, 1000.0)])

    Raises CascadeError when the numbers differ.
    """

    def __init__(
        self,
        functions: Sequence[ScoreFunction],
        infos: Sequence[StageInfo],
        reads: Sequence[Sequence[str]] | None = None,
        *,
        order_free: bool = False,
    ) -> None:
        if not functions or len(functions) != len(infos):
            raise CascadeError(
                f"a scorer needs at least one stage and one StageInfo per function, "
                f"got {len(functions)} functions and {len(infos)} infos"
            )
        if reads is not None and (len(reads) != len(functions) or any(isinstance(names, str) for names in reads)):
            raise CascadeError(
                f"reads must be a list of column names for each of the {len(functions)} functions, got {reads!r}"
            )
        self.functions = tuple(functions)
        self.stages = tuple(infos)
        self.order_free = order_free
        self.reads = None if reads is None else tuple(tuple(names) for names in reads)

    @property
    def params_held(self) -> int:
        """Sum over the stages."""
        return sum(info.params for info in self.stages)

    def start(self, candidates: pl.DataFrame) -> _FrameSession | _RowSession:
        """A session that holds nothing but the rows still in."""
        return self.start_rows(Rows(candidates))

    def start_rows(self, rows: Rows) -> _FrameSession | _RowSession:
        """The same over candidates whose columns are yet to be gathered."""
        return _FrameSession(self, rows.frame) if self.reads is None else _RowSession(self, self.reads, rows)


class _FrameSession:
    def __init__(self, scorer: CallableScorer, frame: pl.DataFrame) -> None:
        self._scorer = scorer
        self._frame = frame

    def score(self, stage: int) -> StageScores:
        values = np.asarray(self._scorer.functions[stage](self._frame))
        return StageScores(values, self._scorer.stages[stage].flops, "fresh")

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self._frame = take(self._frame, survivors)


class _RowSession:
    def __init__(self, scorer: CallableScorer, reads: tuple[tuple[str, ...], ...], rows: Rows) -> None:
        self._scorer = scorer
        self._reads = reads
        self._rows = rows
        self._positions: NDArray[np.int64] | None = None  # of those still in; None while that is all of them
        rows.require(name for names in reads for name in names)  # now, not when the last stage is reached

    def score(self, stage: int) -> StageScores:
        frame = self._rows.read(self._reads[stage], self._positions)
        values = np.asarray(self._scorer.functions[stage](frame))
        return StageScores(values, self._scorer.stages[stage].flops, "fresh")

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self._positions = survivors if self._positions is None else self._positions[survivors]


def estimator_function(estimator: Any, features: str | Sequence[str]) -> ScoreFunction:
    """A fitted scikit-learn estimator as the function of a stage.

    Uses the first of `decision_function`, `predict_proba`, `predict` that the estimator has. Two-class
    probabilities become one score, that of the second class; more classes stay one score per class, whose
    columns must be the classes 0, 1, 2, ... so that `target` can index them.

    features: the columns the estimator was fitted on, see `feature_matrix`.
    """
    names = ("decision_function", "predict_proba", "predict")
    method = next((name for name in names if hasattr(estimator, name)), None)
    if method is None:
        raise CascadeError(f"an estimator needs one of {', '.join(names)}, got {type(estimator).__name__}")
    classes = np.asarray(getattr(estimator, "classes_", []))
    if len(classes) > 2 and method != "predict" and not np.array_equal(classes, np.arange(len(classes))):
        raise CascadeError(
            f"an estimator with scores per class must have classes 0, 1, 2, ..., got {classes.tolist()[:5]}; "
            f"fit it on class indices"
        )

    def score(frame: pl.DataFrame) -> NDArray[Any]:
        matrix = feature_matrix(frame, features)
        if not len(matrix):  # estimators refuse an empty matrix
            return np.empty((0, len(classes)) if len(classes) > 2 and method != "predict" else 0)
        values = np.asarray(getattr(estimator, method)(matrix))
        return values[:, 1] if method == "predict_proba" and values.shape[1] == 2 else values

    return score

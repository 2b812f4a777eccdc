"""A LightGBM booster as a cascade by prefix of trees: stage k scores with the first so many iterations.

Exact reuse: the raw score is a sum over trees, so a later stage adds the new trees to the sum it kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.features import feature_matrix
from cascade.rows import Rows
from cascade.scorer import Mode, StageInfo, StageScores

if TYPE_CHECKING:
    from lightgbm import Booster


class TreePrefixScorer:
    """Stage k is the booster's first `iterations[k]` boosting iterations.

    Cost is counted in *trees visited per candidate*, not in multiply-adds: a tree costs a walk down its
    depth, and has no multiplications. So `flops` of this scorer are comparable among themselves only.
    Parameters are nodes: a threshold for each inner node, a value for each leaf.

    Each candidate walks down the trees alone, so the order of candidates changes nothing.

    booster: a trained `lightgbm.Booster`; random forests are refused, since they average instead of adding.
    iterations: rising, each in [1, booster.current_iteration()].
    features: the columns the booster was trained on, in its order, see `feature_matrix`; under other names than the
    booster's they are taken as they come.
    """

    order_free = True

    def __init__(self, booster: Booster, iterations: Sequence[int], features: str | Sequence[str]) -> None:
        _require_booster(booster)
        model = booster.dump_model()
        if model.get("average_output"):
            raise CascadeError("the trees' outputs must add up, got a random forest, which averages; use boosting=gbdt")
        available = booster.current_iteration()
        whole = all(isinstance(i, int | np.integer) for i in iterations)
        rising = whole and all(low < high for low, high in zip([0, *iterations], iterations, strict=False))
        if not iterations or not rising or iterations[-1] > available:
            raise CascadeError(
                f"iterations must rise within [1, {available}], the booster's own, got {list(iterations)!r}"
            )
        _require_features(booster, features)
        self.booster = booster
        self.iterations = tuple(int(i) for i in iterations)
        self.features = features
        self.classes = booster.num_model_per_iteration()
        leaves = [tree["num_leaves"] for tree in model["tree_info"]]
        trees = [i * self.classes for i in self.iterations]
        self.stages = tuple(
            StageInfo(rate=None, params=sum(2 * n - 1 for n in leaves[:count]), flops=float(count)) for count in trees
        )

    @property
    def params_held(self) -> int:
        """Nodes of the longest prefix: the shorter ones are part of it."""
        return self.stages[-1].params

    def start(self, candidates: pl.DataFrame) -> _PrefixSession:
        """A session that holds the feature rows and the sum of the trees so far."""
        return self.start_rows(Rows(candidates))

    def start_rows(self, rows: Rows) -> _PrefixSession:
        """The same over candidates whose columns are yet to be gathered; no others than the features are."""
        names = [self.features] if isinstance(self.features, str) else self.features
        return _PrefixSession(self, feature_matrix(rows.read(names), self.features))


class _PrefixSession:
    def __init__(self, scorer: TreePrefixScorer, matrix: NDArray[Any]) -> None:
        self._scorer = scorer
        self._matrix = matrix  # (n, d)
        self._done = 0  # iterations in the sum
        classes = scorer.classes
        self._sum = np.zeros(len(matrix) if classes == 1 else (len(matrix), classes))

    def score(self, stage: int) -> StageScores:
        scorer, until = self._scorer, self._scorer.iterations[stage]
        mode: Mode = "reuse" if self._done else "fresh"
        new = until - self._done
        if new <= 0:
            raise CascadeError(
                f"stages must be asked for in rising order, got stage {stage} after {self._done} iterations"
            )
        if len(self._matrix):  # LightGBM refuses an empty matrix
            self._sum = self._sum + scorer.booster.predict(
                self._matrix, start_iteration=self._done, num_iteration=new, raw_score=True
            )
        self._done = until
        return StageScores(self._sum, float(new * scorer.classes), mode)

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self._matrix = self._matrix[survivors]
        self._sum = self._sum[survivors]


def _require_features(booster: Booster, features: str | Sequence[str]) -> None:
    """Refuse columns that can't be those that the booster was trained on: it goes by place, and scores any others."""
    if isinstance(features, str):  # which may hold lists
        return
    names, trained = list(features), booster.feature_name()
    if len(set(names)) < len(names) or len(names) != len(trained):
        raise CascadeError(
            f"features must be {len(trained)} different columns, as the booster was trained on, got {names}"
        )
    if names != trained and sorted(names) == sorted(trained):
        raise CascadeError(f"features must be in the order of the booster's own, {trained}, got {names}; reorder them")


def _require_booster(booster: object) -> None:
    try:
        from lightgbm import Booster
    except ImportError as error:
        raise CascadeError("scoring by prefix of trees needs LightGBM; install slicerank[trees]") from error
    if not isinstance(booster, Booster):
        raise CascadeError(f"booster must be a lightgbm.Booster, got {type(booster).__name__}; use model.booster_")

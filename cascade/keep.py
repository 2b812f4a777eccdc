"""Keep rules: which candidates of a stage go on to the next.

Two kinds. A *pointwise* rule decides on each candidate alone, so a query may be cut anywhere and memory stays
bounded. A *ranked* rule keeps the best so many of each query, so it needs the whole query at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.numbers import is_finite, is_whole


class Ranking:
    """The candidates of one stage, query by query, best first, as a ranked rule sees them.

    scores: (n,) grouped by query, descending within each; or a function that sorts them, called when a rule reads them.
    sizes: (queries,) candidates that came into this stage; may be 0.
    originals: (queries,) candidates that the query began with.
    columns: (queries,) each, what the columns named by the rule's `columns` hold for each query.
    """

    def __init__(
        self,
        scores: NDArray[np.float64] | Callable[[], NDArray[np.float64]],
        sizes: NDArray[np.int64],
        originals: NDArray[np.int64],
        columns: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        self._scores = scores
        self.sizes = sizes
        self.originals = originals
        self.columns = columns or {}

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(n,) grouped by query, descending within each."""
        return self._scores() if callable(self._scores) else self._scores


class KeepRule(ABC):
    """Common to all rules: whether an item's fate depends on its own scores alone."""

    pointwise: ClassVar[bool]


class PointwiseRule(KeepRule):
    """A rule that decides on each candidate alone."""

    pointwise = True

    @abstractmethod
    def kept(self, scores: NDArray[np.float64], hits: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """(n,) true where the candidate goes on.

        scores: (n,). hits: (n,) true where the class with the highest score is the candidate's target; None
        when the stage gave one score per candidate instead of one per class.
        """


class RankedRule(KeepRule):
    """A rule that keeps the best so many of each query.

    columns: names of integer columns of the candidate table that it reads, one value per query.
    """

    pointwise = False

    @property
    def columns(self) -> tuple[str, ...]:
        """None, for most rules."""
        return ()

    @property
    def nullable(self) -> frozenset[str]:
        """Those of the columns that may be null; what a null means is the rule's own business."""
        return frozenset()

    def least(self, column: str, originals: NDArray[np.int64]) -> NDArray[np.float64]:
        """(queries,) the least value allowed in one of the columns, for queries that began with so many candidates."""
        return np.ones(len(originals))

    @abstractmethod
    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """(queries,) how many of the best go on; a count above the query's size keeps them all."""


@dataclass(frozen=True)
class KeepAll(PointwiseRule):
    """Keep every candidate: the stage re-ranks and filters nothing."""

    def kept(self, scores: NDArray[np.float64], hits: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """All true."""
        return np.ones(len(scores), dtype=bool)


@dataclass(frozen=True)
class ScoreAtLeast(PointwiseRule):
    """Keep the candidates whose score is at least `threshold` (any finite number)."""

    threshold: float

    def __post_init__(self) -> None:
        _require_number("ScoreAtLeast", "threshold", self.threshold)

    def kept(self, scores: NDArray[np.float64], hits: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """True where score >= threshold."""
        return scores >= self.threshold


@dataclass(frozen=True)
class PredictedClass(PointwiseRule):
    """Keep the candidates whose predicted class is the one in their `target` column.

    Needs one score per class from the scorer. The predicted class is the one with the highest score; of equal
    ones the lowest index.
    """

    def kept(self, scores: NDArray[np.float64], hits: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """True where the predicted class is the target."""
        if hits is None:
            raise CascadeError(
                "PredictedClass needs one score per class, got one score per candidate; "
                "return scores of shape (candidates, classes) or use another rule"
            )
        return hits


@dataclass(frozen=True)
class TopK(RankedRule):
    """Keep the `k` best of each query, `k` a whole number of at least 1."""

    k: int

    def __post_init__(self) -> None:
        _require_count("TopK", "k", self.k)

    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """K for every query."""
        return np.full(len(ranking.sizes), self.k, dtype=np.int64)


@dataclass(frozen=True)
class TopKColumn(RankedRule):
    """Keep the best so many of each query as the query's value in a column of the table says.

    column: of whole numbers of at least 1, the same for all candidates of a query. otherwise: the k of queries
    whose value is null; None refuses nulls. A count that is not below an earlier stage's does not bind.
    """

    column: str
    otherwise: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise CascadeError(f"TopKColumn: column must be a column's name, got {self.column!r}")
        if self.otherwise is not None:
            _require_count("TopKColumn", "otherwise", self.otherwise)

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def nullable(self) -> frozenset[str]:
        """The column, where `otherwise` says what a null means."""
        return frozenset() if self.otherwise is None else frozenset((self.column,))

    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """Each query's own k; 0 in the column stands for null."""
        if self.column not in ranking.columns:
            raise CascadeError(
                f"TopKColumn reads the column {self.column!r} of the candidate table, which this caller does not "
                f"give; run it with Cascade, or use TopK"
            )
        wanted = ranking.columns[self.column]
        return wanted if self.otherwise is None else np.where(wanted == 0, self.otherwise, wanted)


@dataclass(frozen=True)
class TopShare(RankedRule):
    """Keep the best ceil(share * n) of each query, n being the candidates the query *began* with.

    The share is of the original candidates, not of what reached the stage, so that the cutoffs of a cascade
    can be read side by side: shares 0.5, 0.2, 0.05 keep 50, 20 and 5 of 100. At least `minimum` are kept
    (as far as there are so many). share in (0, 1]. A product within 1e-12 of a whole number counts as that
    number, so 0.07 of 100 is 7, though the product of the floats is slightly more.
    """

    share: float
    minimum: int = 1

    def __post_init__(self) -> None:
        _require_number("TopShare", "share", self.share)
        if not 0 < self.share <= 1:
            raise CascadeError(f"TopShare: share must be in (0, 1], got {self.share!r}; 0.25 keeps a quarter")
        _require_count("TopShare", "minimum", self.minimum)

    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """ceil(share * originals), at least minimum."""
        exact = self.share * ranking.originals * (1 - 1e-12)
        return np.maximum(np.ceil(exact).astype(np.int64), self.minimum)


@dataclass(frozen=True)
class ScoreDrop(RankedRule):
    """Keep the candidates whose score is at most `drop` (>= 0) below the best that reached the stage."""

    drop: float

    def __post_init__(self) -> None:
        _require_number("ScoreDrop", "drop", self.drop)
        if self.drop < 0:
            raise CascadeError(f"ScoreDrop: drop must be at least 0, got {self.drop!r}; 0 keeps the best only")

    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """How many of each query satisfy best - score <= drop."""
        query = np.repeat(np.arange(len(ranking.sizes)), ranking.sizes)
        first = np.cumsum(ranking.sizes) - ranking.sizes
        near = ranking.scores[first[query]] - ranking.scores <= self.drop
        return np.bincount(query[near], minlength=len(ranking.sizes))


def check_cutoffs(rules: Sequence[KeepRule]) -> None:
    """Refuse cutoffs that grow from stage to stage: k against earlier k, share and minimum against earlier
    ones.

    Scores of different stages need not be on one scale, so thresholds and drops are not compared; nor is a
    share with a k, whose order depends on the query: there a later cutoff that is not lower simply does not
    bind.
    """
    lowest: dict[tuple[type[KeepRule], str], tuple[float, int]] = {}
    for stage, rule in enumerate(rules):
        for name in {TopK: ("k",), TopShare: ("share", "minimum")}.get(type(rule), ()):
            value = getattr(rule, name)
            before, where = lowest.get((type(rule), name), (value, stage))
            if value > before:
                raise CascadeError(
                    f"cutoffs must never grow: stage {stage} has {name}={value!r} after {name}={before!r} at "
                    f"stage {where}; lower the later one or raise the earlier one"
                )
            lowest[type(rule), name] = (value, stage)


def _require_number(rule: str, name: str, value: object) -> None:
    if not is_finite(value):
        raise CascadeError(f"{rule}: {name} must be a finite number, got {value!r}")


def _require_count(rule: str, name: str, value: object) -> None:
    if not is_whole(value):
        limit = " in 63 bits" if isinstance(value, int) and value > 1 else ""
        raise CascadeError(f"{rule}: {name} must be a whole number of at least 1{limit}, got {value!r}")

"""One stage's rule applied to scored candidates: who stays, and every candidate's place in its query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cascade.best import best_of_each
from cascade.ids import IdsAt, best_first
from cascade.keep import KeepRule, PointwiseRule, RankedRule, Ranking
from cascade.order import places

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class Arrived:
    """The n candidates that a stage has scored.

    scores, hits: (n,) as in `PointwiseRule.kept`. query: (n,) index of each candidate's query, ascending; within a
    query the candidates stand in docid order, which settles ties, unless docids are given, which then do.
    originals, columns: (queries,) as in `Ranking`.
    """

    scores: NDArray[np.float64]
    hits: NDArray[np.bool_] | None
    query: NDArray[np.int64]
    originals: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.int64]] | None = None
    docids: IdsAt | None = None

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(queries,) how many of each query came."""
        whole = len(self.query) == self.originals.sum()
        return self.originals if whole else np.bincount(self.query, minlength=len(self.originals))

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(n,) positions, query by query, best first."""
        return best_first(self.query, self.scores, self.docids)

    def counts(self, rule: RankedRule) -> NDArray[np.int64]:
        """(queries,) how many of each stay; sorts nothing, unless the rule reads the scores."""
        return rule.counts(Ranking(lambda: self.scores[self.order], self.sizes, self.originals, self.columns))


def rank_and_filter(rule: KeepRule, came: Arrived) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(n,) whether each candidate stays, and (n,) its 0-based place in its query, those that stay first."""
    place = places(came.sizes)
    if isinstance(rule, PointwiseRule):
        stays = rule.kept(came.scores, came.hits)
        return stays, _scattered(best_first(2 * came.query + ~stays, came.scores, came.docids), place)
    assert isinstance(rule, RankedRule)
    stays = _scattered(came.order, place < np.repeat(came.counts(rule), came.sizes))
    return stays, _scattered(came.order, place)


def only_filter(rule: KeepRule, came: Arrived) -> NDArray[np.bool_]:
    """(n,) whether each candidate stays; as `rank_and_filter`, without sorting more than the rule asks for."""
    if isinstance(rule, PointwiseRule):
        return rule.kept(came.scores, came.hits)
    assert isinstance(rule, RankedRule)
    return best_of_each(came.query, came.scores, came.sizes, came.counts(rule), came.docids)


def _scattered(order: NDArray[np.int64], values: NDArray[_Value]) -> NDArray[_Value]:
    """(n,) the values, given in some order of the candidates, back where these stand."""
    back = np.empty_like(values)
    back[order] = values
    return back

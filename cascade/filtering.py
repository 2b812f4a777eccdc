"""One stage's rule applied to scored candidates: who stays, and every candidate's place in its query."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cascade.best import best_of_each
from cascade.keep import KeepRule, PointwiseRule, RankedRule, Ranking
from cascade.order import order_within, places

_Value = TypeVar("_Value", bound=np.generic)


def rank_and_filter(
    rule: KeepRule,
    scores: NDArray[np.float64],
    hits: NDArray[np.bool_] | None,
    query: NDArray[np.int64],
    originals: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.int64]] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(n,) whether each candidate stays, and (n,) its 0-based place in its query, those that stay first.

    scores, hits: (n,) as in `PointwiseRule.kept`. query: (n,) index of each candidate's query, ascending;
    within a query the candidates stand in docid order, which settles ties. originals, columns: (queries,)
    as in `Ranking`.
    """
    if isinstance(rule, PointwiseRule):
        stays = rule.kept(scores, hits)
        order = order_within(2 * query + ~stays, scores)
        place = places(np.bincount(query, minlength=len(originals)))
    else:
        assert isinstance(rule, RankedRule)
        order = order_within(query, scores)
        counts, sizes = _counts(rule, lambda: scores[order], query, originals, columns)
        place = places(sizes)
        stays = _scattered(order, place < np.repeat(counts, sizes))
    return stays, _scattered(order, place)


def only_filter(
    rule: KeepRule,
    scores: NDArray[np.float64],
    hits: NDArray[np.bool_] | None,
    query: NDArray[np.int64],
    originals: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.int64]] | None = None,
) -> NDArray[np.bool_]:
    """(n,) whether each candidate stays; as `rank_and_filter`, without sorting more than the rule asks for."""
    if isinstance(rule, PointwiseRule):
        return rule.kept(scores, hits)
    assert isinstance(rule, RankedRule)
    counts, sizes = _counts(rule, lambda: scores[order_within(query, scores)], query, originals, columns)
    return best_of_each(query, scores, sizes, counts)


def _counts(
    rule: RankedRule,
    best_first: Callable[[], NDArray[np.float64]],
    query: NDArray[np.int64],
    originals: NDArray[np.int64],
    columns: Mapping[str, NDArray[np.int64]] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(queries,) how many of each query stay, and (queries,) how many came."""
    whole = len(query) == originals.sum()
    sizes = originals if whole else np.bincount(query, minlength=len(originals))
    return rule.counts(Ranking(best_first, sizes, originals, columns)), sizes


def _scattered(order: NDArray[np.int64], values: NDArray[_Value]) -> NDArray[_Value]:
    """(n,) the values, given in some order of the candidates, back where these stand."""
    back = np.empty_like(values)
    back[order] = values
    return back

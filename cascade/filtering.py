"""One stage's rule applied to scored candidates: who stays, and every candidate's place in its query."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cascade.keep import KeepRule, PointwiseRule, RankedRule, Ranking
from cascade.order import order_within, places


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
    sizes = np.bincount(query, minlength=len(originals))
    place = places(sizes)
    if isinstance(rule, PointwiseRule):
        stays = rule.kept(scores, hits)
        order = order_within(2 * query + ~stays, scores)
    else:
        assert isinstance(rule, RankedRule)
        order = order_within(query, scores)
        counts = rule.counts(Ranking(scores[order], sizes, originals, columns or {}))
        stays = np.empty(len(query), dtype=bool)
        stays[order] = place < np.repeat(counts, sizes)
    at = np.empty(len(query), dtype=np.int64)
    at[order] = place
    return stays, at

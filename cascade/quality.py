"""What a plan is judged by: recall or nDCG of the final kept set, as one sum over the candidates kept.

Both are sums of a weight per candidate, for nDCG times the discount of its final place. That is what makes
them cheap to bound: what is lost never comes back, so the weights still alive are an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.order import order_within, places
from cascade.scored import Scored

Metric = Literal["recall", "ndcg"]
Average = Literal["query", "pooled"]


@dataclass(frozen=True)
class Quality:
    """A measure, made ready for one set of candidates.

    weights: (n,) worth of each candidate in the first place. discounts: whether later places are worth less.
    queries: (Q,) whether the query counts (has something relevant).
    """

    metric: Metric
    average: Average
    weights: NDArray[np.float64]
    discounts: bool
    queries: NDArray[np.bool_]

    def total(self, worth: NDArray[np.float64], place: NDArray[np.int32] | NDArray[np.int64]) -> float:
        """The measure, in [0, 1], when candidates of these weights are kept, at 0-based final places."""
        if self.discounts:
            worth = worth * discount(place)
        return round(float(worth.sum()), 12)  # sums in another order are not another value


def quality_of(scored: Scored, metric: Metric, average: Average, final_k: int | None) -> Quality:
    """The measure `metric` at `final_k` (None: of all that reach the end).

    recall: share of the relevant candidates that are in the final kept set. ndcg: DCG of the final ranking
    over that of the ideal one, both cut at `final_k`; gain = label (negative ones 0), discount =
    1 / log2(place + 2), as in trec_eval. average: `query`, the mean over the queries that have a relevant
    candidate (for ndcg: one of positive label); `pooled`, over all relevant candidates together (recall only).

    Raises CascadeError for an unknown measure, or when nothing is relevant.
    """
    if metric not in ("recall", "ndcg"):
        raise CascadeError(f"metric must be 'recall' or 'ndcg', got {metric!r}; take one of the two")
    if average not in ("query", "pooled") or (metric, average) == ("ndcg", "pooled"):
        raise CascadeError(f"average must be 'query', or for recall 'pooled', got {average!r} for {metric}; change it")
    if final_k is not None and (isinstance(final_k, bool) or not isinstance(final_k, int | np.integer) or final_k < 1):
        raise CascadeError(f"final_k must be a whole number of at least 1, or None to keep all, got {final_k!r}")
    count = len(scored.sizes)
    if metric == "recall":
        gain = scored.is_relevant.astype(np.float64)
        best = np.bincount(scored.query, gain, minlength=count)
    else:
        gain = np.maximum(scored.relevant, 0.0)
        order, place = order_within(scored.query, gain), places(scored.sizes)
        inside = place < (len(gain) if final_k is None else final_k)
        best = np.bincount(scored.query[inside], (gain[order] * discount(place))[inside], minlength=count)
    queries = best > 0
    if not queries.any():
        raise CascadeError(
            f"planning needs relevant candidates, got none among {len(gain)} with a label of at least "
            f"{scored.minimum}; check the labels"
        )
    each = best * queries.sum() if average == "query" else np.full(count, best.sum())
    weights = gain / np.where(queries, each, 1.0)[scored.query]
    return Quality(metric, average, weights, metric == "ndcg", queries)


def discount(place: NDArray[np.int32] | NDArray[np.int64]) -> NDArray[np.float64]:
    """1 / log2(place + 2), place from 0."""
    return np.asarray(1.0 / np.log2(place + 2.0))

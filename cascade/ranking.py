"""nDCG, RR, AP, recall, precision and success of a run against judgements, per query and in the mean.

The values are those of trec_eval (`ir_measures`), computed for all queries at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.judged import By, Judged, Ties, judge
from cascade.measures import Measure, parse_measures
from cascade.order import places

_HIGHEST_EXPONENT = 1000  # 2 to higher powers, summed over a query, would be infinite


@dataclass(frozen=True)
class Evaluation:
    """The measures of one run.

    per_query: column qid (the judged queries, ascending) and a column for each measure, under its canonical name
    (`str(measure)`); a null is a query left out of that measure. means: of each measure over its queries; None when
    there are none. averaged: how many queries that is. without_relevant: how many judged queries have no relevant
    item (for nDCG: no label above 0), which score 0 or are left out. missing: judged queries of which the run has
    no candidate; they score 0. unjudged: queries of the run without any judgement; they are left out.
    """

    per_query: pl.DataFrame
    means: dict[str, float | None]
    averaged: dict[str, int]
    without_relevant: dict[str, int]
    missing: int
    unjudged: int


def evaluate(
    run: pl.DataFrame,
    judgements: pl.DataFrame | None,
    measures: Sequence[str | Measure],
    *,
    rel: float = 1,
    without_relevant: Literal["zero", "skip"] = "zero",
    by: By | None = None,
    ties: Ties = "docid",
) -> Evaluation:
    """Measure a run.

    run, judgements, by, ties: see `cascade.judged.judge`. Judgements of None are those of the run's own `label`
    column: a relevant item that was never a candidate is then not missed. A candidate without a judgement is not
    relevant; it takes its place in the ranking all the same. measures: names (see `parse_measure`) or `Measure`s.
    rel: the threshold of the names that give none. without_relevant: a query with nothing relevant counts as 0
    (`zero`, as ir_measures does) or is left out (`skip`).

    Raises CascadeError, see `judge` and `parse_measure`; for labels above 1000 where the gain is 2^label - 1.
    """
    if without_relevant not in ("zero", "skip"):
        raise CascadeError(f"without_relevant must be 'zero' or 'skip', got {without_relevant!r}")
    wanted = parse_measures(measures, rel=rel)
    judged = judge(run, judgements, by, ties)
    if any(measure.name == "nDCG" and measure.dcg != "log2" for measure in wanted):
        highest = float(judged.label.max(initial=0.0))
        if highest > _HIGHEST_EXPONENT:
            raise CascadeError(
                f"labels must be at most {_HIGHEST_EXPONENT} where the gain is 2^label - 1, got {highest:g}; rescale "
                f"them, or take nDCG without dcg='exp-log2'"
            )
    columns: dict[str, pl.Series] = {}
    means: dict[str, float | None] = {}
    averaged, barren = {}, {}
    relevance = {threshold: _Relevant.of(judged, threshold) for threshold in {measure.rel for measure in wanted}}
    best = _best_first(judged) if any(measure.name == "nDCG" for measure in wanted) else None
    for measure in wanted:
        name = str(measure)
        if measure.name == "nDCG":
            assert best is not None
            values, relevant = _ndcg(judged, best, measure)
        else:
            values, relevant = _binary(relevance[measure.rel], measure)
        barren[name] = int((~relevant).sum())
        counted = relevant if without_relevant == "skip" else np.ones(len(relevant), dtype=bool)
        averaged[name] = int(counted.sum())
        means[name] = float(values[counted].mean()) if counted.any() else None
        columns[name] = pl.Series(name, np.where(counted, values, np.nan), nan_to_null=True)
    table = pl.DataFrame([judged.queries.alias("qid"), *columns.values()])
    return Evaluation(table, means, averaged, barren, judged.missing, judged.unjudged)


@dataclass(frozen=True)
class _Relevant:
    """What is relevant at one threshold.

    total: (q,) relevant items of each query. query, place: (h,) of those in the run, best first within the query.
    before: (h,) how many relevant items of the query stand higher.
    """

    total: NDArray[np.int64]
    query: NDArray[np.int64]
    place: NDArray[np.int64]
    before: NDArray[np.int64]

    @staticmethod
    def of(judged: Judged, threshold: float) -> _Relevant:
        """Those with at least this label."""
        q = len(judged.queries)
        total = np.bincount(judged.query[judged.label >= threshold], minlength=q)
        hit = judged.found_label >= threshold
        query = judged.found_query[hit]
        return _Relevant(total, query, judged.found_place[hit], places(np.bincount(query, minlength=q)))


def _binary(relevant: _Relevant, measure: Measure) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(q,) the measure of each query, and (q,) whether anything is relevant to it."""
    q, some = len(relevant.total), relevant.total > 0
    query, place, before = relevant.query, relevant.place, relevant.before
    if measure.cutoff is not None:
        inside = place < measure.cutoff
        query, place, before = query[inside], place[inside], before[inside]
    if measure.name == "RR":
        values = np.zeros(q)
        first = before == 0
        values[query[first]] = 1 / (place[first] + 1)
        return values, some
    if measure.name == "AP":
        precisions = np.bincount(query, weights=(before + 1) / (place + 1), minlength=q)
        return precisions / np.maximum(relevant.total, 1), some
    found = np.bincount(query, minlength=q)
    if measure.name == "R":
        return found / np.maximum(relevant.total, 1), some
    if measure.name == "Success":
        return (found > 0).astype(np.float64), some
    assert measure.name == "P"
    assert measure.cutoff is not None
    return found / measure.cutoff, some


_Ranked = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Query, place and label of items."""


def _best_first(judged: Judged) -> _Ranked:
    """The best ranking of each query's judged items: by label, descending."""
    levels = np.unique(judged.label)[::-1]
    key = judged.query * len(levels) + (len(levels) - 1 - np.searchsorted(levels[::-1], judged.label))
    key.sort()  # equal labels need no order
    query = key // max(len(levels), 1)
    label = levels[key - query * len(levels)]
    return query, places(np.bincount(query, minlength=len(judged.queries))), label


def _ndcg(judged: Judged, best: _Ranked, measure: Measure) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    q = len(judged.queries)
    found = judged.found_query, judged.found_place, judged.found_label
    ideal = _dcg(best, q, measure)
    some = ideal > 0
    return _dcg(found, q, measure) / np.where(some, ideal, 1.0), some


def _dcg(ranked: _Ranked, queries: int, measure: Measure) -> NDArray[np.float64]:
    query, place, label = ranked
    if measure.cutoff is not None:
        inside = place < measure.cutoff
        query, place, label = query[inside], place[inside], label[inside]
    gain = label if measure.dcg == "log2" else np.exp2(label) - 1
    return np.bincount(query, weights=gain / np.log2(place + 2), minlength=queries).astype(np.float64)

"""How well each stage ranks: what its top k holds, alone and after the stages before it, and do the stages agree.

All from every stage's scores for all the candidates (`cascade.score_all`) and, for what the stages do together, from
the cascade's result. Where only a run's own scores are known, a later stage has none for what never reached it; what
that leaves undefined is None, or refused. Means are over queries, as retrieval measures are; which queries is said in
each function.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.alone import AllScores
from cascade.errors import CascadeError
from cascade.inclusion import Inclusion, inclusion_matrix
from cascade.keep import TopK
from cascade.kendall import kendall_matrix
from cascade.metrics import survived
from cascade.order import order_within, places
from cascade.pipeline import CascadeResult
from cascade.relevance import aligned, is_relevant

_NOWHERE = np.iinfo(np.int64).max
"""The place of a candidate that a stage has not scored."""

BUDGET_DENOMINATOR = "relevant candidates outside the later stage's top m, of each pair of stages"


@dataclass(frozen=True)
class StageRanks:
    """Each stage's own ranking of all the candidates of q queries.

    keys: (n,) rows with qid and docid, sorted by qid, then docid. queries: (q,) ids, ascending. sizes: (q,)
    candidates of each. query: (n,) index of each row's query. scores: (S, n), NaN where a stage gave none. places:
    (S, n) 0-based rank in the query by each stage's score, ties by docid; the largest integer where there is none.
    """

    keys: pl.DataFrame
    queries: pl.Series
    sizes: NDArray[np.int64]
    query: NDArray[np.int64]
    scores: NDArray[np.float64]
    places: NDArray[np.int64]

    @staticmethod
    def of(scores: AllScores) -> StageRanks:
        """The rankings by the scores of `score_all`."""
        return _ranked(scores.frame, len(scores.stages))

    @staticmethod
    def of_run(result: CascadeResult) -> StageRanks:
        """The rankings by a run's own scores: a stage ranks what reached it."""
        return _ranked(result.frame.sort("qid", "docid"), len(result.stages))

    @property
    def covers(self) -> tuple[bool, ...]:
        """(S,) whether each stage has scored all the candidates."""
        return tuple(not np.isnan(row).any() for row in self.scores)

    def per_query(self, marked: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(q,) how many rows are marked in each query; marked: (n,)."""
        return np.bincount(self.query[marked], minlength=len(self.sizes))


def _ranked(frame: pl.DataFrame, stages: int) -> StageRanks:
    """frame: sorted by qid, then docid; columns score_0 .. score_{S-1}, null where there is none."""
    query = frame["qid"].rle_id().cast(pl.Int64).to_numpy()
    sizes = np.bincount(query)
    queries = frame["qid"].unique(maintain_order=True)
    rows = [frame[f"score_{stage}"].cast(pl.Float64).to_numpy() for stage in range(stages)]
    values = np.stack(rows) if rows else np.empty((0, len(frame)))
    ranks = np.full(values.shape, _NOWHERE)
    for stage, row in enumerate(values):
        ranks[stage] = _places(query, row, ~np.isnan(row), len(sizes))
    return StageRanks(frame.select("qid", "docid"), queries, sizes, query, values, ranks)


def _places(
    query: NDArray[np.int64], scores: NDArray[np.float64], among: NDArray[np.bool_], queries: int
) -> NDArray[np.int64]:
    """(n,) 0-based rank of each of some candidates among these in its query; of the others the largest integer."""
    found = np.full(len(query), _NOWHERE)
    order = np.flatnonzero(among)[order_within(query[among], scores[among])]
    found[order] = places(np.bincount(query[among], minlength=queries))
    return found


def stage_recall(ranks: StageRanks, result: CascadeResult, relevant: pl.DataFrame, ks: Sequence[int]) -> pl.DataFrame:
    """Recall@k of each stage, alone and joint.

    Columns: stage; k; alone: share of a query's relevant items in the stage's top k of all the candidates, null where
    it has not scored them all; joint: in its top k of those that the cascade let through to it; queries: those with
    something relevant, candidates or not, over which both are averaged (null where there are none). joint <= alone need
    not hold: with irrelevant rivals gone, an item may rise into the top k.

    relevant: pairs, see `relevant_pairs`. ks: cutoffs, at least 1.
    """
    _require_cutoffs("ks", ks)
    _require_same(ranks, result)
    wanted = is_relevant(ranks.keys, relevant)
    total, elsewhere = _relevant_per_query(ranks, relevant)
    counted = total > 0
    queries = int(counted.sum()) + elsewhere
    reached, covers = _reached(ranks, result), ranks.covers
    rows: list[tuple[int, int, float | None, float | None, int]] = []
    for stage, place in enumerate(ranks.places):
        let_in = reached[stage]
        joint = _places(ranks.query, ranks.scores[stage], let_in, len(ranks.sizes))
        for k in ks:
            shares = (ranks.per_query(wanted & (at < k))[counted] / total[counted] for at in (place, joint))
            alone, together = (float(share.sum()) / queries if queries else None for share in shares)
            alone = alone if covers[stage] else None
            rows.append((stage, k, alone, together, queries))
    schema = {"stage": pl.Int64, "k": pl.Int64, "alone": pl.Float64, "joint": pl.Float64, "queries": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def recall_k_at_m(ranks: StageRanks, relevant: pl.DataFrame, k: int, ms: Sequence[int]) -> pl.DataFrame:
    """Recall@k@m: of the relevant items in the last stage's top k, the share in an earlier stage's top m.

    Needs every stage's scores of all the candidates.

    Columns: stage (all but the last), m, recall (mean over the queries with a relevant item in the last stage's top
    k; null when there are none), queries (how many those are). Both rankings are of all the candidates.
    """
    _require_cutoffs("k", [k])
    _require_cutoffs("ms", ms)
    _require_covered(ranks)
    goal = is_relevant(ranks.keys, relevant) & (ranks.places[-1] < k)
    return _share_inside(ranks, goal, [(s, m, ranks.places[s] < m) for s in range(len(ranks.places) - 1) for m in ms])


def hit_rate(ranks: StageRanks, result: CascadeResult, kept: NDArray[np.bool_], k: int) -> pl.DataFrame:
    """HR@k: of the last stage's top k of all the candidates, the share that the earlier stages keep.

    kept: (n, S) what each stage's own rule keeps of all the candidates, of `AllScores.alone`. Columns: stage (all
    but the last), alone (share in what the stage's own rule keeps), joint (share that survives every stage up to it),
    queries; means over all queries (null when there are none). Needs no judgements: the last stage is the truth here,
    so it must have scored all the candidates.
    """
    _require_cutoffs("k", [k])
    _require_covered(ranks)
    _require_same(ranks, result)
    if kept.shape != ranks.places.shape[::-1]:
        raise CascadeError(f"kept must be (candidates, stages) = {ranks.places.shape[::-1]}, got {kept.shape}")
    top = ranks.places[-1] < k
    earlier = range(len(ranks.places) - 1)
    alone = _share_inside(ranks, top, [(s, k, kept[:, s]) for s in earlier])
    joint = _share_inside(ranks, top, [(s, k, _reached(ranks, result)[s + 1]) for s in earlier])
    return alone.select("stage", alone="recall").with_columns(joint=joint["recall"], queries=joint["queries"])


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the stages' scores of the candidates that both have scored.

    mean: (S, S) over the queries where it is defined, None where there are none. queries: (S, S) how many those are:
    a query counts where both scores tell some two of its candidates apart. per_query: qid and a column `tau_i_j` for
    each pair i < j, null where undefined.
    """

    mean: tuple[tuple[float | None, ...], ...]
    queries: tuple[tuple[int, ...], ...]
    per_query: pl.DataFrame


def agreement(ranks: StageRanks) -> Agreement:
    """Kendall's tau-b of every two stages, query by query."""
    taus = kendall_matrix(ranks.scores, ranks.sizes) if all(ranks.covers) else _taus_of_both(ranks)
    defined = ~np.isnan(taus)
    counts = defined.sum(axis=-1)
    sums = np.where(defined, taus, 0).sum(axis=-1)
    stages = range(len(taus))
    mean = tuple(tuple(float(sums[i, j] / counts[i, j]) if counts[i, j] else None for j in stages) for i in stages)
    columns = [pl.Series(f"tau_{i}_{j}", taus[i, j], nan_to_null=True) for i in stages for j in stages if i < j]
    table = pl.DataFrame([ranks.queries.alias("qid"), *columns])
    return Agreement(mean, tuple(tuple(int(n) for n in row) for row in counts), table)


def _taus_of_both(ranks: StageRanks) -> NDArray[np.float64]:
    """(S, S, q) tau-b of each query over the candidates that both stages have scored."""
    stages = len(ranks.scores)
    taus = np.empty((stages, stages, len(ranks.sizes)))
    for i in range(stages):
        for j in range(i + 1):
            both = ~np.isnan(ranks.scores[i]) & ~np.isnan(ranks.scores[j])
            pair = ranks.scores[[i, j]][:, both]
            taus[i, j] = taus[j, i] = kendall_matrix(pair, ranks.per_query(both))[0, 1]
    return taus


def budget_inclusion(scores: AllScores, budgets: Sequence[int], relevant: pl.DataFrame) -> Inclusion:
    """The inclusion coefficients where an error is a relevant candidate outside the stage's budget, its top m.

    budgets: (S,) m of each stage. Of the items that the later stage of a pair misses, the share that the earlier one
    misses too. A relevant item that was never a candidate is nobody's error.
    """
    _require_cutoffs("budgets", budgets)
    included = inclusion_matrix(scores.alone([TopK(m) for m in budgets]), relevant)
    return replace(included, denominator=BUDGET_DENOMINATOR)


def _share_inside(
    ranks: StageRanks, goal: NDArray[np.bool_], sets: Sequence[tuple[int, int, NDArray[np.bool_]]]
) -> pl.DataFrame:
    """For each (stage, m, set): the mean share of a query's goal that is in the set, over queries with a goal."""
    total = ranks.per_query(goal)
    counted = total > 0
    rows = []
    for stage, m, inside in sets:
        share = ranks.per_query(goal & inside)[counted] / total[counted]
        rows.append((stage, m, float(share.mean()) if len(share) else None, len(share)))
    schema = {"stage": pl.Int64, "m": pl.Int64, "recall": pl.Float64, "queries": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _reached(ranks: StageRanks, result: CascadeResult) -> list[NDArray[np.bool_]]:
    """S + 1 masks (n,): the candidates let in to each stage, and those kept at the end; rows as in `ranks`."""
    rows = result.frame.select("qid", "docid").with_row_index("row").sort("qid", "docid")["row"].to_numpy()
    alive = [survived(result, stage).to_numpy()[rows] for stage in range(len(result.stages))]
    return [np.ones(len(rows), dtype=bool), *alive]


def _relevant_per_query(ranks: StageRanks, relevant: pl.DataFrame) -> tuple[NDArray[np.int64], int]:
    """(q,) relevant items of each query, candidates or not, and how many other queries have some."""
    keys, pairs = aligned(ranks.keys, relevant)
    counts = pairs.group_by("qid").agg(relevant=pl.len().cast(pl.Int64))
    queries = pl.DataFrame({"qid": keys["qid"].unique(maintain_order=True)})
    here = queries.join(counts, on="qid", how="left", maintain_order="left")["relevant"].fill_null(0).to_numpy()
    return here, len(counts) - int((here > 0).sum())


def _require_same(ranks: StageRanks, result: CascadeResult) -> None:
    if len(result.stages) != len(ranks.places):
        raise CascadeError(
            f"the result and the scores must have the same stages, got {len(result.stages)} and {len(ranks.places)}"
        )
    if not result.frame.select("qid", "docid").sort("qid", "docid").equals(ranks.keys):
        raise CascadeError(
            f"the result and the scores must be of the same candidates, got {len(result.frame)} and "
            f"{len(ranks.keys)} that differ; run both over one table"
        )


def _require_covered(ranks: StageRanks) -> None:
    if not all(ranks.covers):
        stage = ranks.covers.index(False)
        raise CascadeError(
            f"every stage must have scored all the candidates, stage {stage} has not; pass every stage's scores of them"
        )


def _require_cutoffs(name: str, values: Sequence[int]) -> None:
    if not len(values):
        raise CascadeError(f"{name}: at least one cutoff is needed, got none")
    for value in values:
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise CascadeError(f"{name}: a cutoff must be a whole number of at least 1, got {value!r}")

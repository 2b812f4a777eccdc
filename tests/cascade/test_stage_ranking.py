"""Against loops over queries and sets, and figures by hand."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from cascade.alone import AllScores, score_all
from cascade.errors import CascadeError
from cascade.inclusion import inclusion_matrix
from cascade.keep import TopK
from cascade.metrics import quality_so_far
from cascade.pipeline import Cascade, CascadeResult
from cascade.ranking import evaluate
from cascade.relevance import relevant_pairs
from cascade.stage_ranking import StageRanks, agreement, budget_inclusion, hit_rate, recall_k_at_m, stage_recall

BUDGETS = (6, 4, 2)


def both(
    make: Callable, seed: int, levels: int = 1000, n: int = 45
) -> tuple[pl.DataFrame, AllScores, CascadeResult, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"qid": rng.integers(0, 6, n), "docid": rng.permutation(n), "label": rng.integers(0, 3, n)})
    scores = {f"s{k}": rng.integers(0, levels, n) / 2 + frame["label"].to_numpy() for k in range(len(BUDGETS))}
    frame = frame.with_columns(pl.Series(name, values) for name, values in scores.items())
    scorer = make([*scores])
    result = Cascade(scorer, [TopK(k) for k in BUDGETS]).run(frame)
    missed = pl.DataFrame({"qid": [0, 99], "docid": [1000, 1000]})  # relevant, never candidates
    relevant = pl.concat([relevant_pairs(frame, minimum=2), missed])
    return frame, score_all(scorer, frame), result, relevant


def top(frame: pl.DataFrame, qid: int, column: str, k: int, among: set[int] | None = None) -> set[int]:
    rows = [(-s, d) for q, d, s in frame.select("qid", "docid", column).rows() if q == qid]
    rows = [(s, d) for s, d in rows if among is None or d in among]
    return {d for _, d in sorted(rows)[:k]}


def mean(values: list[float]) -> float | None:
    return pytest.approx(sum(values) / len(values)) if values else None  # type: ignore[return-value]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 1000]), st.integers(1, 5), st.integers(1, 9))
def test_equal_to_loops_over_queries(column_scorer: Callable, seed: int, levels: int, k: int, m: int) -> None:
    frame, scores, result, relevant = both(column_scorer, seed, levels)
    ranks = StageRanks.of(scores)
    queries = sorted(set(frame["qid"]))
    wanted = {q: set(relevant.filter(pl.col("qid") == q)["docid"]) for q in {*queries, *relevant["qid"]}}
    wanted = {q: docs for q, docs in wanted.items() if docs}
    cut = {q: [top(frame, q, "s0", BUDGETS[0])] for q in queries}
    for q in queries:
        cut[q].append(top(frame, q, "s1", BUDGETS[1], cut[q][0]))

    recall = stage_recall(ranks, result, relevant, [k, m])
    assert len(recall) == 2 * len(BUDGETS)
    for stage, cutoff, alone, joint, count in recall.rows():
        column = f"s{stage}"
        found = [len(top(frame, q, column, cutoff) & docs) / len(docs) for q, docs in wanted.items()]
        assert alone == mean(found)
        among = {q: cut[q][stage - 1] if stage else None for q in queries}
        found = [len(top(frame, q, column, cutoff, among.get(q)) & docs) / len(docs) for q, docs in wanted.items()]
        assert joint == mean(found)
        assert count == len(wanted)

    goals = {q: top(frame, q, "s2", k) & wanted.get(q, set()) for q in queries}
    for stage, cutoff, value, count in recall_k_at_m(ranks, relevant, k, [m]).rows():
        assert cutoff == m
        shares = [len(goal & top(frame, q, f"s{stage}", m)) / len(goal) for q, goal in goals.items() if goal]
        assert (value, count) == (mean(shares), len(shares))

    kept = scores.alone([TopK(b) for b in BUDGETS]).kept
    hits = hit_rate(ranks, result, kept, k)
    assert hits["stage"].to_list() == [0, 1]
    for stage, alone, joint, count in hits.rows():
        tops = {q: top(frame, q, "s2", k) for q in queries}
        apart = [len(t & top(frame, q, f"s{stage}", BUDGETS[stage])) / len(t) for q, t in tops.items()]
        together = [len(t & cut[q][stage]) / len(t) for q, t in tops.items()]
        assert (alone, joint, count) == (mean(apart), mean(together), len(queries))

    tau = agreement(ranks)
    for i in range(3):
        for j in range(3):
            parts = [frame.filter(pl.col("qid") == q) for q in queries]
            taus = [kendalltau(p[f"s{i}"], p[f"s{j}"]).statistic if len(p) > 1 else np.nan for p in parts]
            defined = [t for t in taus if not np.isnan(t)]
            assert (tau.mean[i][j], tau.queries[i][j]) == (mean(defined), len(defined))
            if i < j:
                column = tau.per_query[f"tau_{i}_{j}"].to_list()
                assert column == pytest.approx([None if np.isnan(t) else t for t in taus])
    assert tau.per_query["qid"].to_list() == queries

    found = budget_inclusion(scores, BUDGETS, relevant)
    errors = [
        {(q, d) for q, docs in wanted.items() for d in docs - top(frame, q, f"s{s}", b) if d != 1000}
        for s, b in enumerate(BUDGETS)
    ]
    assert found.errors == tuple(len(e) for e in errors)
    for early in range(3):
        for late in range(early + 1, 3):
            share = len(errors[late] & errors[early]) / len(errors[late]) if errors[late] else None
            assert found.matrix[early][late] == found.matrix[late][early] == share
    assert "outside the later stage's top m" in found.denominator


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_joint_recall_is_that_of_the_run_within_the_budgets(column_scorer: Callable, seed: int) -> None:
    _, scores, result, relevant = both(column_scorer, seed)
    ranks = StageRanks.of(scores)
    recall = stage_recall(ranks, result, relevant, BUDGETS).filter(pl.col("k") == BUDGETS[-1])
    judgements = relevant.with_columns(label=1)
    final = evaluate(result.frame.drop("label"), judgements, [f"R@{BUDGETS[-1]}"])
    assert recall["joint"][-1] == pytest.approx(final.means[f"R@{BUDGETS[-1]}"])
    assert recall["alone"][0] == recall["joint"][0]  # nothing filters before the first stage
    same_rules = inclusion_matrix(scores.alone([TopK(b) for b in BUDGETS]), relevant)
    assert budget_inclusion(scores, BUDGETS, relevant).matrix == same_rules.matrix
    kept = quality_so_far(result, relevant)[-1]
    assert recall["queries"][-1] == final.averaged[f"R@{BUDGETS[-1]}"] <= kept.relevant


def test_by_hand(column_scorer: Callable) -> None:
    frame = pl.DataFrame({"qid": [1] * 4, "docid": [1, 2, 3, 4], "s0": [4.0, 3, 2, 1], "s1": [1.0, 4, 2, 3]})
    scorer = column_scorer(["s0", "s1"])
    result, scores = Cascade(scorer, [TopK(3), TopK(2)]).run(frame), score_all(scorer, frame)
    ranks, relevant = StageRanks.of(scores), pl.DataFrame({"qid": [1, 1], "docid": [2, 4]})
    assert stage_recall(ranks, result, relevant, [2]).rows() == [
        (0, 2, 1 / 2, 1 / 2, 1),  # 1 and 2 lead: of 2 and 4 the 2
        (1, 2, 2 / 2, 1 / 2, 1),  # 2 and 4 lead of all; but stage 0 drops 4
    ]
    assert recall_k_at_m(ranks, relevant, 2, [1, 2, 4]).rows() == [(0, 1, 0, 1), (0, 2, 1 / 2, 1), (0, 4, 1, 1)]
    kept = scores.alone([TopK(3), TopK(2)]).kept
    assert hit_rate(ranks, result, kept, 3).rows() == [(0, 2 / 3, 2 / 3, 1)]  # top 3 of stage 1: 2, 4, 3
    assert agreement(ranks).mean[0][1] == pytest.approx((2 - 4) / 6)  # (2, 3) and (2, 4) agree, the rest do not


def test_nothing_relevant_and_no_candidates(column_scorer: Callable) -> None:
    frame = pl.DataFrame({"qid": [1, 1], "docid": [1, 2], "s0": [1.0, 2], "s1": [1.0, 1]})
    scorer = column_scorer(["s0", "s1"])
    for table in (frame, frame.clear()):
        result, scores = Cascade(scorer, [TopK(2), TopK(1)]).run(table), score_all(scorer, table)
        ranks, nothing = StageRanks.of(scores), frame.select("qid", "docid").clear()
        assert stage_recall(ranks, result, nothing, [1]).rows() == [(0, 1, None, None, 0), (1, 1, None, None, 0)]
        assert recall_k_at_m(ranks, nothing, 1, [1]).rows() == [(0, 1, None, 0)]
        assert agreement(ranks).mean[0][1] is None  # stage 1 ties everything
        kept = scores.alone([TopK(1), TopK(1)]).kept
        assert hit_rate(ranks, result, kept, 1)["alone"].to_list() == ([0.0] if len(table) else [None])


def test_bad_input(column_scorer: Callable) -> None:
    _, scores, result, relevant = both(column_scorer, 0)
    ranks = StageRanks.of(scores)
    other = both(column_scorer, 1)[2]
    with pytest.raises(CascadeError, match="must be of the same candidates"):
        stage_recall(ranks, other, relevant, [1])
    frame = scores.frame.rename({"score_0": "s0"})
    single = Cascade(column_scorer(["s0"]), [TopK(1)]).run(frame)
    with pytest.raises(CascadeError, match="must have the same stages, got 1 and 3"):
        stage_recall(ranks, single, relevant, [1])
    with pytest.raises(CascadeError, match="ks: a cutoff must be a whole number of at least 1, got 0"):
        stage_recall(ranks, result, relevant, [0])
    with pytest.raises(CascadeError, match="ms: at least one cutoff is needed, got none"):
        recall_k_at_m(ranks, relevant, 1, [])
    with pytest.raises(CascadeError, match=r"kept must be \(candidates, stages\) = \(45, 3\), got \(3, 45\)"):
        hit_rate(ranks, result, scores.alone([TopK(1)] * 3).kept.T, 1)
    with pytest.raises(CascadeError, match="one rule per stage"):
        budget_inclusion(scores, [1], relevant)

"""The planner against a brute force over every cascade, in loops and sorted()."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from time import process_time
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import planner
from cascade.alone import score_all
from cascade.callables import CallableScorer
from cascade.cost import flops_total
from cascade.cutoffs import Kind
from cascade.errors import CascadeError
from cascade.frontier import Archive, Plan
from cascade.keep import KeepRule, ScoreAtLeast, TopK, TopKColumn, TopShare
from cascade.metrics import recall_by_query
from cascade.pipeline import Cascade
from cascade.plan_cost import StageCosts
from cascade.plan_search import Search
from cascade.planner import evaluate_plan, pareto_frontier, plan
from cascade.quality import Metric, quality_of
from cascade.relevance import relevant_pairs
from cascade.scored import Scored
from cascade.scorer import Session, StageInfo, StageScores
from cascade.subset import SubsetScorer


def random_scored(
    seed: int, queries: int, most: int, stages: int, *, ties: bool = False, density: float = 0.35, graded: bool = False
) -> Scored:
    """Queries of 1 to `most` candidates whose scores are noisy about their relevance; rows shuffled."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, queries)
    qids = np.repeat(np.arange(queries), sizes)
    docids = np.concatenate([rng.permutation(10 * n)[:n] for n in sizes])
    labels = (rng.random(len(qids)) < density) * (rng.integers(1, 3, len(qids)) if graded else 1)
    labels[0] = 1
    scores = labels + rng.standard_normal((stages, len(qids))) * rng.uniform(0.3, 1.5, (stages, 1))
    order = rng.permutation(len(qids))
    if ties:
        scores = np.round(scores)
    return Scored(qids[order], docids[order], labels[order], scores[:, order])


def random_costs(seed: int, stages: int) -> StageCosts:
    """Rising costs with reuse: stage k after j costs c[k] - s c[j] for one s in [0, 1], so no detour pays."""
    rng = np.random.default_rng(seed)
    each = np.cumsum(rng.integers(1, 6, stages)).astype(float)
    share = rng.choice([0.0, 0.5, 1.0])
    table = np.array([[max(0.0, each[k] - share * each[j]) for k in range(stages)] for j in range(stages)])
    return StageCosts(tuple(each), tuple(map(tuple, table)), unit="steps")


def count(rule: KeepRule, ranked: Sequence[float], original: int) -> int:
    match rule:
        case TopK(k):
            return min(k, len(ranked))
        case TopShare(share, minimum):
            exact = Fraction(share).limit_denominator(10_000) * original
            return min(max(math.ceil(exact), minimum), len(ranked))
        case ScoreAtLeast(threshold):
            return sum(score >= threshold for score in ranked)
    raise AssertionError(rule)


def outcome(
    scored: Scored,
    costs: StageCosts,
    stages: Sequence[int],
    rules: Sequence[KeepRule],
    final_k: int | None,
    metric: str,
) -> tuple[Fraction | float, float]:
    """Quality (mean over the queries that count) and mean cost of one cascade, query by query."""
    values: list[Fraction | float] = []
    cost = 0.0
    queries = sorted(set(scored.qids.tolist()))
    for qid in queries:
        alive = [int(i) for i in np.flatnonzero(scored.qids == qid)]
        original, before = alive, -1
        for stage, rule in [*zip(stages, rules, strict=False), (stages[-1], None)]:
            cost += costs.of(before, stage) * len(alive)
            alive.sort(key=lambda i, s=stage: (-scored.scores[s][i], scored.docids[i]))
            ranked = [float(scored.scores[stage][i]) for i in alive]
            kept = (len(alive) if final_k is None else final_k) if rule is None else count(rule, ranked, len(original))
            alive, before = alive[:kept], stage
        labels = [float(scored.relevant[i]) for i in original]
        found = [float(scored.relevant[i]) for i in alive]
        if metric == "recall" and any(label >= 1 for label in labels):
            values.append(Fraction(sum(x >= 1 for x in found), sum(x >= 1 for x in labels)))
        if metric == "ndcg" and any(label > 0 for label in labels):
            best = sorted(labels, reverse=True)[:final_k]
            values.append(dcg(found) / dcg(best))
    return sum(values) / len(values), cost / len(queries)


def dcg(labels: Sequence[float]) -> float:
    return sum(label / math.log2(place + 2) for place, label in enumerate(labels))


def every_cascade(
    scored: Scored,
    costs: StageCosts,
    options: Sequence[Sequence[KeepRule]],
    final_k: int | None,
    metric: str = "recall",
    ends: Sequence[int] | None = None,
) -> list[tuple[float, float]]:
    """(quality, cost) of every subset of stages with every combination of their rules."""
    found = []
    for end in ends or [scored.stages - 1]:
        for size in range(end + 1):
            for chosen in itertools.combinations(range(end), size):
                for rules in itertools.product(*(options[stage] for stage in chosen)):
                    ks = [rule.k for rule in rules if isinstance(rule, TopK)]
                    if ks == sorted(ks, reverse=True):
                        value, cost = outcome(scored, costs, (*chosen, end), rules, final_k, metric)
                        found.append((float(value), cost))
    return found


def best_of(found: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those that no other beats, by rising cost."""
    kept: list[tuple[float, float]] = []
    for value, cost in sorted(found, key=lambda pair: (pair[1], -pair[0])):
        if not kept or value > kept[-1][0] + 1e-9:
            kept.append((value, cost))
    return kept


def every_rule(kind: str, scored: Scored, stage: int, final_k: int | None) -> list[KeepRule]:
    """Every cutoff of a kind that differs on these candidates, relevant or not."""
    sizes = np.bincount(scored.query).tolist()
    if kind == "top_k":
        return [TopK(k) for k in range(max(sizes), (final_k or 1) - 1, -1)]
    if kind == "share":
        return [
            TopShare(m / n) for m, n in sorted({Fraction(m, n).as_integer_ratio() for n in sizes for m in range(1, n)})
        ]
    return [ScoreAtLeast(float(t)) for t in np.unique(scored.scores[stage])]


def agree(found: Iterable[Plan], expected: list[tuple[float, float]]) -> None:
    np.testing.assert_allclose([(plan.quality, plan.cost) for plan in found], expected, rtol=0, atol=1e-9)


KINDS = ("top_k", "share", "score")


@pytest.mark.parametrize("kinds", [*KINDS, ("score", "top_k", "share")], ids=str)
@pytest.mark.parametrize("metric", ["recall", "ndcg"])
@pytest.mark.parametrize("final_k", [1, 2, None])
def test_frontier_is_that_of_every_cascade(kinds: Any, metric: Metric, final_k: int | None) -> None:
    for seed in range(3):
        scored = random_scored(seed, 4, 6, 3 if isinstance(kinds, str) else 4, ties=seed == 1, graded=metric == "ndcg")
        costs = random_costs(seed, scored.stages)
        each = (kinds,) * (scored.stages - 1) if isinstance(kinds, str) else kinds
        options = [every_rule(kind, scored, stage, final_k) for stage, kind in enumerate(each)]
        if max(map(len, options)) > 14:
            options = [rules[:: 1 + len(rules) // 6] for rules in options]
        expected = best_of(every_cascade(scored, costs, options, final_k, metric))
        found = pareto_frontier(scored, costs, options=options, final_k=final_k, metric=metric)
        agree(found, expected)


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.sampled_from([1, 2, 3, None]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_the_full_set_of_cutoffs_holds_the_best_of_all(seed: int, kind: Kind, final_k: int | None, ties: bool) -> None:
    """Every k, every share m/n, every score of any candidate (not only of relevant ones) as a threshold."""
    scored = random_scored(seed, 3, 4, 3, ties=ties)
    costs = random_costs(seed, 3)
    options = [every_rule(kind, scored, stage, final_k) for stage in range(2)]
    expected = best_of(every_cascade(scored, costs, options, final_k))
    found = pareto_frontier(scored, costs, kinds=kind, final_k=final_k)
    assert found.exhaustive
    worthy = [p for p in found if p.quality > 0]  # thresholds above all that is relevant are not looked at
    agree(worthy, [point for point in expected if point[0] > 0])


@pytest.mark.parametrize("goal", [{"at_least": 0.0}, {"budget": 1e9}])
@pytest.mark.parametrize("final_k", [2, None, 50])
def test_of_one_stage_there_is_one_plan(goal: dict[str, float], final_k: int | None) -> None:
    scored, costs = random_scored(3, 6, 9, 1), random_costs(3, 1)
    (only,) = pareto_frontier(scored, costs, final_k=final_k)
    found = plan(scored, costs, final_k=final_k, **goal)
    assert (found.stages, found.rules) == (only.stages, only.rules) == ((0,), only.rules)
    assert found.quality == pytest.approx(only.quality)
    assert found.cost == pytest.approx(costs.scratch[0] * scored.sizes.mean())


def test_last_any_also_ends_at_earlier_rates() -> None:
    scored, costs = random_scored(5, 5, 6, 3), random_costs(5, 3)
    options = [every_rule("top_k", scored, stage, 2) for stage in range(2)]
    expected = best_of(every_cascade(scored, costs, options, 2, ends=[0, 1, 2]))
    found = pareto_frontier(scored, costs, final_k=2, last="any")
    agree(found, expected)
    assert found.plans[0].stages == (0,)


@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.floats(0.05, 1.0))
@settings(max_examples=25, deadline=None)
def test_goals_give_the_point_of_the_frontier(seed: int, kind: Kind, share: float) -> None:
    scored, costs = random_scored(seed, 4, 6, 3), random_costs(seed, 3)
    whole = pareto_frontier(scored, costs, kinds=kind, final_k=2)
    floor = share * whole.plans[-1].quality
    cheapest = plan(scored, costs, at_least=floor, kinds=kind, final_k=2)
    expected = next(p for p in whole if p.quality >= floor - 1e-9)
    assert (cheapest.quality, cheapest.cost) == pytest.approx((expected.quality, expected.cost))
    low, high = whole.plans[0].cost, whole.plans[-1].cost
    budget = low + share * (high - low)
    best = plan(scored, costs, budget=budget, kinds=kind, final_k=2)
    expected = [p for p in whole if p.cost <= budget * (1 + 1e-9)][-1]
    assert (best.quality, best.cost) == pytest.approx((expected.quality, expected.cost))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reuse", [True, False])
def test_the_engine_gives_the_predicted_recall_and_cost(
    kind: Kind, reuse: bool, column_scorer: Callable[[Sequence[str]], CallableScorer]
) -> None:
    scored = random_scored(11, 40, 12, 4, ties=True)
    costs = random_costs(11, 4) if reuse else StageCosts(random_costs(11, 4).scratch)
    frame = pl.DataFrame({"qid": scored.qids, "docid": scored.docids, "label": scored.relevant})
    frame = frame.with_columns(pl.Series(f"s{k}", scored.scores[k]) for k in range(4)).sample(
        fraction=1.0, shuffle=True, seed=1
    )
    everything = score_all(column_scorer([f"s{k}" for k in range(4)]), frame)
    assert Scored.of(everything).fingerprint() == scored.fingerprint()
    for planned in pareto_frontier(scored, costs, kinds=kind, final_k=3, levels=4):
        scorer = SubsetScorer(Costed(column_scorer([f"s{k}" for k in range(4)]), costs), planned.stages)
        result = Cascade(scorer, planned.rules).run(frame)
        by_query = recall_by_query(result.frame, result.frame["kept"], relevant_pairs(frame))
        assert planned.quality == pytest.approx(by_query["recall"].mean(), abs=1e-12)
        assert planned.cost * frame["qid"].n_unique() == pytest.approx(flops_total(result), rel=1e-12)
        values, spent = evaluate_plan(planned, scored, costs)
        assert values[~np.isnan(values)].tolist() == by_query["recall"].to_list()
        assert spent.mean() == pytest.approx(planned.cost, rel=1e-12)


class Costed:
    """A scorer that says what the stage costs after the one scored last."""

    def __init__(self, scorer: CallableScorer, costs: StageCosts) -> None:
        self.scorer, self.costs = scorer, costs
        self.stages = tuple(StageInfo(None, 0, flops) for flops in costs.scratch)
        self.params_held = 0

    def start(self, candidates: pl.DataFrame) -> "CostedSession":
        return CostedSession(self.scorer.start(candidates), self.costs)


class CostedSession:
    def __init__(self, session: Session, costs: StageCosts) -> None:
        self.session, self.costs, self.before = session, costs, -1

    def score(self, stage: int) -> StageScores:
        flops = self.costs.of(self.before, stage)
        self.before = stage
        return StageScores(self.session.score(stage).values, flops, "fresh")

    def keep(self, survivors: np.ndarray) -> None:
        self.session.keep(survivors)


@pytest.mark.parametrize("goal", ["at_least", "budget"])
def test_never_worse_than_a_grid_search(goal: str) -> None:
    """Four rates, 20 queries of up to 30: 6 cutoffs per stage, which the planner does not know."""
    scored, costs = random_scored(3, 20, 30, 4, density=0.1), random_costs(3, 4)
    grid = [TopK(k) for k in (28, 21, 17, 13, 9, 5)]
    whole = pareto_frontier(scored, costs, options=[grid] * 3, final_k=5)
    for rival in whole.plans[:: max(1, len(whole) // 3)]:
        if goal == "at_least":
            assert plan(scored, costs, at_least=rival.quality, final_k=5).cost <= rival.cost + 1e-9
        else:
            assert plan(scored, costs, budget=rival.cost, final_k=5).quality >= rival.quality - 1e-9


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_survivors_few_and_many_are_ranked_by_query_score_and_docid(share: float) -> None:
    scored = random_scored(8, 30, 160, 2, ties=True)
    search = Search(scored, random_costs(8, 2), quality_of(scored, "recall", "query", 1))
    rng = np.random.default_rng(0)
    alive = rng.permutation(len(scored.qids))[: round(share * len(scored.qids))]
    expected = sorted(alive.tolist(), key=lambda i: (scored.qids[i], -scored.scores[1][i], scored.docids[i]))
    assert search.ranked(1, alive).tolist() == expected


def test_a_plan_from_few_levels_is_improved_from_the_full_set() -> None:
    scored, costs = random_scored(9, 30, 60, 3, density=0.1), random_costs(9, 3)
    thin = pareto_frontier(scored, costs, final_k=5, levels=4)
    wanted = 0.8 * thin.plans[-1].quality
    rough = next(p for p in thin if p.quality >= wanted)
    full = plan(scored, costs, at_least=wanted, final_k=5)
    found = plan(scored, costs, at_least=wanted, final_k=5, levels=4)
    assert full.cost <= found.cost < rough.cost


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6))))
def test_archive_keeps_what_no_other_beats(points: list[tuple[int, int]]) -> None:
    archive = Archive()
    for value, cost in points:
        archive.add(value, cost, ())
    assert list(zip(archive.values, archive.costs, strict=True)) == best_of(points)


def test_work_runs_out_and_the_plan_is_still_no_worse_than_its_thinned_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    scored, costs = random_scored(4, 30, 60, 4, density=0.1), random_costs(4, 4)
    free = plan(scored, costs, at_least=0.6, final_k=5)
    monkeypatch.setattr(planner, "WORK", 150 * 20_000)
    short = pareto_frontier(scored, costs, final_k=5)
    assert not short.exhaustive
    assert short.states < 200
    rival = next(p for p in pareto_frontier(scored, costs, final_k=5, levels=4) if p.quality >= 0.6)
    found = plan(scored, costs, at_least=0.6, final_k=5)
    assert found.quality >= 0.6
    assert free.cost <= found.cost <= rival.cost


def test_pooled_recall_weighs_relevant_candidates_alike() -> None:
    """Query 0 keeps 1 of its 3 relevant, query 1 its only one: pooled 2/4, by query (1/3 + 1) / 2."""
    scored = Scored(np.array([0, 0, 0, 1]), np.arange(4), np.ones(4), np.arange(4.0)[None])
    costs = StageCosts((1.0,))
    pooled, mean = (pareto_frontier(scored, costs, final_k=1, average=a).plans[0] for a in ("pooled", "query"))
    assert (pooled.quality, mean.quality) == (pytest.approx(2 / 4), pytest.approx((1 / 3 + 1) / 2))


def test_a_wider_early_cutoff_can_lose_recall_and_the_search_knows() -> None:
    """The relevant candidate 0 is second at stage 0. With k = 2 it wins stage 1; with k = 3 candidate 2 does."""
    scores = np.array([[3.0, 4, 2, 1], [3.0, 1, 4, 0]])
    scored = Scored(np.zeros(4, int), np.arange(4), np.array([1, 0, 0, 0]), scores)
    found = pareto_frontier(scored, StageCosts((1.0, 1.0)), final_k=1)
    assert [(p.quality, p.cost) for p in found] == [(0.0, 4.0), (1.0, 6.0)]
    assert found.plans[-1].rules == (TopK(2), TopK(1))


def test_frame_has_a_row_per_plan() -> None:
    scored, costs = random_scored(1, 5, 6, 3), random_costs(1, 3)
    found = pareto_frontier(scored, costs, final_k=2)
    frame = found.frame()
    assert frame.columns == ["recall", "cost", "unit", "stages", "cutoffs"]
    assert frame["cost"].to_list() == sorted(frame["cost"].to_list())
    assert frame["recall"].is_sorted()
    last = found.plans[-1]
    assert frame["stages"][-1] == " ".join(map(str, last.stages))
    assert frame["cutoffs"][-1].split("; ")[-1] == "top 2"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"at_least": 0.5, "budget": 1.0}, "give one of at_least and budget"),
        ({}, "give one of at_least and budget"),
        ({"at_least": 1.5}, r"at_least must be in \[0, 1\], got 1.5"),
        ({"budget": 0.0}, "budget must be a finite cost"),
        ({"budget": 1e-6}, "no cascade costs as little as 1e-06 steps per query: the cheapest"),
        ({"at_least": 1.0, "final_k": 1}, "no cascade reaches a recall of 1.0: the best over these cutoffs has"),
        ({"at_least": 0.5, "kinds": "rank"}, "a kind of cutoff must be one of top_k, share, score, got 'rank'"),
        ({"at_least": 0.5, "kinds": ["top_k"]}, "kinds must be one for all, or one for each of the 2"),
        ({"at_least": 0.5, "final_k": 0}, "final_k must be a whole number of at least 1"),
        ({"at_least": 0.5, "metric": "map"}, "metric must be 'recall' or 'ndcg', got 'map'"),
        ({"at_least": 0.5, "metric": "ndcg", "average": "pooled"}, "average must be 'query'"),
        ({"at_least": 0.5, "last": "none"}, "last must be 'full' or 'any'"),
        ({"at_least": 0.5, "levels": 0}, "levels must be a whole number"),
        (
            {"at_least": 0.5, "options": [[TopK(1)], []], "final_k": 2},
            "an option of stage 0 is k=1, below the final k=2",
        ),
        ({"at_least": 0.5, "options": [[TopK(1)]]}, "options must be one list of rules for each of the 2"),
        ({"at_least": 0.5, "options": [[3], []]}, "options of stage 0 must be keep rules"),
        (
            {"at_least": 0.5, "options": [[], [TopKColumn("k", 3)]]},
            r"an option of stage 1 reads the column 'k' query by query: TopKColumn\(.*; plan with TopK or TopShare",
        ),
        ({"at_least": 0.5, "options": [[], []], "levels": 3}, "give levels or options, got both"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change: dict[str, Any], text: str) -> None:
    scored, costs = random_scored(1, 5, 6, 3), random_costs(1, 3)
    with pytest.raises(CascadeError, match=text) as error:
        plan(scored, costs, **change)
    assert "\n" not in str(error.value)


def test_costs_must_fit_the_scores_and_be_costs() -> None:
    scored = random_scored(1, 5, 6, 3)
    for make, text in [
        (lambda: plan(scored, StageCosts((1.0,)), at_least=0.1), "costs must be one per stage, got 1 for 3"),
        (lambda: StageCosts(()), "at least one"),
        (lambda: StageCosts((1.0, -1.0)), "finite and at least 0"),
        (lambda: StageCosts((1.0, 2.0), ((0.0, float("nan")), (0.0, 0.0))), "finite and at least 0"),
        (lambda: StageCosts((1.0, 2.0), ((1.0,),)), r"shape \(2, 2\)"),
        (lambda: StageCosts(("a",)), "must be numbers"),
        (lambda: StageCosts((1.0,), unit=" "), "unit must be a name"),
    ]:
        with pytest.raises(CascadeError, match=text):
            make()


def test_stage_costs_follow_the_path() -> None:
    nan = float("nan")
    costs = StageCosts((1.0, 4.0, 9.0), ((nan, 3.0, 8.0), (nan, nan, 5.0), (nan, nan, nan)))
    assert costs.path((0, 1, 2)) == (1.0, 3.0, 5.0)
    assert costs.path((1, 2)) == (4.0, 5.0)
    assert StageCosts((1.0, 4.0)).path((0, 1)) == (1.0, 4.0)


def test_scored_refuses_what_is_not_scores() -> None:
    ids, labels = np.array([1, 1]), np.array([0.0, 1.0])
    good = np.zeros((2, 2))
    for arguments, text in [
        ((ids, ids, labels, good), "candidates must be unique within a query"),
        ((ids, np.array([1, 2]), labels, np.zeros((2, 3))), r"scores of shape \(stages, n\)"),
        ((ids, np.array([1, 2]), labels, np.array([[0.0, np.nan]])), "got nan for query 1, candidate 2"),
        ((ids, np.array([1, 2]), np.array(["a", "b"]), good), "must be numeric"),
        ((ids[:0], ids[:0], labels[:0], np.zeros((2, 0))), "at least one candidate"),
    ]:
        with pytest.raises(CascadeError, match=text):
            Scored(*arguments)
    with pytest.raises(CascadeError, match="planning needs relevant candidates, got none among 2"):
        plan(Scored(ids, np.array([1, 2]), labels * 0, good), StageCosts((1.0, 2.0)), at_least=0.5)


def test_scored_does_not_depend_on_the_order_of_the_rows() -> None:
    scored = random_scored(2, 6, 5, 2)
    order = np.random.default_rng(0).permutation(len(scored.qids))
    other = Scored(
        scored.qids[order].astype(str), scored.docids[order], scored.relevant[order] == 1, scored.scores[:, order]
    )
    assert other.sizes.tolist() == scored.sizes.tolist()
    assert np.array_equal(other.scores, scored.scores)
    assert np.array_equal(other.is_relevant, scored.is_relevant)
    taken = scored.take(np.array([4, 1]))
    assert sorted(set(taken.qids.tolist())) == [1, 4]
    assert taken.fingerprint() != scored.fingerprint()


@pytest.mark.slow
def test_five_rates_over_100_000_candidates_in_under_five_seconds() -> None:
    rng = np.random.default_rng(0)
    n = 100_000
    relevant = rng.random(n) < 0.05
    noise = np.array([2.0, 1.6, 1.3, 1.1, 1.0])[:, None] * rng.standard_normal((5, n))
    scored = Scored(np.repeat(np.arange(1000), 100), np.tile(np.arange(100), 1000), relevant, 3.0 * relevant + noise)
    costs = StageCosts((1.0, 4.0, 16.0, 32.0, 64.0))
    began = process_time()
    found = plan(scored, costs, at_least=0.9)
    assert process_time() - began < 10  # 3.3 s on an idle 2020s core; the rest is for busy ones
    assert found.quality >= 0.9

"""A query's budget scales the cutoffs as far as it pays: against a search in fractions, and by what a run costs."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cascade.budget import BudgetColumn, within_budget
from cascade.callables import CallableScorer
from cascade.errors import CascadeError
from cascade.frontier import describe
from cascade.keep import KeepAll, KeepRule, Ranking, ScoreAtLeast, ScoreDrop, TopK, TopKColumn, TopShare
from cascade.pipeline import Cascade
from cascade.scorer import StageInfo

Make = Callable[[Sequence[str]], CallableScorer]


def reference(cutoffs: Sequence[int], n: int, costs: Sequence[int], once: Sequence[int], budget: int) -> list[int]:
    """The cutoffs at the largest scale that pays, among all the scales at which one of them takes another value."""

    cutoffs = [min(cutoff, n) for cutoff in cutoffs]

    def at(scale: Fraction) -> list[int]:
        counts, before = [], n
        for cutoff in cutoffs:
            before = min(before, ceil(scale * cutoff))
            counts.append(before)
        return counts

    scales = {Fraction(0), *(Fraction(kept, cutoff) for cutoff in cutoffs for kept in range(1, n + 1))}
    for scale in sorted(scales, reverse=True):
        counts = at(scale)
        if sum(c * m + (d if m else 0) for c, d, m in zip(costs, once, [n, *counts], strict=True)) <= budget:
            return counts
    raise AssertionError("the first stage alone costs more")


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[tuple[int, int]]]:
    """Falling cutoffs, each stage's cost per candidate and per query, and queries as (candidates, budget)."""
    stages = draw(st.integers(2, 4))
    cutoffs = sorted(draw(st.lists(st.integers(1, 40), min_size=stages - 1, max_size=stages - 1)), reverse=True)
    costs = draw(st.lists(st.integers(1, 50), min_size=stages, max_size=stages))
    once = draw(st.lists(st.integers(0, 90), min_size=stages, max_size=stages))
    queries = []
    for n in draw(st.lists(st.integers(1, 60), min_size=1, max_size=4)):
        spare = draw(st.integers(0, n * sum(costs[1:]) + sum(once[1:]) + 3))
        queries.append((n, once[0] + n * costs[0] + spare))
    return cutoffs, costs, once, queries


@settings(max_examples=300, deadline=None)
@given(problems())
@example(
    ([30, 6, 1], [1, 5, 1, 1], [0, 0, 0, 0], [(30, 63)])
)  # two cutoffs step at the same scale, which no float hits
def test_the_scale_is_the_largest_that_the_budget_pays_for(
    problem: tuple[list[int], list[int], list[int], list[tuple[int, int]]],
) -> None:
    cutoffs, costs, once, queries = problem
    sizes = np.array([n for n, _ in queries])
    ranking = Ranking(np.zeros(sizes.sum()), sizes, sizes, {"budget": np.array([budget for _, budget in queries])})
    rules = within_budget([*map(TopK, cutoffs), TopK(1)], costs, "budget", once)
    found = [rule.counts(ranking).tolist() for rule in rules[:-1] if isinstance(rule, BudgetColumn)]
    expected = [reference(cutoffs, n, costs, once, budget) for n, budget in queries]
    assert [list(column) for column in zip(*found, strict=True)] == expected


def table(seed: int, budgets: Sequence[int | None], sizes: Sequence[int]) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    qids = np.repeat(np.arange(len(sizes)), sizes)
    scores = {name: rng.random(len(qids)) for name in "abc"}
    frame = pl.DataFrame({"qid": qids, "docid": np.arange(len(qids)), **scores})
    values = [budgets[qid] for qid in qids]
    return frame.with_columns(pl.Series("budget", values, dtype=pl.Int64)).sample(fraction=1.0, shuffle=True, seed=seed)


RULES: tuple[KeepRule, ...] = (TopShare(0.6), TopK(4), TopK(2))
PRICES = (1.0, 3.0, 10.0)


def spent(result: pl.DataFrame) -> dict[int, float]:
    """What each query cost: every stage up to a candidate's last is paid."""
    each = pl.col("stage").replace_strict({0: 1.0, 1: 4.0, 2: 14.0}, return_dtype=pl.Float64)
    return dict(result.group_by("qid").agg(each.sum()).rows())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 99), st.lists(st.tuples(st.integers(1, 12), st.none() | st.integers(0, 150)), min_size=1))
def test_a_run_never_costs_more_and_a_null_keeps_to_the_plan(seed: int, queries: list[tuple[int, int | None]]) -> None:
    sizes = [n for n, _ in queries]
    budgets = [None if extra is None else n + extra for n, extra in queries]
    frame = table(seed, budgets, sizes)

    def read(name: str) -> Callable[[pl.DataFrame], np.ndarray]:
        return lambda part: part[name].to_numpy()

    scorer = CallableScorer([read(name) for name in "abc"], [StageInfo(None, 0, cost) for cost in PRICES])
    result = Cascade(scorer, within_budget(RULES, PRICES, "budget")).run(frame, batch=20).frame
    plain = Cascade(scorer, RULES).run(frame).frame
    own, planned = spent(result), spent(plain)
    for qid, budget in enumerate(budgets):
        one, other = (run.filter(pl.col("qid") == qid) for run in (result, plain))
        if budget is None or budget == planned[qid]:
            assert one.equals(other)
        else:
            assert own[qid] <= budget
            assert own[qid] >= planned[qid] or budget < planned[qid]
        assert one["kept"].any() == (budget is None or budget >= sizes[qid] + 13)


def test_a_budget_that_does_not_pay_for_the_first_stage_is_refused(column_scorer: Make) -> None:
    cascade = Cascade(column_scorer("abc"), within_budget(RULES, (2.5, 3.0, 10.0), "budget"))
    cascade.validate(table(0, [10, None], [4, 3]))
    with pytest.raises(CascadeError, match=r"'budget' must hold .* at least 10 for 4 candidates, got 9 for query 1"):
        cascade.validate(table(0, [None, 9], [3, 4]))
    mixed = table(0, [20, 20], [4, 3]).with_columns(budget=pl.col("docid") + 20)
    with pytest.raises(CascadeError, match="must be the same for all candidates"):
        cascade.validate(mixed)


def test_a_cutoff_column_is_scaled_too(column_scorer: Make) -> None:
    frame = table(0, [8 + 3 * 3 + 10 * 2, None], [8, 8]).with_columns(k=pl.lit(6))
    rules = within_budget([TopKColumn("k"), TopK(3), TopK(2)], (1.0, 3.0, 10.0), "budget")
    result = Cascade(column_scorer("abc"), rules).run(frame).frame
    kept = {qid: part.group_by("stage").len().sort("stage")["len"].to_list() for (qid,), part in result.group_by("qid")}
    assert kept == {0: [5, 1, 2], 1: [2, 3, 3]}  # a half of 6 and of 3, rounded up, and all of them
    with pytest.raises(CascadeError, match="got None for query"):
        Cascade(column_scorer("abc"), rules).validate(frame.with_columns(k=pl.lit(None, pl.Int64)))


@pytest.mark.parametrize(
    ("rules", "costs", "text"),
    [
        ([TopK(3)], [1.0], "this cascade has one stage"),
        ([ScoreAtLeast(0.5), TopK(3)], [1.0, 2.0], r"stage 0 has ScoreAtLeast\(threshold=0.5\); plan with cutoffs of"),
        ([KeepAll(), ScoreDrop(1.0), TopK(3)], [1.0, 2.0, 3.0], "stage 1 has ScoreDrop"),
        ([TopK(3), TopK(3)], [1.0], "a finite cost for each of the 2 stages"),
        ([TopK(3), TopK(3)], [0.0, 1.0], "above 0 for the first"),
        ([TopKColumn("budget"), TopK(3)], [1.0, 2.0], "'budget' can be a budget or a cutoff, got it as both"),
    ],
)
def test_what_a_budget_can_not_scale_is_refused(rules: list[KeepRule], costs: list[float], text: str) -> None:
    with pytest.raises(CascadeError, match=text) as error:
        within_budget(rules, costs, "budget")
    assert "\n" not in str(error.value)


def test_rules_are_described_in_few_words() -> None:
    words = [describe(rule) for rule in within_budget([KeepAll(), TopKColumn("k", 3), TopK(2)], [1, 1, 1], "budget")]
    assert words == ["share 1.0 within 'budget'", "top 'k', else 3 within 'budget'", "top 2"]

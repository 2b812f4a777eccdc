import numpy as np
import pytest

from cascade.bounds import P_VALUES, Bound
from cascade.errors import CascadeError
from cascade.keep import TopK
from cascade.plan_cost import StageCosts
from cascade.planner import evaluate_plan
from cascade.promise import PromiseError, promise
from cascade.promise_splits import promise_holds
from cascade.scored import Scored

COSTS = StageCosts((1.0, 4.0, 16.0))


def population(seed: int, queries: int, separation: float = 4.0) -> Scored:
    """Queries drawn from one distribution: 12 candidates each, noise falling with the rate; the first is relevant."""
    rng = np.random.default_rng(seed)
    n = queries * 12
    relevant = rng.random(n) < 0.1
    relevant[::12] = True
    scores = separation * relevant + np.array([[1.8], [1.3], [1.0]]) * rng.standard_normal((3, n))
    return Scored(np.repeat(np.arange(queries), 12), np.tile(np.arange(12), queries), relevant, scores)


def test_a_promise_says_what_it_rests_on() -> None:
    scored = population(0, 600)
    made = promise(scored, COSTS, 0.95, 0.9, final_k=4)
    assert (made.recall, made.confidence, made.queries) == (0.95, 0.9, 300)
    assert "Learn then Test" in made.theorem
    assert made.p_value <= 1 - 0.9
    assert made.tested >= 0.95
    assert made.fingerprint == scored.fingerprint()
    by_query, cost = evaluate_plan(made.plan, scored, COSTS)
    assert (made.plan.quality, made.plan.cost) == (np.nanmean(by_query), cost.mean())
    assert made.plan.cost < 12 * 16.0  # cheaper than scoring everything with the last rate
    assert made.plan.rules[-1] == TopK(4)
    assert promise(scored, COSTS, 0.95, 0.9, final_k=4) == made


def test_more_confidence_costs_more() -> None:
    scored = population(1, 800)
    costs = [promise(scored, COSTS, 0.95, c, final_k=4).plan.cost for c in (0.5, 0.9, 0.999)]
    assert costs == sorted(costs)
    assert costs[0] < costs[-1]


@pytest.mark.parametrize("bound", list(P_VALUES))
def test_promises_hold_on_fresh_queries(bound: Bound) -> None:
    scored = population(2, 3000)
    held = promise_holds(scored, COSTS, 0.95, 0.9, splits=25, validation=0.15, final_k=4, bound=bound, levels=4)
    assert (held.splits, held.refused, len(held.recalls)) == (25, 0, 25)
    assert held.held is not None
    assert held.held >= 0.9
    assert min(held.costs) < 12 * 16.0


@pytest.mark.slow
@pytest.mark.parametrize("bound", list(P_VALUES))
def test_promises_hold_in_200_splits(bound: Bound) -> None:
    scored = population(3, 10_000)
    held = promise_holds(scored, COSTS, 0.95, 0.9, splits=200, validation=0.06, final_k=4, bound=bound)
    assert held.refused == 0
    assert held.held is not None
    assert held.held >= 0.9


def test_where_the_truth_is_at_the_edge_it_breaks_no_more_often_than_stated() -> None:
    """Fresh populations: the promise is about the draw of validation, so each draw is a new one."""
    truth = population(5, 10_000)
    broken = made = 0
    for seed in range(40):
        try:
            found = promise(population(100 + seed, 250), COSTS, 0.93, 0.8, final_k=3, levels=4)
        except PromiseError:
            continue
        made += 1
        broken += np.nanmean(evaluate_plan(found.plan, truth, COSTS)[0]) < 0.93
    assert made >= 20
    assert broken <= 40 * 0.2 + 3 * (40 * 0.2 * 0.8) ** 0.5  # three standard errors


def test_too_few_queries_are_refused_with_the_number_needed() -> None:
    with pytest.raises(PromiseError, match="from 100 queries with something relevant: even if none") as error:
        promise(population(0, 100), COSTS, 0.98, 0.95, final_k=None)
    needed = error.value.needed
    assert needed is not None
    assert f"it takes {needed} " in str(error.value)
    with pytest.raises(PromiseError):
        promise(population(0, needed - 2), COSTS, 0.98, 0.95, final_k=None)
    assert promise(population(0, needed + 2, separation=50.0), COSTS, 0.98, 0.95, final_k=None).tested == 1.0


def test_a_recall_that_is_not_there_is_refused_for_good() -> None:
    with pytest.raises(PromiseError, match="no number of queries would do") as error:
        promise(population(0, 800, separation=0.5), COSTS, 0.95, final_k=1)
    assert error.value.needed is None
    assert "\n" not in str(error.value)


def test_a_recall_that_is_almost_there_is_refused_with_an_estimate() -> None:
    scored = population(0, 6000)
    with pytest.raises(PromiseError, match=r"about \d+ queries") as error:
        promise(scored.take(np.arange(500)), COSTS, 0.985, final_k=4)
    needed = error.value.needed
    assert needed is not None
    assert 500 < needed < 6000
    assert promise(scored, COSTS, 0.985, final_k=4).recall == 0.985


def test_queries_without_anything_relevant_do_not_count() -> None:
    scored = population(0, 400)
    labels = np.where(scored.query < 200, scored.relevant, 0.0)
    bare = Scored(scored.qids, scored.docids, labels, scored.scores)
    assert promise(bare, COSTS, 0.9, 0.9, final_k=4).queries == 100


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"recall": 1.0}, r"recall must be in \(0, 1\), got 1.0"),
        ({"confidence": 0.0}, r"confidence must be in \(0, 1\), got 0.0"),
        ({"tune": 1.0}, r"tune must be in \(0, 1\)"),
        ({"bound": "normal"}, "bound must be one of betting, hoeffding-bentkus, got 'normal'"),
        ({"steps": 0}, "steps must be a whole number"),
    ],
)
def test_what_is_no_promise_is_refused(change: dict[str, object], text: str) -> None:
    with pytest.raises(CascadeError, match=text):
        promise(population(0, 50), COSTS, **change)  # type: ignore[arg-type]
    if "tune" not in change and "steps" not in change:
        with pytest.raises(CascadeError, match=text):
            promise_holds(population(0, 50), COSTS, splits=1, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("change", [{"splits": 0}, {"validation": 0.0}, {"validation": 0.001}])
def test_what_is_no_split_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(CascadeError):
        promise_holds(population(0, 50), COSTS, **change)  # type: ignore[arg-type]

"""A recall that holds on fresh queries: the cheapest cascade of which it can be promised, or a refusal.

The theorem: Learn then Test (Angelopoulos, Bates, Candes, Jordan and Lei 2021, theorem 1) with fixed-sequence
testing. Half of the validation queries choose a sequence of cascades, from the most generous down. The other
half tests them in that order: of each, the hypothesis that its expected recall on fresh queries is below the
promised one, at level 1 - confidence. The first that can't be rejected ends it, and the last rejected is chosen.
For a chosen cascade to break the promise, the first true hypothesis of the sequence must have been rejected, and
the chance of that is at most 1 - confidence, whatever the distribution of queries and scores and whatever the
first half made of them.

What it needs: queries that are independent draws from one distribution, the fresh ones too. A drift is not covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from cascade.bounds import P_VALUES, SOURCES, Bound, queries_needed
from cascade.cutoffs import Kind
from cascade.errors import CascadeError
from cascade.frontier import Plan
from cascade.numbers import check_seed
from cascade.plan_cost import StageCosts
from cascade.planner import evaluate_plan, pareto_frontier
from cascade.scored import Scored


class PromiseError(CascadeError):
    """A recall that can't be promised. needed: validation queries with something relevant that would be; None
    where no number would, as far as can be told."""

    def __init__(self, text: str, needed: int | None) -> None:
        super().__init__(text)
        self.needed = needed


@dataclass(frozen=True)
class Promise:
    """A plan with its guarantee.

    plan: with recall and cost as measured on all of validation. recall: the promised mean over queries.
    confidence: that it holds, over the draw of validation. theorem: by which it holds. p_value: of the test
    that chose it. tested: mean recall on the testing half. queries: of it (those with something relevant).
    fingerprint: of the validation scores.
    """

    plan: Plan
    recall: float
    confidence: float
    theorem: str
    p_value: float
    tested: float
    queries: int
    fingerprint: str


def promise(
    scored: Scored,
    costs: StageCosts,
    recall: float = 0.98,
    confidence: float = 0.95,
    *,
    kinds: Kind | Sequence[Kind] = "top_k",
    final_k: int | None = 10,
    bound: Bound = "betting",
    tune: float = 0.5,
    steps: int = 100,
    levels: int | None = None,
    seed: int = 0,
) -> Promise:
    """The cheapest cascade whose expected recall on fresh queries is at least `recall`, with `confidence`.

    Recall is the mean over queries that have a relevant candidate, of the share of their relevant candidates
    in the final kept set. See this module for the theorem.

    recall, confidence: in (0, 1). final_k: None keeps all that reach the last stage, which makes recall that
    of the filters alone. bound: see `cascade.bounds`; betting pays where most queries lose nothing.
    tune: share of the queries that choose the sequence, in (0, 1); the rest tests. steps: cascades in the
    sequence at most, at least 1. levels: see `pareto_frontier`. seed: of the split.

    Raises PromiseError (a CascadeError) where it can't be promised, saying why, and how many queries it would take.
    """
    check_promise(recall, confidence, bound, tune, steps)
    check_seed(seed)
    counting = np.flatnonzero(scored.relevant_by_query > 0)
    alpha, delta = 1 - recall, 1 - confidence
    least = queries_needed(np.zeros(1), alpha, delta, bound)
    assert least is not None
    testing = len(counting) - ceil(tune * len(counting))
    if testing < least or len(counting) < 2:
        raise _too_few(len(counting), least, recall, confidence, tune)
    order = np.random.default_rng(seed).permutation(counting)
    chosen_on, tested_on = scored.take(order[testing:]), scored.take(order[:testing])
    found = pareto_frontier(chosen_on, costs, kinds=kinds, final_k=final_k, levels=levels).plans[::-1]
    sequence = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(steps, len(found))).astype(int))]
    test, passed, losses = P_VALUES[bound], None, np.zeros(0)
    for candidate in sequence:
        losses = _losses(candidate, tested_on, costs)
        p_value = test(losses, alpha)
        if p_value > delta:
            break
        passed = candidate, p_value, float(1 - losses.mean())
    if passed is None:
        raise _refused(losses, recall, confidence, bound, tune)
    winner, p_value, tested = passed
    by_query, cost = evaluate_plan(winner, scored, costs)
    measured = Plan(
        winner.stages, winner.rules, float(np.nanmean(by_query)), float(cost.mean()), "recall", "query", costs.unit
    )
    theorem = f"Learn then Test, fixed-sequence testing (Angelopoulos et al. 2021), with {SOURCES[bound]}"
    return Promise(measured, recall, confidence, theorem, p_value, tested, testing, scored.fingerprint())


def _losses(plan: Plan, scored: Scored, costs: StageCosts) -> NDArray[np.float64]:
    by_query, _ = evaluate_plan(plan, scored, costs)
    return np.clip(1 - by_query, 0.0, 1.0)


def check_promise(
    recall: float, confidence: float, bound: str = "betting", tune: float = 0.5, steps: int = 100
) -> None:
    """Refuse, with a CascadeError, what :func:`promise` can't be asked for."""
    for name, value in (("recall", recall), ("confidence", confidence), ("tune", tune)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise CascadeError(f"{name} must be in (0, 1), got {value!r}; certainty can't be promised")
    if bound not in P_VALUES:
        raise CascadeError(f"bound must be one of {', '.join(P_VALUES)}, got {bound!r}; change it")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise CascadeError(f"steps must be a whole number of at least 1, got {steps!r}; 100 is usual")


def _too_few(have: int, least: int, recall: float, confidence: float, tune: float) -> PromiseError:
    needed = _in_all(least, tune)
    return PromiseError(
        f"a recall of {recall} can't be promised with confidence {confidence} from {have} queries with something "
        f"relevant: even if none of them lost anything it takes {needed} ({least} to test, the rest to choose); "
        f"add queries, or promise less",
        needed,
    )


def _refused(losses: NDArray[np.float64], recall: float, confidence: float, bound: Bound, tune: float) -> PromiseError:
    mean = 1 - float(losses.mean())
    enough = queries_needed(losses, 1 - recall, 1 - confidence, bound)
    text = (
        f"a recall of {recall} can't be promised with confidence {confidence}: the most generous cascade has "
        f"{mean:.4f} on the {len(losses)} queries that test it"
    )
    if enough is None:
        return PromiseError(f"{text}, so no number of queries would do; promise less, or raise the final k", None)
    needed = _in_all(enough, tune)
    return PromiseError(f"{text}; about {needed} queries with something relevant would do; add some", needed)


def _in_all(testing: int, tune: float) -> int:
    """Least number of queries of which so many are left for testing."""
    n = testing
    while n - ceil(tune * n) < testing:
        n += max(1, testing - (n - ceil(tune * n)))
    return n

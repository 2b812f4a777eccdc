"""Whether promises hold: made on one part of the queries and looked up on the rest, over many random splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade.bounds import Bound
from cascade.cutoffs import Kind
from cascade.errors import CascadeError
from cascade.frontier import Plan
from cascade.numbers import check_seed
from cascade.pipeline import Progress
from cascade.plan_cost import StageCosts
from cascade.planner import evaluate_plan, pareto_frontier
from cascade.promise import PromiseError, promise
from cascade.scored import Scored


@dataclass(frozen=True)
class OnFresh:
    """A plan, and on the queries it has not seen its mean recall, in [0, 1], and its mean cost per query."""

    plan: Plan
    recall: float
    cost: float


@dataclass(frozen=True)
class Split:
    """What came of one split.

    fresh: indices of the queries left out. promised: the cascade with a promise; None where it was refused. planned:
    the cheapest cascade that reaches the recall on the first part, without a promise; None where none does.
    """

    fresh: NDArray[np.int64]
    promised: OnFresh | None
    planned: OnFresh | None


@dataclass(frozen=True)
class Held:
    """What came of promises of one recall made on many random splits."""

    recall: float
    outcomes: tuple[Split, ...]

    @property
    def splits(self) -> int:
        """How many there were."""
        return len(self.outcomes)

    @property
    def made(self) -> tuple[OnFresh, ...]:
        """The promises."""
        return tuple(each.promised for each in self.outcomes if each.promised is not None)

    @property
    def planned(self) -> tuple[OnFresh, ...]:
        """The plans without one."""
        return tuple(each.planned for each in self.outcomes if each.planned is not None)

    @property
    def refused(self) -> int:
        """On how many splits no promise was made."""
        return self.splits - len(self.made)

    @property
    def held(self) -> float | None:
        """Share of the promises that held; None when all were refused."""
        return share_reached(self.made, self.recall)

    @property
    def recalls(self) -> tuple[float, ...]:
        """Of the promised cascades on the queries left out."""
        return tuple(each.recall for each in self.made)

    @property
    def costs(self) -> tuple[float, ...]:
        """Of the promised cascades on the queries left out."""
        return tuple(each.cost for each in self.made)


def share_reached(cascades: Sequence[OnFresh], recall: float) -> float | None:
    """Share of the cascades whose mean recall on the queries left out is at least `recall`; None for none."""
    return float(np.mean([each.recall >= recall - 1e-12 for each in cascades])) if cascades else None


def promise_holds(
    scored: Scored,
    costs: StageCosts,
    recall: float = 0.98,
    confidence: float = 0.95,
    *,
    splits: int = 200,
    validation: float = 0.5,
    seed: int = 0,
    kinds: Kind | Sequence[Kind] = "top_k",
    final_k: int | None = 10,
    bound: Bound = "betting",
    levels: int | None = 8,
    progress: Progress | None = None,
) -> Held:
    """Make the promise on one part of the queries and see on the rest whether it holds; many times.

    Only queries with something relevant take part. The rest must be large to stand for the distribution: the mean on it
    has noise of its own, which counts against the promise. validation: share of the queries in the first part, in
    (0, 1). splits: at least 1. progress: called after each split. The others: see `promise`; `levels` is low so that
    200 splits take minutes.

    Raises CascadeError for bad input, as `promise` does; a refusal is counted instead.
    """
    check_splits(splits, validation)
    check_seed(seed)
    counting = np.flatnonzero(scored.relevant_by_query > 0)
    first = round(validation * len(counting))
    if not 0 < first < len(counting):
        raise CascadeError(f"splitting needs at least 2 queries with something relevant, got {len(counting)}; add some")
    rng = np.random.default_rng(seed)
    outcomes = []
    for split in range(splits):
        order = rng.permutation(counting)
        part, rest = scored.take(order[:first]), scored.take(order[first:])
        try:
            promised: Plan | None = promise(
                part, costs, recall, confidence, kinds=kinds, final_k=final_k, bound=bound, levels=levels, seed=split
            ).plan
        except PromiseError:
            promised = None
        frontier = pareto_frontier(part, costs, kinds=kinds, final_k=final_k, levels=levels)
        planned = next((plan for plan in frontier if plan.quality >= recall), None)
        outcomes.append(Split(np.sort(order[first:]), *(_on(rest, costs, plan) for plan in (promised, planned))))
        if progress is not None:
            progress(split + 1, splits)
    return Held(recall, tuple(outcomes))


def check_splits(splits: int, validation: float) -> None:
    """Refuse, with a CascadeError, a number of splits or a share that is none."""
    if isinstance(splits, bool) or not isinstance(splits, int) or splits < 1:
        raise CascadeError(f"splits must be a whole number of at least 1, got {splits!r}; 200 is usual")
    if not 0 < validation < 1:
        raise CascadeError(f"validation must be a share of the queries in (0, 1), got {validation!r}; 0.5 is half")


def _on(fresh: Scored, costs: StageCosts, plan: Plan | None) -> OnFresh | None:
    if plan is None:
        return None
    by_query, cost = evaluate_plan(plan, fresh, costs)
    return OnFresh(plan, float(np.nanmean(by_query)), float(cost.mean()))

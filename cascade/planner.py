"""Which rates to use and where to cut: least cost for a recall, most recall for a cost, and the whole frontier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cascade.cutoffs import Kind, all_cutoffs, kinds_of, thinned
from cascade.errors import CascadeError
from cascade.filtering import Arrived, rank_and_filter
from cascade.frontier import Archive, Frontier, Path, Plan
from cascade.keep import KeepRule
from cascade.numbers import is_finite
from cascade.plan_cost import StageCosts
from cascade.plan_search import Search, Space, final_rule
from cascade.quality import Average, Metric, discount, quality_of
from cascade.scored import Scored

WORK = 240_000_000
"""States times candidates that one search may look at: about three seconds on a 2020s core."""

_NEAR = 5  # cutoffs per stage when a plan is refined


def pareto_frontier(
    scored: Scored,
    costs: StageCosts,
    *,
    kinds: Kind | Sequence[Kind] = "top_k",
    final_k: int | None = 10,
    metric: Metric = "recall",
    average: Average = "query",
    last: Literal["full", "any"] = "full",
    levels: int | None = None,
    options: Sequence[Sequence[KeepRule]] | None = None,
) -> Frontier:
    """The Pareto frontier of quality against mean cost per query, over subsets of stages and cutoffs.

    Exact over: every subset of the stages before the last, each with every one of its candidate cutoffs. Those
    are the ones given as `options`; else all that can matter (see `cascade.cutoffs.all_cutoffs`) while that
    takes seconds, and a thinned set of `levels` per stage where it would take longer
    (`Frontier.exhaustive` says which). A stage that filters nobody is left out, which assumes that a detour
    over another stage is no cheaper than the direct step.

    scored: n candidates, K stages. costs: of the K stages. kinds: of cutoff, one for all stages or one for
    each before the last. final_k: the last stage keeps so many; None keeps all that reach it. metric, average:
    see `cascade.quality.quality_of`. last: `full`, the last stage is always the last rate; `any`, the cascade
    may end earlier. levels: cutoffs per stage, at least 1. options: for each stage before the last, the keep
    rules it may have (an empty list: never use it), from the most generous to the tightest.

    Raises CascadeError for input that does not fit together, or where nothing is relevant.
    """
    task = _Task(scored, costs, metric, average, final_k, last)
    options, exhaustive = task.options(kinds, levels, options)
    archive = Archive()
    task.search.run(task.space(options), archive)
    return Frontier(task.plans(archive), exhaustive, task.search.states)


def plan(
    scored: Scored,
    costs: StageCosts,
    *,
    at_least: float | None = None,
    budget: float | None = None,
    kinds: Kind | Sequence[Kind] = "top_k",
    final_k: int | None = 10,
    metric: Metric = "recall",
    average: Average = "query",
    last: Literal["full", "any"] = "full",
    levels: int | None = None,
    options: Sequence[Sequence[KeepRule]] | None = None,
) -> Plan:
    """The cheapest cascade with quality `at_least`, or the best one with mean cost per query within `budget`.

    Searches exactly over finer and finer grids of cutoffs, thinned from all that can matter (see
    `cascade.cutoffs.all_cutoffs`): 4 per stage, 8, 16, ... until the grid is the full set, or the work of some
    seconds is spent; a goal prunes far more than the frontier can, so these grids get finer than the frontier's.
    Then the cutoffs around the best are searched, from the full set. So the plan is optimal over all cutoffs
    where the full set was reached (small tables, few stages), else over the last grid finished, with
    improvements from outside it. With `levels` or `options`, exactly optimal over those (and with `levels` improved
    likewise). Of plans equal in what is asked for, the better in the other.

    at_least: in [0, 1]. budget: in the unit of `costs`, above 0. Give one of the two. The rest: see `pareto_frontier`.

    Raises CascadeError when no cascade reaches the goal, naming the best there is.
    """
    goal = _Goal.of(at_least, budget)
    task = _Task(scored, costs, metric, average, final_k, last)
    archive = Archive()
    if options is None and levels is None:
        grid = task.deepened(kinds, goal, archive)
    else:
        grid, _ = task.options(kinds, levels, options)
        task.search.run(task.space(grid, goal), archive)
    if not archive.paths:
        coarse = Archive()
        task.search.run(task.space([thinned(rules, 4) if rules else [] for rules in grid]), coarse)
        raise CascadeError(goal.unreached(task.plans(coarse)))
    best = goal.pick(archive)
    if options is None:
        best = task.refined(best, goal)
    return task.plan(best[2])


def evaluate_plan(
    plan: Plan, scored: Scored, costs: StageCosts, minimum_k: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(Q,) the plan's quality on each query (NaN where nothing is relevant) and (Q,) its cost.

    Runs the engine's own filter over the scores, apart from the search. minimum_k: nDCG's cut where the last
    rule is none (a plan's own `final_k` is read off its last rule).
    """
    final_k = getattr(plan.rules[-1], "k", minimum_k)
    quality = quality_of(scored, plan.metric, "query", final_k)
    count = len(scored.sizes)
    alive = np.arange(len(scored.query))
    cost = np.zeros(count)
    place = np.zeros(0, dtype=np.int64)
    value: NDArray[np.float64]
    for stage, rule, each in zip(plan.stages, plan.rules, costs.path(plan.stages), strict=True):
        cost += each * np.bincount(scored.query[alive], minlength=count)
        stays, place = rank_and_filter(
            rule, Arrived(scored.scores[stage][alive], None, scored.query[alive], scored.sizes)
        )
        alive, place = alive[stays], place[stays]
    if quality.metric == "recall":
        kept = np.bincount(scored.query[alive[scored.is_relevant[alive]]], minlength=count)
        value = kept / np.maximum(scored.relevant_by_query, 1)
    else:
        worth = quality.weights[alive] * quality.queries.sum() * discount(place)
        value = np.bincount(scored.query[alive], worth, minlength=count).astype(np.float64)
    return np.where(quality.queries, value, np.nan), cost


@dataclass(frozen=True)
class _Goal:
    """Least cost from a floor of quality (`cheapest`), or most quality under a ceiling of cost."""

    floor: float
    ceiling: float
    cheapest: bool

    @classmethod
    def of(cls, at_least: float | None, budget: float | None) -> _Goal:
        if (at_least is None) == (budget is None):
            raise CascadeError(f"give one of at_least and budget, got at_least={at_least!r} and budget={budget!r}")
        if at_least is not None:
            if not 0 <= at_least <= 1:
                raise CascadeError(f"at_least must be in [0, 1], got {at_least!r}; 0.98 asks for 98%")
            return cls(float(at_least), np.inf, True)
        assert budget is not None
        if not (is_finite(budget) and budget > 0):
            raise CascadeError(f"budget must be a finite cost per query above 0, got {budget!r}; raise it")
        return cls(0.0, float(budget), False)

    def pick(self, archive: Archive) -> tuple[float, float, Path]:
        at = 0 if self.cheapest else -1
        return archive.values[at], archive.costs[at], archive.paths[at]

    def unreached(self, plans: Sequence[Plan]) -> str:
        if self.cheapest:
            best = plans[-1]
            return (
                f"no cascade reaches a {best.metric} of {self.floor}: the best over these cutoffs has "
                f"{best.quality:.6g} at {best.cost:.6g} {best.unit} per query; ask for less, or raise the final k"
            )
        least = plans[0]
        return (
            f"no cascade costs as little as {self.ceiling:.6g} {least.unit} per query: the cheapest over these "
            f"cutoffs costs {least.cost:.6g}; allow more, or let the cascade end at an earlier stage"
        )


class _Task:
    """One planning problem: the search, with what turns its paths into plans."""

    def __init__(
        self, scored: Scored, costs: StageCosts, metric: Metric, average: Average, final_k: int | None, last: str
    ) -> None:
        if last not in ("full", "any"):
            raise CascadeError(f"last must be 'full' or 'any', got {last!r}; 'full' ends at the last rate")
        self.scored, self.costs, self.final_k = scored, costs, final_k
        self.quality = quality_of(scored, metric, average, final_k)
        self.search = Search(scored, costs, self.quality)
        self.final = final_rule(final_k)
        whole = scored.stages - 1
        self.ends = (whole,) if last == "full" else tuple(range(scored.stages))
        self._full: list[list[KeepRule]] = []

    def options(
        self, kinds: Kind | Sequence[Kind], levels: int | None, options: Sequence[Sequence[KeepRule]] | None
    ) -> tuple[Sequence[Sequence[KeepRule]], bool]:
        """The rules to search for each stage, and whether they are all that can matter."""
        if options is not None:
            if levels is not None:
                raise CascadeError(f"give levels or options, got both (levels={levels!r}); options are taken as given")
            return options, False
        if levels is not None and (isinstance(levels, bool) or not isinstance(levels, int) or levels < 1):
            raise CascadeError(f"levels must be a whole number of at least 1, got {levels!r}")
        each = kinds_of(kinds, self.scored.stages)
        if not self._full:
            self._full = self._everything(each)
        if levels is None:
            levels = self._affordable("score" in each)
        chosen = [thinned(rules, levels) if rules else [] for rules in self._full]
        return chosen, all(len(a) == len(b) for a, b in zip(chosen, self._full, strict=True))

    def _everything(self, kinds: Sequence[Kind]) -> list[list[KeepRule]]:
        """All cutoffs of each stage; those of k and share are the same for all stages."""
        found: dict[tuple[Kind, int], list[KeepRule]] = {}
        for stage, kind in enumerate(kinds):
            key = (kind, stage if kind == "score" else 0)
            if key not in found:
                found[key] = all_cutoffs(kind, self.scored, self.quality, stage, self.final_k)
        return [found[kind, stage if kind == "score" else 0] for stage, kind in enumerate(kinds)]

    def _affordable(self, free: bool) -> int:
        """As many cutoffs per stage as the work allows. free: later cutoffs don't depend on earlier ones."""
        stages = self.scored.stages - 1
        limit = self._states()
        most = max((len(rules) for rules in self._full), default=1)
        levels = 4
        while levels < most and ((levels + 2) ** stages if free else comb(stages + levels + 1, stages)) <= limit:
            levels += 1
        return levels

    def space(self, options: Sequence[Sequence[KeepRule]], goal: _Goal | None = None) -> Space:
        if goal is None:
            return Space(options, self.final, self.ends)
        aim: Literal["cheapest", "best"] = "cheapest" if goal.cheapest else "best"
        return Space(options, self.final, self.ends, goal.floor, goal.ceiling, aim)

    def deepened(self, kinds: Kind | Sequence[Kind], goal: _Goal, archive: Archive) -> Sequence[Sequence[KeepRule]]:
        """Search finer and finer grids while the work allows; what was found prunes the next. The last one."""
        levels, limit = 4, self._states()
        grid, exhaustive = self.options(kinds, levels, None)
        self.search.run(self.space(grid, goal), archive)
        while not exhaustive and self.search.states < limit:
            levels *= 2
            grid, exhaustive = self.options(kinds, levels, None)
            self.search.run(self.space(grid, goal), archive, limit)
        return grid

    def refined(self, best: tuple[float, float, Path], goal: _Goal) -> tuple[float, float, Path]:
        """Search the cutoffs around the best, from the full set, near and nearer; again where it moves."""
        limit = self.search.states + self._states() / 2
        reach = max((len(rules) for rules in self._full), default=0) // 8 + 1
        while self.search.states < limit:
            near: list[Sequence[KeepRule]] = [[] for _ in self._full]
            for stage, rule in best[2][:-1]:
                full = self._full[stage]
                at = full.index(rule)
                around = np.unique(np.linspace(at - reach, at + reach, _NEAR).round().astype(int))
                near[stage] = [full[i] for i in sorted({at, *around[(around >= 0) & (around < len(full))].tolist()})]
            archive = Archive()
            archive.add(*best)
            self.search.run(self.space(near, goal), archive, limit)
            found = goal.pick(archive)
            if found[:2] == best[:2]:
                if reach <= _NEAR // 2:
                    break
                reach = max(_NEAR // 2, reach // 2)
            best = found
        return best

    def _states(self) -> float:
        return WORK / (len(self.scored.query) + 20_000)

    def plans(self, archive: Archive) -> tuple[Plan, ...]:
        count = len(self.scored.sizes)
        found = zip(archive.paths, archive.values, archive.costs, strict=True)
        return tuple(self._plan(path, value, cost / count) for path, value, cost in found)

    def _plan(self, path: Path, value: float, cost: float) -> Plan:
        stages, rules = tuple(stage for stage, _ in path), tuple(rule for _, rule in path)
        return Plan(stages, rules, value, cost, self.quality.metric, self.quality.average, self.costs.unit)

    def plan(self, path: Path) -> Plan:
        """The plan with its numbers computed anew, by the engine's filter."""
        by_query, cost = evaluate_plan(self._plan(path, 0.0, 0.0), self.scored, self.costs)
        if self.quality.average == "query":
            return self._plan(path, float(np.nanmean(by_query)), float(cost.mean()))
        relevant = self.scored.relevant_by_query
        value = float(np.nansum(by_query * relevant) / relevant.sum())
        return self._plan(path, value, float(cost.mean()))

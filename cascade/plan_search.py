"""The search behind planning: every subset of stages with every combination of candidate cutoffs.

What survives a stage depends on every cutoff before it, and a wider early cutoff does not always help (what it
lets in competes later), so neither dynamic programming nor a monotone bisection is exact. This is depth-first
enumeration over the sets of survivors, where a stage that filters nobody is left out, and a branch is cut when
two bounds say that it holds nothing new:

- quality: only what is still alive can count, so the weights alive are an upper bound;
- cost: what is spent, plus one more stage on the candidates alive, is a lower bound.

A branch is cut only when something found already is at least as good as the first at most as dear as the
second, or when a bound misses the goal. So what is returned is exactly the frontier of the full enumeration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.frontier import Archive, Path
from cascade.keep import KeepAll, KeepRule, PointwiseRule, RankedRule, Ranking, TopK
from cascade.order import order_within, places, starts_of
from cascade.plan_cost import StageCosts
from cascade.quality import Quality
from cascade.scored import Scored

SLACK = 1e-9
"""Relative tolerance of goals: sums of floats in another order must not decide."""

_HELD = 16_000_000  # places kept ready


@dataclass(frozen=True)
class Space:
    """What to search.

    options: for each stage but the last the rules it may have; none: the stage is never used. final: the
    last rule. ends: stages that may be the last. floor: least quality wanted. ceiling: most cost (mean per
    query) wanted. aim: `cheapest`, only the least cost above the floor matters; `best`, only the most quality
    under the ceiling; then what was found narrows the search as it goes.
    """

    options: Sequence[Sequence[KeepRule]]
    final: KeepRule
    ends: tuple[int, ...]
    floor: float = 0.0
    ceiling: float = np.inf
    aim: Literal["frontier", "cheapest", "best"] = "frontier"


class Search:
    """One set of scored candidates with its costs and its measure; `run` searches a space of cascades."""

    def __init__(self, scored: Scored, costs: StageCosts, quality: Quality) -> None:
        if len(costs) != scored.stages:
            raise CascadeError(
                f"costs must be one per stage, got {len(costs)} for {scored.stages} stages of scores; give one each"
            )
        self.scored, self.costs, self.quality = scored, costs, quality
        self.orders = [order_within(scored.query, scores) for scores in scored.scores]
        self.at = [np.empty_like(order) for order in self.orders]
        for at, order in zip(self.at, self.orders, strict=True):
            at[order] = np.arange(len(order))
        self.states = 0
        self._known: dict[bytes, NDArray[np.int32]] = {}
        self._mask = np.zeros(len(scored.query), dtype=bool)
        self._place = np.zeros(len(scored.query), dtype=np.int32)
        self._so_far = np.zeros(len(scored.query) + 1, dtype=np.int32)

    def run(self, space: Space, archive: Archive, limit: float = np.inf) -> bool:
        """Add the space's frontier to `archive`; what is beaten by what it holds already is not added.

        limit: of `states` in all, after which the search stops where it is. Whether it went through.
        """
        check_space(space, self.scored.stages)
        self.space, self.archive = space, archive
        count = len(self.scored.sizes)
        self._floor = space.floor - SLACK
        self._ceiling = space.ceiling * count * (1 + SLACK)
        self._onward = [
            min(
                (self.costs.of(stage, later) for later in range(stage + 1, self.scored.stages)),
                default=0.0,
            )
            for stage in range(self.scored.stages)
        ]
        for value, cost, path in zip(list(archive.values), list(archive.costs), list(archive.paths), strict=True):
            if cost <= self._ceiling:
                self._found(value, cost, path)
        everyone = np.arange(len(self.scored.query))
        self._finish(everyone, self.scored.sizes)
        self._limit = limit
        self._expand(everyone, self.scored.sizes, -1, 0.0, ())
        return self.states < limit

    def ranked(self, stage: int, alive: NDArray[np.int64]) -> NDArray[np.int64]:
        """The candidates `alive` (positions, any order), by query, best first by this stage's scores."""
        if len(alive) == len(self._mask):
            return self.orders[stage]
        at = self.at[stage][alive]
        if len(at) * 32 < len(self._mask):
            at.sort()
            return self.orders[stage][at]
        self._mask.fill(False)
        self._mask[at] = True
        return self.orders[stage][np.flatnonzero(self._mask)]

    def _counts(
        self, rule: KeepRule, stage: int, ranked: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(Q,) how many of each query's best the rule keeps. Any rule keeps a head of the stage's ranking."""
        scores = self.scored.scores[stage]
        if isinstance(rule, TopK):
            return np.minimum(sizes, rule.k)
        if isinstance(rule, RankedRule):
            return np.minimum(rule.counts(Ranking(scores[ranked], sizes, self.scored.sizes)), sizes)
        assert isinstance(rule, PointwiseRule)
        so_far = np.zeros(len(ranked) + 1, dtype=np.int64)
        np.cumsum(rule.kept(scores[ranked], None), out=so_far[1:])
        return np.diff(so_far[starts_of(sizes)])

    def _finish(self, alive: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """The cascades of one stage: score everyone, cut, done."""
        for end in self.space.ends:
            cost = self.costs.of(-1, end) * len(alive)
            if cost <= self._ceiling:
                value = self._value(self._view(end, alive, sizes), np.zeros(len(alive), np.int32), 1)
                self._found(value, cost, ((end, self.space.final),))

    def _expand(
        self, alive: NDArray[np.int64], sizes: NDArray[np.int64], before: int, spent: float, path: Path
    ) -> None:
        """Filter these survivors with each stage that may come next."""
        last = self.space.ends[-1]
        stages = [s for s in range(before + 1, last) if self.space.options[s]]
        stages = [s for s in stages if spent + self.costs.of(before, s) * len(alive) <= self._ceiling]
        if stages:
            views = [self._view(end, alive, sizes) for end in self.space.ends if end > stages[0]]
            worthy = alive[self.quality.weights[alive] > 0]
            here = _Survivors(alive, sizes, worthy, views)
            for stage in stages:
                self._filter(here, stage, spent + self.costs.of(before, stage) * len(alive), path)

    def _filter(self, here: _Survivors, stage: int, spent: float, path: Path) -> None:
        """Every different cut of one more stage, tightest first: those fill the cheap end of the archive."""
        sizes, weights = here.sizes, self.quality.weights
        ranked = self.ranked(stage, here.alive)
        place = self._places(sizes)
        self._place[ranked] = place
        views = [(view, self._place[view.ranked]) for view in here.views if view.end > stage]
        place_worthy = self._place[here.worthy]
        worth, group = weights[here.worthy], self.scored.query[here.worthy]
        later = any(self.space.options[stage + 1 : self.space.ends[-1]])
        seen: set[bytes] = set()
        for rule in self.space.options[stage][::-1]:
            if self.states >= self._limit:
                return
            counts = self._counts(rule, stage, ranked, sizes)
            size, key = int(counts.sum()), counts.tobytes()
            if size == len(ranked) or key in seen or _grows(rule, path):
                continue
            seen.add(key)
            self.states += 1
            most = round(float(worth[place_worthy < counts[group]].sum()), 12)
            least = spent + self._onward[stage] * size
            if least > self._ceiling or most < self._floor or self.archive.beaten(most, least):
                continue
            bound = rule.k if isinstance(rule, TopK) else np.repeat(counts, sizes)
            deeper = (*path, (stage, rule))
            for view, place_end in views:
                cost = spent + self.costs.of(stage, view.end) * size
                if cost <= self._ceiling and not self.archive.beaten(most, cost):
                    value = self._value(view, place_end, bound)
                    self._found(value, cost, (*deeper, (view.end, self.space.final)))
            if later:
                rest = ranked[place < bound]
                self._expand(rest, counts, stage, spent, deeper)

    def _found(self, value: float, cost: float, path: Path) -> None:
        """Put a finished cascade into the archive, and narrow the search to what could still be better."""
        if value < self._floor:
            return
        self.archive.add(value, cost, path)
        if self.space.aim == "cheapest":
            self._ceiling = min(self._ceiling, cost)
        elif self.space.aim == "best":
            self._floor = max(self._floor, value)

    def _value(self, view: _View, place: NDArray[np.int32], bound: int | NDArray[np.int64]) -> float:
        """The measure when of a view's candidates those with `place < bound` go on to the last cut."""
        kept = place < bound
        self._so_far[1 : len(kept) + 1] = np.cumsum(kept, dtype=np.int32)
        final = self._so_far[view.worthy] - self._so_far[view.start]
        inside = kept[view.worthy]
        if isinstance(self.space.final, TopK):
            inside &= final < self.space.final.k
        return self.quality.total(view.worth[inside], final[inside])

    def _view(self, end: int, alive: NDArray[np.int64], sizes: NDArray[np.int64]) -> _View:
        ranked = self.ranked(end, alive)
        weights = self.quality.weights[ranked]
        worthy = np.flatnonzero(weights)
        start = starts_of(sizes)[self.scored.query[ranked[worthy]]]
        return _View(end, ranked, worthy, start, weights[worthy])

    def _places(self, sizes: NDArray[np.int64]) -> NDArray[np.int32]:
        """`places`, kept ready: the same few sizes are met thousands of times."""
        key = sizes.tobytes()
        found = self._known.get(key)
        if found is None:
            found = places(sizes).astype(np.int32)
            if sum(map(len, self._known.values())) + len(found) > _HELD:
                self._known.clear()
            self._known[key] = found
        return found


@dataclass(frozen=True)
class _View:
    """Survivors as a possible last stage ranks them.

    ranked: (m,) positions, by query, best first. worthy: places in `ranked` of those of positive weight; start:
    the place where the query of each begins; worth: the weight of each.
    """

    end: int
    ranked: NDArray[np.int64]
    worthy: NDArray[np.int64]
    start: NDArray[np.int64]
    worth: NDArray[np.float64]


@dataclass(frozen=True)
class _Survivors:
    """A set of survivors (positions), (Q,) how many of each query, those of positive weight, and its views."""

    alive: NDArray[np.int64]
    sizes: NDArray[np.int64]
    worthy: NDArray[np.int64]
    views: list[_View]


def check_space(space: Space, stages: int) -> None:
    """Refuse what is not a space over so many stages."""
    if len(space.options) != stages - 1:
        raise CascadeError(
            f"options must be one list of rules for each of the {stages - 1} stages before the last, got "
            f"{len(space.options)}; an empty list leaves a stage out"
        )
    for stage, rules in enumerate(space.options):
        for rule in rules:
            if not isinstance(rule, PointwiseRule | RankedRule):
                raise CascadeError(f"options of stage {stage} must be keep rules such as TopK(10), got {rule!r}")
            if isinstance(rule, RankedRule) and rule.columns:
                raise CascadeError(
                    f"a plan has one cutoff for all queries, an option of stage {stage} reads the column "
                    f"{rule.columns[0]!r} query by query: {rule!r}; plan with TopK or TopShare, and replace the cutoff "
                    f"when the cascade runs"
                )
            if isinstance(space.final, TopK) and isinstance(rule, TopK) and rule.k < space.final.k:
                raise CascadeError(
                    f"cutoffs must never grow: an option of stage {stage} is k={rule.k}, below the final "
                    f"k={space.final.k}; raise it or lower final_k"
                )


def final_rule(final_k: int | None) -> KeepRule:
    """The last stage's rule: the best `final_k`, or all."""
    return KeepAll() if final_k is None else TopK(final_k)


def _grows(rule: KeepRule, path: Path) -> bool:
    """Whether the engine would refuse the rule after those of the path."""
    for _, earlier in path:
        if type(earlier) is type(rule):
            for name in ("k", "share", "minimum"):
                if getattr(rule, name, 0) > getattr(earlier, name, 0):
                    return True
    return False

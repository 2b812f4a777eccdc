"""The Pareto frontier: the cascades that no other beats in both quality and cost."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from cascade.budget import BudgetColumn
from cascade.keep import KeepRule, ScoreAtLeast, ScoreDrop, TopK, TopKColumn, TopShare
from cascade.quality import Average, Metric


@dataclass(frozen=True)
class Plan:
    """A cascade, and what it does on the candidates it was planned on.

    stages: indices of the rates used, rising. rules: a keep rule for each; the last one is the final cut.
    quality: mean of the metric (see `cascade.quality`), in [0, 1]. cost: mean per query, in `unit`.
    """

    stages: tuple[int, ...]
    rules: tuple[KeepRule, ...]
    quality: float
    cost: float
    metric: Metric
    average: Average
    unit: str


@dataclass(frozen=True)
class Frontier:
    """Plans of rising cost and rising quality, each better than every cheaper one.

    exhaustive: whether the search covered every cutoff of its kinds, and not a thinned set of them. states: how
    many filtered sets of candidates the search looked at.
    """

    plans: tuple[Plan, ...]
    exhaustive: bool
    states: int

    def __len__(self) -> int:
        return len(self.plans)

    def __iter__(self) -> Iterator[Plan]:
        return iter(self.plans)

    def frame(self) -> pl.DataFrame:
        """Columns: the metric (recall or ndcg), cost, unit, stages ("0 2 4") and cutoffs ("top 60; top 25;
        top 10"); a row per plan, by rising cost."""
        metric = self.plans[0].metric if self.plans else "recall"
        return pl.DataFrame(
            {
                metric: [plan.quality for plan in self.plans],
                "cost": [plan.cost for plan in self.plans],
                "unit": [plan.unit for plan in self.plans],
                "stages": [" ".join(map(str, plan.stages)) for plan in self.plans],
                "cutoffs": ["; ".join(map(describe, plan.rules)) for plan in self.plans],
            },
            schema={
                metric: pl.Float64,
                "cost": pl.Float64,
                "unit": pl.String,
                "stages": pl.String,
                "cutoffs": pl.String,
            },
        )


def describe(rule: KeepRule) -> str:
    """A rule in a few words: "top 60", "share 0.25", "score >= 1.5", "all", "top 60 within 'budget'"."""
    match rule:
        case TopK(k):
            return f"top {k}"
        case TopKColumn(column, otherwise):
            return f"top {column!r}" + ("" if otherwise is None else f", else {otherwise}")
        case BudgetColumn(column):
            return f"{describe(rule.cutoffs[rule.stage])} within {column!r}"
        case TopShare(share, minimum):
            return f"share {share!r}" + (f", at least {minimum}" if minimum > 1 else "")
        case ScoreAtLeast(threshold):
            return f"score >= {threshold!r}"
        case ScoreDrop(drop):
            return f"within {drop!r} of the best"
    return {"KeepAll": "all"}.get(type(rule).__name__, repr(rule))


Path = tuple[tuple[int, KeepRule], ...]


class Archive:
    """The best found so far: quality against cost, both rising, none beaten by another."""

    def __init__(self) -> None:
        self.costs: list[float] = []
        self.values: list[float] = []
        self.paths: list[Path] = []

    def beaten(self, value: float, cost: float) -> bool:
        """Whether something at most as dear is at least as good."""
        at = bisect_right(self.costs, cost)
        return at > 0 and self.values[at - 1] >= value

    def add(self, value: float, cost: float, path: Path) -> None:
        """Take it in, unless it is beaten, and drop what it beats."""
        if self.beaten(value, cost):
            return
        at = bisect_left(self.costs, cost)
        after = bisect_right(self.values, value, lo=at)
        self.costs[at:after] = [cost]
        self.values[at:after] = [value]
        self.paths[at:after] = [path]

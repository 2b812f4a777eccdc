"""A cost budget of each query's own, from a column of the table: the cutoffs scaled to what it pays for.

A query of n candidates, whose stages cost c_0, c_1, ... per candidate and whose cutoffs before the last are w_0, w_1,
..., keeps at scale t the best

    m_i(t) = min(n, ceil(t w_0), ..., ceil(t w_i))        of stage i, and none at t = 0,

and so costs C(t) = n c_0 + m_0(t) c_1 + m_1(t) c_2 + ..., which never falls as t grows. A budget B gives the query the
largest t with C(t) <= B: below 1 it tightens the plan's cutoffs in proportion, above 1 it widens them, up to no cutoff
at all. The first stage always scores all n. Where B pays for that and not for one candidate through the stages after
it, the first stage's ranking stands and nothing is kept in the end; where B is below n c_0 it is refused. The last
stage's own rule, which costs nothing, stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.keep import KeepAll, KeepRule, RankedRule, Ranking, TopK, TopKColumn, TopShare

_HALVINGS = 100  # of the interval of scales, which leaves less between its ends than lies between any two steps of C


@dataclass(frozen=True)
class BudgetColumn(RankedRule):
    """A stage's cutoff, scaled to the budget that each query has in a column; see this module.

    column: of whole numbers, the most a query may cost, in the unit of `costs`, the same for all its candidates; null
    keeps to the plan's cutoffs. cutoffs: the plan's, of every stage but the last. costs: per candidate of every stage,
    each after the one before. stage: whose cutoff this is, from 0.
    """

    column: str
    cutoffs: tuple[RankedRule, ...]
    costs: tuple[float, ...]
    stage: int

    @property
    def columns(self) -> tuple[str, ...]:
        """The budget's column, and those that the plan's cutoffs read."""
        return (self.column, *(name for rule in self.cutoffs for name in rule.columns))

    @property
    def nullable(self) -> frozenset[str]:
        """A null budget is the plan's; a cutoff's column keeps its rule's word."""
        return frozenset((self.column, *(name for rule in self.cutoffs for name in rule.nullable)))

    def least(self, column: str, originals: NDArray[np.int64]) -> NDArray[np.float64]:
        """A budget must pay for the first stage on every candidate."""
        if column != self.column:
            return super().least(column, originals)
        return np.asarray(originals * self.costs[0], dtype=np.float64)

    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """How many of each query go on at the largest scale that its budget pays for."""
        if self.column not in ranking.columns:
            raise CascadeError(
                f"BudgetColumn reads the column {self.column!r} of the candidate table, which this caller does not "
                f"give; run it with Cascade, or without a budget"
            )
        budget, originals = ranking.columns[self.column], ranking.originals
        planned = np.array([rule.counts(ranking) for rule in self.cutoffs])
        scale = _largest_scale(planned, originals, self.costs, budget)
        scale = np.where(budget == 0, 1.0, scale)  # 0 in the column stands for null
        return _scaled(planned, originals, scale)[self.stage]


def within_budget(rules: Sequence[KeepRule], costs: Sequence[float], column: str) -> list[KeepRule]:
    """The rules of a cascade with every cutoff but the last scaled to the budget in a column of the table.

    rules, costs: of the S stages; costs per candidate, each after the one before, at least 0, the first above 0.

    Raises CascadeError for a cascade of one stage, or a cutoff whose count is not known before the scores are.
    """
    if len(rules) < 2:
        raise CascadeError(
            "a budget scales the cutoffs between stages, this cascade has one stage; add a stage, or run it without"
        )
    if len(costs) != len(rules) or not (np.isfinite(costs).all() and min(costs) >= 0 and costs[0] > 0):
        raise CascadeError(
            f"a budget needs a finite cost for each of the {len(rules)} stages, above 0 for the first and at least 0 "
            f"for the others, got {list(costs)}; count them again"
        )
    cutoffs = tuple(_known_before(rule, stage) for stage, rule in enumerate(rules[:-1]))
    if any(column in rule.columns for rule in cutoffs):
        raise CascadeError(
            f"column {column!r} can be a budget or a cutoff, got it as both; name another for one of them"
        )
    prices = tuple(float(cost) for cost in costs)
    return [*(BudgetColumn(column, cutoffs, prices, stage) for stage in range(len(cutoffs))), rules[-1]]


def _known_before(rule: KeepRule, stage: int) -> RankedRule:
    if isinstance(rule, KeepAll):
        return TopShare(1.0)
    if isinstance(rule, TopK | TopShare | TopKColumn):
        return rule
    raise CascadeError(
        f"a budget scales cutoffs whose count is known before the scores are (top k, share), stage {stage} has "
        f"{rule!r}; plan with cutoffs of the kinds top-k or share"
    )


def _scaled(planned: NDArray[np.int64], originals: NDArray[np.int64], scale: NDArray[np.float64]) -> NDArray[np.int64]:
    """(stages, queries) the cutoffs m_i at each query's scale."""
    counts = np.minimum(np.ceil(planned * scale), originals).astype(np.int64)
    return np.minimum.accumulate(counts, axis=0)


def _largest_scale(
    planned: NDArray[np.int64], originals: NDArray[np.int64], costs: Sequence[float], budget: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(queries,) the largest scale whose cost is within the budget, by halving the interval where it must lie."""

    def pays(scale: NDArray[np.float64]) -> NDArray[np.bool_]:
        spent = originals * costs[0]
        for kept, cost in zip(_scaled(planned, originals, scale), costs[1:], strict=True):
            spent = spent + kept * cost
        return np.asarray(spent <= budget)

    high = originals / planned.min(axis=0)  # nothing is cut
    low = np.where(pays(high), high, 0.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = pays(middle)
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return low

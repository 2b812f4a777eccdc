"""A cost budget of each query's own, from a column of the table: the cutoffs scaled to what it pays for.

A query of n candidates, whose stages cost c_0, c_1, ... per candidate and d_0, d_1, ... once where any candidate
reaches them, and whose cutoffs before the last are w_0, w_1, ... (none above n), keeps at scale t the best

    m_i(t) = min(n, ceil(t w_0), ..., ceil(t w_i))        of stage i, and none at t = 0,

and so costs C(t) = d_0 + n c_0 + [m_0(t) > 0] d_1 + m_0(t) c_1 + ..., which never falls as t grows. A budget B gives
the query the largest t with C(t) <= B: below 1 it tightens the plan's cutoffs in proportion, above 1 it widens them, up
to no cutoff at all. The first stage always scores all n. Where B pays for that and not for one candidate through the
stages after it, the first stage's ranking stands and nothing is kept in the end; where B is below d_0 + n c_0 it is
refused. The last stage's own rule, which costs nothing, stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.keep import KeepAll, KeepRule, RankedRule, Ranking, TopK, TopKColumn, TopShare


@dataclass(frozen=True)
class BudgetColumn(RankedRule):
    """A stage's cutoff, scaled to the budget that each query has in a column; see this module.

    column: of whole numbers, the most a query may cost, in the unit of `costs`, the same for all its candidates; null
    keeps to the plan's cutoffs. cutoffs: the plan's, of every stage but the last. costs: per candidate of every stage,
    each after the one before. once: per query of every stage that one of its candidates reaches. stage: whose cutoff
    this is, from 0.
    """

    column: str
    cutoffs: tuple[RankedRule, ...]
    costs: tuple[float, ...]
    once: tuple[float, ...]
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
        return np.asarray(self.once[0] + originals * self.costs[0], dtype=np.float64)

    def counts(self, ranking: Ranking) -> NDArray[np.int64]:
        """How many of each query go on at the largest scale that its budget pays for."""
        if self.column not in ranking.columns:
            raise CascadeError(
                f"BudgetColumn reads the column {self.column!r} of the candidate table, which this caller does not "
                f"give; run it with Cascade, or without a budget"
            )
        budget, originals = ranking.columns[self.column], ranking.originals
        planned = np.array([np.minimum(rule.counts(ranking), originals) for rule in self.cutoffs])
        own = _scaled(planned, originals, 1, 1)
        paid = _largest_paid(planned, originals, self.costs, self.once, budget)
        return np.where(budget == 0, own, paid)[self.stage]  # 0 in the column stands for null


def within_budget(
    rules: Sequence[KeepRule], costs: Sequence[float], column: str, once: Sequence[float] | None = None
) -> list[KeepRule]:
    """The rules of a cascade with every cutoff but the last scaled to the budget in a column of the table.

    rules, costs: of the S stages; costs per candidate, each after the one before, at least 0, the first above 0.
    once: per query that reaches a stage, at least 0, where something is computed once for all its candidates; None:
    nothing is.

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
    shared = tuple(map(float, [0.0] * len(costs) if once is None else once))
    if len(shared) != len(costs) or not (np.isfinite(shared).all() and min(shared) >= 0):
        raise CascadeError(
            f"a budget needs a finite cost per query of at least 0 for each of the {len(rules)} stages, got "
            f"{list(shared)}; count them again"
        )
    cutoffs = tuple(_known_before(rule, stage) for stage, rule in enumerate(rules[:-1]))
    if any(column in rule.columns for rule in cutoffs):
        raise CascadeError(
            f"column {column!r} can be a budget or a cutoff, got it as both; name another for one of them"
        )
    prices = tuple(float(cost) for cost in costs)
    return [*(BudgetColumn(column, cutoffs, prices, shared, stage) for stage in range(len(cutoffs))), rules[-1]]


def _known_before(rule: KeepRule, stage: int) -> RankedRule:
    if isinstance(rule, KeepAll):
        return TopShare(1.0)
    if isinstance(rule, TopK | TopShare | TopKColumn):
        return rule
    raise CascadeError(
        f"a budget scales cutoffs whose count is known before the scores are (top k, share), stage {stage} has "
        f"{rule!r}; plan with cutoffs of the kinds top-k or share"
    )


def _scaled(
    planned: NDArray[np.int64],
    originals: NDArray[np.int64],
    over: NDArray[np.int64] | int,
    under: NDArray[np.int64] | int,
) -> NDArray[np.int64]:
    """(stages, queries) the cutoffs m_i at each query's scale, over / under, rounded exactly."""
    counts = np.minimum(-(-planned * over // under), originals)
    return np.minimum.accumulate(counts, axis=0)


def _largest_paid(
    planned: NDArray[np.int64],
    originals: NDArray[np.int64],
    costs: Sequence[float],
    once: Sequence[float],
    budget: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(stages, queries) the cutoffs at the largest scale that each query's budget pays for; 0 where none does.

    C changes only where some t w_i passes a whole number, so that scale is j / w_i for one of the stages and a j from 1
    to n. For each stage the largest such j is found by halving; no cutoff falls as the scale grows, so that of the
    stages' findings the largest scale's are the largest throughout.
    """
    best = np.zeros_like(planned)
    for under in planned:
        low, high = np.zeros_like(originals), originals.copy()  # j = 0 pays: nothing goes on
        while (low < high).any():
            middle = (low + high + 1) // 2
            kept = _scaled(planned, originals, middle, under)
            reached = [originals, *kept]
            spent = sum(n * cost + (n > 0) * shared for n, cost, shared in zip(reached, costs, once, strict=True))
            pays = spent <= budget
            low, high = np.where(pays, middle, low), np.where(pays, high, middle - 1)
        best = np.maximum(best, _scaled(planned, originals, low, under))
    return best

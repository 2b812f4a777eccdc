"""The planner's search against a plain grid search over the same scores: five rates, 100,000 candidates."""

from itertools import combinations_with_replacement
from time import perf_counter
from typing import Any

import numpy as np

from cascade import Plan, Scored, StageCosts, TopK, evaluate_plan, plan

QUERIES, PER_QUERY, FINAL_K = 1_000, 100, 10
WANTED = 0.95
COSTS = StageCosts((1.0, 4.0, 16.0, 32.0, 64.0))
GRID = (100, 70, 50, 30, 20, 10)
"""Of the grid search: 100 leaves the stage out. 126 combinations; finer grids take proportionally longer."""


def scores(seed: int = 0) -> Scored:
    """One candidate in twenty is relevant; the noise of the scores falls from rate to rate."""
    rng = np.random.default_rng(seed)
    n = QUERIES * PER_QUERY
    relevant = rng.random(n) < 0.05
    noise = np.array([2.0, 1.6, 1.3, 1.1, 1.0])[:, None] * rng.standard_normal((5, n))
    docids = np.tile(np.arange(PER_QUERY), QUERIES)
    return Scored(np.repeat(np.arange(QUERIES), PER_QUERY), docids, relevant, 4.0 * relevant + noise)


def grid_search(scored: Scored) -> Plan:
    """The cheapest of the grid that reaches the recall."""
    best = None
    for cutoffs in combinations_with_replacement(GRID, len(COSTS) - 1):
        stages = [stage for stage, k in enumerate(cutoffs) if k < PER_QUERY]
        rules = (*(TopK(cutoffs[stage]) for stage in stages), TopK(FINAL_K))
        found = Plan((*stages, len(COSTS) - 1), rules, 0.0, 0.0, "recall", "query", COSTS.unit)
        by_query, cost = evaluate_plan(found, scored, COSTS)
        recall, spent = float(np.nanmean(by_query)), float(cost.mean())
        if recall >= WANTED and (best is None or spent < best.cost):
            best = Plan(found.stages, found.rules, recall, spent, "recall", "query", COSTS.unit)
    if best is None:
        raise AssertionError("the grid must hold a cascade that reaches the recall")
    return best


def planner_search(repeats: int) -> dict[str, Any]:
    """Ours must be no dearer than the grid's best; `flops_ratio` is by how much it is cheaper."""
    scored = scores()
    began = perf_counter()
    rival = grid_search(scored)
    theirs = perf_counter() - began
    seconds = []
    for _ in range(repeats):
        began = perf_counter()
        ours = plan(scored, COSTS, at_least=WANTED, final_k=FINAL_K)
        seconds.append(perf_counter() - began)
    if ours.cost > rival.cost or ours.quality < WANTED:
        raise AssertionError(f"the planner must do no worse than a grid search, got {ours} for {rival}")
    mine = float(np.median(seconds))
    return {
        "case": "planner",
        "ours_seconds": mine,
        "rival_seconds": theirs,
        "ratio": mine / theirs,
        "flops_ratio": ours.cost / rival.cost,
    }

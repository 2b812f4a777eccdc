"""The tables and the curve of the ranking simulation's report, all seeds and folds as one run."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from cascade import Scored, StageCosts, pareto_frontier
from simulations.ranking_outcomes import NDCG, Outcome
from simulations.report.figures import MISSING
from simulations.report.summary import lowest_inclusion

CURVE_LEVELS = 12  # cutoffs a stage tries for the frontier's curve


def quality_table(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Measures, joint recall and how far the stages agree, a row per system."""
    rows = []
    for entry in entries:
        last = len(entry["stages"]) - 1
        tau = entry["kendall_tau"][0][last]
        numbers = [*entry["measures"].values(), lowest_inclusion(entry), tau]
        rows.append([entry["name"], *(MISSING if value is None else f"{value:.4f}" for value in numbers)])
    names = ["nDCG@10" if name == NDCG else name for name in entries[0]["measures"]]
    return {
        "title": "Quality",
        "text": f"Means over the {entries[0]['measured_queries']:,} test queries with a relevant candidate"
        f"{f' and {seeds} seeds' if (seeds := len(entries[0]['measures_by_seed'])) > 1 else ''}; nDCG with "
        "gain 2^label - 1 over the cascade's whole ranking; joint recall: relevant candidates in the final cut; "
        "lowest inclusion over the pairs of stages; Kendall's tau-b between the first stage's scores and the last's.",
        "columns": ["system", *names, "lowest inclusion", "tau first, last"],
        "rows": rows,
    }


def feature_tables(entries: Sequence[Mapping[str, Any]], queries: int) -> list[dict[str, Any]]:
    """What fetching the features costs beside the arithmetic, where the tiers give them a cost."""
    if not any(entry["feature_cost_total"] for entry in entries):
        return []
    rows = []
    for entry in entries:
        spent = (entry["feature_cost_total"] / queries, entry["flops_total"] / queries)
        each = " + ".join(f"{stage['feature_cost_increment']:g}" for stage in entry["stages"])
        rows.append([entry["name"], f"{spent[0]:,.1f}", each, f"{spent[1]:,.0f} {entry.get('cost_unit', 'FLOPs')}"])
    return [
        {
            "title": "Feature cost",
            "text": "Means per query, in the unit of the tiers; a stage pays for the candidates that reach it, and for "
            "features that no earlier stage has read.",
            "columns": ["system", "feature cost per query", "stage by stage, per candidate", "computing per query"],
            "rows": rows,
        }
    ]


def comparison_table(compared: pl.DataFrame) -> dict[str, Any]:
    """The paired tests, a row per measure and system."""
    rows = [
        [
            "nDCG@10" if row["measure"] == NDCG else row["measure"],
            f"{row['system']} - {row['baseline']}",
            f"{row['difference']:+.4f}",
            f"{row['low']:+.4f} to {row['high']:+.4f}",
            f"{row['wins']} / {row['ties']} / {row['losses']}",
            f"{row['p_holm']:.4f}",
        ]
        for row in compared.to_dicts()
    ]
    return {
        "title": "Differences, query by query",
        "text": "Mean difference with its 95% bootstrap interval; queries won, tied, lost; two-sided permutation test, "
        "p corrected over all rows (Holm). Of several seeds, a query's mean over them is compared.",
        "columns": ["measure", "difference", "mean", "95% interval", "won / tied / lost", "p (Holm)"],
        "rows": rows,
    }


def frontier_curve(outcomes: Sequence[Outcome], k: int) -> dict[str, Any]:
    """Joint recall against cost of each neural system, with cutoffs chosen on the very queries shown."""
    series = []
    for outcome in outcomes:
        if outcome.trained.cost_unit != "FLOPs":
            continue
        frame = outcome.scores.frame
        names = [f"score_{stage}" for stage in range(len(outcome.scores.stages))]
        scored = Scored(
            frame["qid"].to_numpy(),
            frame["docid"].to_numpy(),
            frame["label"].to_numpy(),
            frame.select(names).to_numpy().T,
        )
        steps = outcome.trained.increments
        costs = StageCosts(
            tuple(info.flops for info in outcome.scores.stages), None if steps is None else tuple(map(tuple, steps))
        )
        best = pareto_frontier(scored, costs, final_k=k, levels=CURVE_LEVELS).frame()
        series.append({"name": outcome.name, "x": best["cost"].to_list(), "y": best["recall"].to_list()})
    return {
        "title": "Joint recall against cost",
        "text": "What each system could reach with top-k cutoffs chosen for these very queries: an upper bound, for "
        "the shape; plan on validation for cutoffs that hold.",
        "x": "FLOPs per query",
        "y": f"joint recall in the top {k}",
        "series": series,
    }

"""The ranking simulation seed by seed: each stage alone, the cascade and its cost, as tables and as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cascade import AllScores, evaluate
from simulations.ranking_outcomes import NDCG, FoldRun, Outcome
from simulations.report.figures import MISSING, large, rate, spread
from simulations.report.summary import lowest_inclusion

STAGE_FIELDS = ("aggregate_recall", "flops", "flops_increment", "params")
CSV_COLUMNS = (
    *("data", "system", "seed", "rate", "ndcg_alone", *STAGE_FIELDS),
    *("ndcg", "joint_recall", "lowest_inclusion", "cost_per_query", "cost_unit", "params_held", "train_seconds"),
)


@dataclass(frozen=True)
class SeedRun:
    """One system trained with one seed, over all folds.

    Attributes:
        alone: nDCG@10 of each stage alone, narrowest first: all of a query's candidates in the order of its scores.
        ndcg: nDCG@10 of the cascade's ranking.
        entry: as :func:`cascade.system_report` makes it.
        cost_unit: what its ``flops`` count.
        train_seconds: of its neural networks; None where it has none.
    """

    name: str
    seed: int
    alone: tuple[float, ...]
    ndcg: float
    entry: dict[str, Any]
    cost_unit: str
    train_seconds: float | None

    @property
    def cost_per_query(self) -> float:
        """Mean over all queries, those without a relevant candidate too."""
        return float(self.entry["flops_total"] / self.entry["queries"])


def seed_runs(name: str, runs: Sequence[FoldRun]) -> list[SeedRun]:
    """One for each seed, from the runs of one system."""
    found = []
    for seed in dict.fromkeys(run.seed for run in runs):
        folds = [run for run in runs if run.seed == seed]
        outcome = Outcome.of(name, folds)
        entry = outcome.report()
        entry["queries"] = outcome.result.frame["qid"].n_unique()
        seconds = [result.seconds for run in folds for result, _ in (run.trained.training or {}).values()]
        found.append(
            SeedRun(
                name,
                seed,
                _alone(outcome.scores),
                outcome.measured.means[NDCG] or 0.0,
                entry,
                outcome.trained.cost_unit,
                sum(seconds) if seconds else None,
            )
        )
    return found


def _alone(scores: AllScores) -> tuple[float, ...]:
    means = []
    for stage in range(len(scores.stages)):
        run = scores.frame.select("qid", "docid", "label", score=pl.col(f"score_{stage}"))
        means.append(evaluate(run, None, [NDCG], without_relevant="skip", by="score").means[NDCG] or 0.0)
    return tuple(means)


def seed_tables(runs: Sequence[SeedRun], rates: Sequence[float]) -> list[dict[str, Any]]:
    """Each stage alone, and what the cascade keeps and costs: mean and standard deviation over seeds.

    Args:
        runs: the runs of a system in a row.
        rates: of the stages.
    """
    systems: dict[str, list[SeedRun]] = {}
    for run in runs:
        systems.setdefault(run.name, []).append(run)
    seeds = len(next(iter(systems.values())))
    over = f"Mean and standard deviation over {seeds} seeds." if seeds > 1 else "One seed: no spread is known."
    alone = [
        [
            name,
            *(spread([run.alone[k] for run in group], 4) for k in range(len(rates))),
            spread([run.ndcg for run in group], 4),
        ]
        for name, group in systems.items()
    ]
    costs = [
        [
            name,
            spread([run.entry["mean_recall_by_query"] for run in group], 4),
            spread([lowest_inclusion(run.entry) for run in group], 3),
            f"{large(group[0].cost_per_query)} {'' if group[0].cost_unit == 'FLOPs' else group[0].cost_unit}".strip(),
            large(group[0].entry["params_held"]),
            spread([run.train_seconds for run in group], 0),
        ]
        for name, group in systems.items()
    ]
    return [
        {
            "title": "nDCG@10 of each stage alone",
            "text": f"All of a query's candidates in the order of a stage's scores; then the cascade's ranking. {over}",
            "columns": ["system", *(rate(each) for each in rates), "cascade"],
            "rows": alone,
        },
        {
            "title": "What the cascade keeps, and what it costs",
            "text": "Joint recall and the lowest inclusion over the pairs of stages; cost of a query in FLOPs, where "
            "nothing else is said; parameters held; seconds of training all folds' neural networks "
            f"({MISSING}: it has none). {over}",
            "columns": ["system", "joint recall", "inclusion", "a query", "held", "train (s)"],
            "rows": costs,
        },
    ]


def seed_csv(data: str, runs: Iterable[SeedRun]) -> str:
    """A row for every run and stage, unrounded; an undefined number is an empty field. FLOPs are per candidate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run in runs:
        entry = run.entry
        kept = (run.ndcg, entry["mean_recall_by_query"], lowest_inclusion(entry))
        whole = (*kept, run.cost_per_query, run.cost_unit, entry["params_held"], run.train_seconds)
        for ndcg, stage in zip(run.alone, entry["stages"], strict=True):
            each = [stage[name] for name in STAGE_FIELDS]
            writer.writerow([data, run.name, run.seed, stage["rate"], ndcg, *each, *whole])
    return text.getvalue()

"""`simulate promise`: whether a promised recall holds on fresh queries, over many random splits of scored queries."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from cascade import (
    Cascade,
    Held,
    OnFresh,
    Plan,
    Scored,
    Split,
    StageCosts,
    StageInfo,
    evaluate_plan,
    promise_holds,
    relevant_pairs,
    score_all,
    system_report,
)
from cascade.callables import CallableScorer
from cascade.plan_search import final_rule
from cascade.promise import check_promise
from cascade.promise_splits import check_splits, share_reached
from data import PreparedTables, Roles, synthetic, write_prepared
from simulations.ranking_folds import joined_scores, of_run
from simulations.ranking_settings import RankingSettings
from simulations.ranking_systems import Fitter
from simulations.ranking_tables import fold_data, fold_numbers, ranking_tables
from simulations.report import Report, check_out, machine, validate_report, versions, write_report
from simulations.report.figures import MISSING
from slicing.files import atomic_path
from slicing.progress import Progress, open_task

SYSTEM = "sliced-nested"
CANDIDATES, FEATURES, LEVELS = 60, 20, (0.95,)
QUERIES = {"train": 400, "validation": 100, "test": 4000}
"""Of the synthetic tables: for training, for early stopping, and those that the splits divide."""


@dataclass(frozen=True)
class PromiseSettings:
    """One run of the simulation.

    Attributes:
        ranking: data, folds and network; each fold's ranker scores its test queries, which the splits divide.
        recall, confidence: of the promise, in (0, 1). splits: at least 1.
        validation: share of the queries in the part that the promise is made on, in (0, 1).
        final_k: what the last stage keeps; None keeps all that reach it, so that recall is that of the filters.
        levels: cutoffs a stage tries, at least 1. relevant: the least label that is relevant, above 0.
    """

    ranking: RankingSettings
    recall: float = 0.95
    confidence: float = 0.95
    splits: int = 200
    validation: float = 0.5
    final_k: int | None = None
    levels: int = 12
    relevant: float = 1.0

    def __post_init__(self) -> None:
        check_promise(self.recall, self.confidence)
        check_splits(self.splits, self.validation)


@dataclass(frozen=True)
class _Scores:
    """Every query's candidates under every rate, what the rates cost per candidate, and what they are."""

    scored: Scored
    costs: StageCosts
    infos: tuple[StageInfo, ...]


def simulate_promise(settings: PromiseSettings, command: str, progress: Progress | None = None) -> Report:
    """Train, score, promise on every split, look it up on the rest; write the report and splits.csv.

    Args:
        settings: what to do.
        command: the command line, for the report.
        progress: shows the pace of long work; None is silent.

    Returns:
        The report, as written to ``settings.ranking.out``.

    Raises:
        ValueError: for bad input, in one line: of the packages' own errors the one it concerns.
    """
    out = settings.ranking.out
    check_out(out)
    made_up = settings.ranking.data == "synthetic"
    tables = _population(settings.ranking) if made_up else ranking_tables(settings.ranking, progress)
    scores = _scores(settings, tables, progress)
    with open_task(progress, "promises", settings.splits, "splits") as task:
        held = promise_holds(
            scores.scored,
            scores.costs,
            settings.recall,
            settings.confidence,
            splits=settings.splits,
            validation=settings.validation,
            seed=settings.ranking.seed,
            final_k=settings.final_k,
            levels=settings.levels,
            progress=lambda done, total: task.advance(1),
        )
    report = _report(settings, tables, scores, held, command)
    write_report(report, out)
    with atomic_path(out / "splits.csv") as temporary:
        temporary.write_text(_csv(held), encoding="utf-8")
    return report


def _population(settings: RankingSettings) -> PreparedTables:
    """Synthetic tables with many queries to split; the best twentieth of a query's candidates is relevant."""
    fold, first = {}, 0
    for name, queries in QUERIES.items():
        made_up = synthetic(queries, CANDIDATES, FEATURES, seed=settings.seed, levels=LEVELS, first_query=first)
        fold[name] = [made_up.drop("ideal")]
        first += queries
    numeric = [name for name in fold["train"][0].columns if name not in ("qid", "docid", "label")]
    made = {
        "by": "data.synthetic",
        "queries": QUERIES,
        "candidates": CANDIDATES,
        "features": FEATURES,
        "levels": list(LEVELS),
    }
    return write_prepared(settings.out / "data", "synthetic", [fold], Roles(numeric), made)


def _scores(settings: PromiseSettings, tables: PreparedTables, progress: Progress | None) -> _Scores:
    """Each fold's test queries, scored by the ranker that has not seen them."""
    found, steps = [], None
    for number in fold_numbers(settings.ranking, tables):
        fold = fold_data(tables, number)
        trained = Fitter(settings.ranking, fold, progress).fit(SYSTEM)
        everything = score_all(trained.scorer, fold.test)
        found.append(replace(everything, frame=of_run(everything.frame, str(number))))
        steps = steps or trained.increments
    joined = joined_scores(found)
    increment = None if steps is None else tuple(map(tuple, steps))
    costs = StageCosts(tuple(info.flops for info in joined.stages), increment)
    return _Scores(Scored.of(joined, settings.relevant), costs, joined.stages)


def _report(settings: PromiseSettings, tables: PreparedTables, scores: _Scores, held: Held, command: str) -> Report:
    shown = next((each for each in held.outcomes if each.promised is not None), held.outcomes[0])
    full = Plan((scores.scored.stages - 1,), (final_rule(settings.final_k),), 0.0, 0.0, "recall", "query", "FLOPs")
    plans = {"promised": shown.promised, "planned": shown.planned, "full network": OnFresh(full, 0.0, 0.0)}
    number = held.outcomes.index(shown) + 1
    entries = [_entry(name, each.plan, scores, shown, number) for name, each in plans.items() if each is not None]
    scored = scores.scored
    return validate_report(
        {
            "schema": 1,
            "command": command,
            "seed": settings.ranking.seed,
            "versions": versions(),
            "machine": machine(),
            "data": {
                "name": tables.name,
                "fingerprint": tables.meta["fingerprint"],
                "candidates": len(scored.query),
                "queries": len(scored.sizes),
                "queries_with_relevant": int((scored.relevant_by_query > 0).sum()),
            },
            "flops_convention": "one multiply-add = 1; dense layers",
            "protocols": {
                "promise": {
                    "systems": entries,
                    "tables": [_table(settings, scores, held, full)],
                    "curves": [_curve(held)],
                }
            },
            "promise": {
                "recall": settings.recall,
                "confidence": settings.confidence,
                "splits": held.splits,
                "refused": held.refused,
                "held": held.held,
                "recalls": list(held.recalls),
                "costs": list(held.costs),
                "planned_recalls": [each.recall for each in held.planned],
                "planned_costs": [each.cost for each in held.planned],
            },
            "full_pass_flops": scores.costs.scratch[-1],
        }
    )


def _entry(name: str, plan: Plan, scores: _Scores, split: Split, number: int) -> dict[str, Any]:
    """A plan of one split as a system: run by the engine over the split's fresh queries."""
    fresh = scores.scored.take(split.fresh)
    frame = pl.DataFrame({"qid": fresh.qids, "docid": fresh.docids, "label": fresh.is_relevant.astype(np.int64)})
    frame = frame.with_columns(pl.Series(f"s{stage}", fresh.scores[stage]) for stage in plan.stages)
    infos = [
        StageInfo(scores.infos[stage].rate, scores.infos[stage].params, cost)
        for stage, cost in zip(plan.stages, scores.costs.path(plan.stages), strict=True)
    ]
    scorer = CallableScorer([partial(_column, f"s{stage}") for stage in plan.stages], infos)
    result = Cascade(scorer, plan.rules).run(frame)
    entry = system_report(name, result, score_all(scorer, frame).alone(plan.rules), relevant_pairs(frame))
    for position, stage in enumerate(plan.stages):
        entry["stages"][position]["flops"] = scores.costs.scratch[stage]
        entry["stages"][position]["mode"] = "reuse" if position and scores.costs.increment else "fresh"
    entry["params_held"] = max(info.params for info in infos)
    entry["note"] = f"split {number}, on its fresh queries; the seconds are those of looking the scores up"
    return entry


def _column(name: str, frame: pl.DataFrame) -> np.ndarray:
    return frame[name].to_numpy()


def _table(settings: PromiseSettings, scores: _Scores, held: Held, full: Plan) -> dict[str, Any]:
    whole = float(evaluate_plan(full, scores.scored, scores.costs)[1].mean())

    def row(name: str, cascades: Sequence[OnFresh]) -> list[str]:
        if not cascades:
            return [name, "0", *[MISSING] * 6]
        recalls = np.array([each.recall for each in cascades])
        cost = float(np.mean([each.cost for each in cascades]))
        reached = share_reached(cascades, held.recall)
        return [
            name,
            str(len(cascades)),
            MISSING if reached is None else f"{reached:.1%}",
            f"{recalls.mean():.4f}",
            f"{recalls.mean() - held.recall:+.4f}",
            f"{recalls.min():.4f}",
            f"{cost:,.0f}",
            f"{cost / whole:.1%}",
        ]

    return {
        "title": f"Recall of {settings.recall:g} on fresh queries, {held.splits} random splits",
        "text": f"Chosen on {settings.validation:.0%} of the queries with something relevant, looked up on the others: "
        f"with a promise at confidence {settings.confidence:g} ({held.refused} refused), and the cheapest cascade that "
        "reaches the recall where it is chosen. Held: mean recall on the fresh queries at least the goal.",
        "columns": ["cascade", "made", "held", "mean recall", "above goal", "lowest", "FLOPs per query", "of full"],
        "rows": [row("promised", held.made), row("planned", held.planned)],
    }


def _curve(held: Held) -> dict[str, Any]:
    series = []
    for name, cascades in (("promised", held.made), ("planned", held.planned)):
        recalls = sorted(each.recall for each in cascades)
        series.append({"name": name, "x": recalls, "y": [(i + 1) / len(recalls) for i in range(len(recalls))]})
    return {
        "title": "Recall on fresh queries",
        "text": f"Share of the splits with at most this mean recall on the fresh queries; the goal is {held.recall:g}.",
        "x": "mean recall",
        "y": "share of splits",
        "series": [each for each in series if each["x"]],
    }


def _csv(held: Held) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "promised_recall", "promised_cost", "planned_recall", "planned_cost"])
    for number, each in enumerate(held.outcomes, start=1):
        cells = [(None, None) if one is None else (one.recall, one.cost) for one in (each.promised, each.planned)]
        writer.writerow([number, *cells[0], *cells[1]])
    return text.getvalue()

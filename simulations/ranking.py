"""The ranking simulation: one nested ranker against cascades of separate networks, linear models and trees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import polars as pl

from cascade import (
    AllScores,
    Cascade,
    CascadeError,
    CascadeResult,
    Evaluation,
    KeepRule,
    Scored,
    StageCosts,
    StageRanks,
    TopK,
    TopShare,
    agreement,
    compare_systems,
    evaluate,
    hit_rate,
    pareto_frontier,
    recall_by_query,
    relevant_pairs,
    score_all,
    survived,
    system_report,
)
from data import PreparedTables
from simulations.history import training_history
from simulations.ranking_folds import joined_results, joined_scores, mean_by_seed, mean_over_seeds, of_run
from simulations.ranking_settings import SYSTEMS, RankingSettings
from simulations.ranking_systems import Fitter, Trained
from simulations.ranking_tables import fold_data, fold_numbers, ranking_tables
from simulations.report import Report, check_out, machine, validate_report, versions, write_report
from simulations.report.figures import MISSING
from slicing.progress import Progress, open_task

CONVENTION = "one multiply-add = 1; dense layers (trees: visits, said where they stand)"
MEASURES = ("nDCG(dcg='exp-log2')@10", "RR", "AP")
JOINT = "joint recall"
CURVE_LEVELS = 12  # cutoffs a stage tries for the frontier's curve


@dataclass(frozen=True)
class Outcome:
    """What one system did on every fold's test queries, as one run."""

    name: str
    trained: Trained
    result: CascadeResult
    scores: AllScores
    measured: Evaluation
    joint: pl.DataFrame


def simulate_ranking(settings: RankingSettings, command: str, progress: Progress | None = None) -> Report:
    """Train every system on every fold, run the cascades on the test queries, write the report.

    Args:
        settings: what to do.
        command: the command line, for the report.
        progress: shows the pace of long work; None is silent.

    Returns:
        The report, as written to ``settings.out``.

    Raises:
        ValueError: for bad input, in one line: of the packages' own errors the one it concerns.
    """
    _check(settings)
    check_out(settings.out)
    tables = ranking_tables(settings, progress)
    rules = _rules(settings)
    runs: dict[str, list[tuple[Trained, CascadeResult, AllScores]]] = {name: [] for name in settings.systems}
    training: list[dict[str, Any]] = []
    for seed, number in product(_seeds(settings), fold_numbers(settings, tables)):
        fold = fold_data(tables, number)
        fitter = Fitter(_of_seed(settings, seed), fold, progress)
        place = f"fold {number}" if settings.seeds == 1 else f"seed {seed}, fold {number}"
        for name in settings.systems:
            trained = fitter.fit(name)
            training += [
                training_history(f"{each}, {place}", result, rates)
                for each, (result, rates) in (trained.training or {}).items()
            ]
            with open_task(progress, f"{place}, {name}", len(fold.test), "candidates") as task:
                Cascade(trained.scorer, rules).run(fold.test)  # warms up; the seconds below are a second run's
                result = Cascade(trained.scorer, rules).run(fold.test)
                scores = score_all(trained.scorer, fold.test)
                task.advance(len(fold.test))
            run = f"{seed}/{number}"
            runs[name].append((trained, _renamed(result, run), _renamed(scores, run)))
    outcomes = [_outcome(name, parts) for name, parts in runs.items()]
    report = _report(settings, tables, rules, outcomes, training, command)
    write_report(report, settings.out)
    return report


def _check(settings: RankingSettings) -> None:
    unknown = [name for name in settings.systems if name not in SYSTEMS]
    if unknown or not settings.systems:
        raise CascadeError(f"systems must be some of {', '.join(SYSTEMS)}, got {list(settings.systems)!r}")
    if len(settings.keep) != len(settings.ranker.rates) - 1:
        raise CascadeError(
            f"keep must hold a share for each stage but the last, {len(settings.ranker.rates) - 1} in all for rates "
            f"{list(settings.ranker.rates)}, got {list(settings.keep)}; pass --keep or --rates"
        )


def _rules(settings: RankingSettings) -> list[KeepRule]:
    return [*(TopShare(share) for share in settings.keep), TopK(settings.final_k)]


def _seeds(settings: RankingSettings) -> range:
    return range(settings.seed, settings.seed + settings.seeds)


def _of_seed(settings: RankingSettings, seed: int) -> RankingSettings:
    """The settings of one seed; where there are several, each has a folder of its own for what it trains."""
    out = settings.out if settings.seeds == 1 else settings.out / f"seed{seed}"
    return replace(settings, seed=seed, seeds=1, out=out)


def _renamed(run: Any, place: str) -> Any:
    """A result or scores whose query ids say the seed and the fold, ``seed/fold/qid``."""
    return replace(run, frame=of_run(run.frame, place))


def _outcome(name: str, parts: Sequence[tuple[Trained, CascadeResult, AllScores]]) -> Outcome:
    result = joined_results([result for _, result, _ in parts])
    scores = joined_scores([scores for _, _, scores in parts])
    relevant = relevant_pairs(scores.frame)
    measured = evaluate(result.frame, None, MEASURES, without_relevant="skip")
    joint = recall_by_query(result.frame, survived(result, len(result.stages) - 1), relevant)
    return Outcome(name, parts[0][0], result, scores, measured, joint.select("qid", pl.col("recall").alias(JOINT)))


def _report(
    settings: RankingSettings,
    tables: PreparedTables,
    rules: Sequence[KeepRule],
    outcomes: Sequence[Outcome],
    training: Sequence[dict[str, Any]],
    command: str,
) -> Report:
    entries = [_entry(outcome, rules, settings.final_k) for outcome in outcomes]
    compared = _compared(outcomes)
    first = outcomes[0].result.frame
    neural = [entry for entry in entries if "cost_unit" not in entry]
    report: dict[str, Any] = {
        "schema": 1,
        "command": command,
        "seed": settings.seed,
        "versions": versions(),
        "machine": machine(),
        "data": {
            "name": tables.name,
            "fingerprint": tables.meta["fingerprint"],
            "candidates": len(first),
            "queries": first["qid"].n_unique(),
            "seeds": list(_seeds(settings)),
            "folds": list(fold_numbers(settings, tables)),
            "made": tables.meta["made"],
        },
        "flops_convention": CONVENTION,
        "protocols": {
            "ranking": {
                "systems": entries,
                "tables": [
                    _quality_table(entries),
                    *_feature_tables(entries, first["qid"].n_unique()),
                    *([_comparison_table(compared)] if len(compared) else []),
                ],
                "curves": [_frontier_curve(outcomes, settings.final_k)],
            }
        },
        "comparisons": compared.to_dicts() if len(compared) else [],
        "training": list(training),
    }
    if neural:
        report["full_pass_flops"] = max(stage["flops"] for entry in neural for stage in entry["stages"])
    return validate_report(report)


def _entry(outcome: Outcome, rules: Sequence[KeepRule], k: int) -> dict[str, Any]:
    """One system's entry: the contract's fields, the measures, how far its stages agree."""
    relevant = relevant_pairs(outcome.scores.frame)
    alone = outcome.scores.alone(rules)
    ranks = StageRanks.of(outcome.scores)
    entry = system_report(outcome.name, outcome.result, alone, relevant)
    hits = hit_rate(ranks, outcome.result, alone.kept, k)
    entry["measures"] = {**outcome.measured.means, JOINT: entry["mean_recall_by_query"]}
    by_seed = mean_by_seed(_per_query(outcome).select("qid", *MEASURES, JOINT).drop_nulls())
    entry["measures_by_seed"] = by_seed.to_dicts()
    entry["measured_queries"] = outcome.measured.averaged[MEASURES[0]] // len(by_seed)
    entry["kendall_tau"] = [list(row) for row in agreement(ranks).mean]
    entry["hit_rate"] = {f"HR@{k}": hits.to_dicts()}
    if outcome.trained.cost_unit != "FLOPs":
        entry["cost_unit"] = outcome.trained.cost_unit
    if outcome.trained.note:
        entry["note"] = outcome.trained.note
    return entry


def _compared(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Paired tests of every system against the first, over the queries with something relevant.

    A query counts once however many seeds there are, with its mean over them: its runs are not independent.
    """
    if len(outcomes) < 2:
        return pl.DataFrame()
    per_query = {each.name: mean_over_seeds(_per_query(each)) for each in outcomes}
    return compare_systems(per_query, [*MEASURES[:1], JOINT], baseline=outcomes[0].name)


def _per_query(outcome: Outcome) -> pl.DataFrame:
    return outcome.measured.per_query.join(outcome.joint, on="qid", how="left")


def _quality_table(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rows = []
    for entry in entries:
        last = len(entry["stages"]) - 1
        tau = entry["kendall_tau"][0][last]
        inclusion = [share for i, row in enumerate(entry["inclusion"]["matrix"]) for share in row[:i]]
        lowest = min((share for share in inclusion if share is not None), default=None)
        numbers = [*entry["measures"].values(), lowest, tau]
        rows.append([entry["name"], *(MISSING if value is None else f"{value:.4f}" for value in numbers)])
    names = ["nDCG@10" if name == MEASURES[0] else name for name in entries[0]["measures"]]
    return {
        "title": "Quality",
        "text": f"Means over the {entries[0]['measured_queries']:,} test queries with a relevant candidate"
        f"{f' and {seeds} seeds' if (seeds := len(entries[0]['measures_by_seed'])) > 1 else ''}; nDCG with "
        "gain 2^label - 1 over the cascade's whole ranking; joint recall: relevant candidates in the final cut; "
        "lowest inclusion over the pairs of stages; Kendall's tau-b between the first stage's scores and the last's.",
        "columns": ["system", *names, "lowest inclusion", "tau first, last"],
        "rows": rows,
    }


def _feature_tables(entries: Sequence[Mapping[str, Any]], queries: int) -> list[dict[str, Any]]:
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


def _comparison_table(compared: pl.DataFrame) -> dict[str, Any]:
    rows = [
        [
            "nDCG@10" if row["measure"] == MEASURES[0] else row["measure"],
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


def _frontier_curve(outcomes: Sequence[Outcome], k: int) -> dict[str, Any]:
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

"""The ranking simulation: one nested ranker against cascades of separate networks, linear models and trees."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from cascade import Cascade, CascadeError, score_all
from data import PreparedTables
from simulations.history import training_history
from simulations.ranking_outcomes import FoldRun, Outcome, compared
from simulations.ranking_report import comparison_table, feature_tables, frontier_curve, quality_table
from simulations.ranking_seeds import SeedRun, seed_csv, seed_runs, seed_tables
from simulations.ranking_settings import CONTROLLED, SYSTEMS, RankingSettings
from simulations.ranking_systems import Fitter
from simulations.ranking_tables import fold_data, fold_numbers, ranking_tables
from simulations.report import Report, check_out, machine, validate_report, versions, write_report
from simulations.stage_figures import agreement_table
from slicing.files import atomic_path
from slicing.progress import Progress, open_task

CONVENTION = "one multiply-add = 1; dense layers (trees: visits, said where they stand)"


def simulate_ranking(settings: RankingSettings, command: str, progress: Progress | None = None) -> Report:
    """Train every system on every fold, run the cascades on the test queries, write the report and ``ranking.csv``.

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
    runs: dict[str, list[FoldRun]] = {name: [] for name in settings.systems}
    training: dict[str, dict[str, Any]] = {}  # by network, which several systems may share
    for seed, number in product(_seeds(settings), fold_numbers(settings, tables)):
        fold = fold_data(tables, number)
        fitter = Fitter(_of_seed(settings, seed), fold, progress)
        place = f"fold {number}" if settings.seeds == 1 else f"seed {seed}, fold {number}"
        for name in settings.systems:
            trained = fitter.fit(name)
            for each, (trained_by, rates) in (trained.training or {}).items():
                title = f"{each}, {place}"
                training[title] = training_history(title, trained_by, rates)
            with open_task(progress, f"{place}, {name}", len(fold.test), "candidates") as task:
                cascade = Cascade(trained.scorer, trained.rules)
                cascade.run(fold.test)  # warms up; the seconds below are a second run's
                result = cascade.run(fold.test)
                scores = score_all(trained.scorer, fold.test)
                task.advance(len(fold.test))
            runs[name].append(FoldRun.of(seed, number, trained, result, scores))
    outcomes = [Outcome.of(name, parts) for name, parts in runs.items()]
    by_seed = [run for name, parts in runs.items() for run in seed_runs(name, parts)]
    report = _report(settings, tables, outcomes, by_seed, list(training.values()), command)
    write_report(report, settings.out)
    with atomic_path(settings.out / "ranking.csv") as temporary:
        temporary.write_text(seed_csv(tables.name, by_seed), encoding="utf-8")
    return report


def _check(settings: RankingSettings) -> None:
    known = (*SYSTEMS, *CONTROLLED)
    if not settings.systems or not set(settings.systems) <= set(known):
        raise CascadeError(f"systems must be some of {', '.join(known)}, got {list(settings.systems)!r}")
    if not 0 <= settings.reinvest <= 1:
        raise CascadeError(f"reinvest must be a share in [0, 1], got {settings.reinvest}; try 0.1")
    if len(settings.keep) != len(settings.ranker.rates) - 1:
        raise CascadeError(
            f"keep must hold a share for each stage but the last, {len(settings.ranker.rates) - 1} in all for rates "
            f"{list(settings.ranker.rates)}, got {list(settings.keep)}; pass --keep or --rates"
        )


def _seeds(settings: RankingSettings) -> range:
    return range(settings.seed, settings.seed + settings.seeds)


def _of_seed(settings: RankingSettings, seed: int) -> RankingSettings:
    """The settings of one seed; where there are several, each has a folder of its own for what it trains."""
    out = settings.out if settings.seeds == 1 else settings.out / f"seed{seed}"
    return replace(settings, seed=seed, seeds=1, out=out)


def _report(
    settings: RankingSettings,
    tables: PreparedTables,
    outcomes: Sequence[Outcome],
    by_seed: Sequence[SeedRun],
    training: Sequence[dict[str, Any]],
    command: str,
) -> Report:
    entries = [outcome.entry(settings.final_k) for outcome in outcomes]
    tests = compared(outcomes)
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
                    quality_table(entries),
                    agreement_table(entries, settings.final_k),
                    *seed_tables(by_seed, settings.ranker.rates),
                    *feature_tables(entries, first["qid"].n_unique()),
                    *([comparison_table(tests)] if len(tests) else []),
                ],
                "curves": [frontier_curve(outcomes, settings.final_k)],
            }
        },
        "comparisons": tests.to_dicts() if len(tests) else [],
        "training": list(training),
    }
    if neural:
        report["full_pass_flops"] = max(stage["flops"] for entry in neural for stage in entry["stages"])
    return validate_report(report)

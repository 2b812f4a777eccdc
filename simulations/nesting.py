"""What nesting costs: separate, dense sliced and nested networks side by side, the same data and budget, over seeds.

Every system runs through the paper's protocol (section 5.4.4). Systems of one seed start from the same seed; the test
images are the same for all seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from cascade import (
    AllScores,
    Cascade,
    CascadeError,
    CascadeResult,
    KeepRule,
    PredictedClass,
    relevant_pairs,
    score_all,
    system_report,
)
from data import ImageData
from simulations.cascade import (
    CONVENTION,
    System,
    batch_of,
    load_data,
    paper_candidates,
    plain_settings,
    separate_system,
    sliced_systems,
    train_config,
)
from simulations.history import training_history
from simulations.image_models import separate_network, sliced_network
from simulations.image_training import Trainer
from simulations.nesting_tables import SeedRun, frontier_curve, nesting_csv, nesting_tables
from simulations.ranking_folds import joined_results, joined_scores, of_run
from simulations.report import Report, check_out, machine, validate_report, versions, write_report
from simulations.scorers import Images
from simulations.settings import CascadeSettings
from simulations.sliced_systems import SLICED_SYSTEMS, system_changes
from slicing import Connectivity, SlicedNetwork, SlicingError, TrainResult, cost
from slicing.files import atomic_path
from slicing.progress import Progress, open_task

SYSTEMS = (
    "separate",
    "dense-sampled",
    "dense-sandwich",
    "nested",
    "nested-wide",
    "mixed",
)


@dataclass(frozen=True)
class NestingSettings:
    """One run of the comparison.

    Attributes:
        base: data, architecture, budget and the joint loss, as for the cascade simulation; its connectivity,
            scheme and seed are the systems' own.
        seeds: of weights, order, augmentation and split, one run of every system each.
        systems: which to run: ``separate`` networks, one per rate; a dense sliced network trained by sampled rates or
            by the sandwich rule; a nested one, and one of ``widen`` times the width; and one whose last rate is
            recomputed. Any other connectivity, such as ``nested,trunk=2``, is a system of that name.
        widen: factor on the width in ``nested-wide``.
    """

    base: CascadeSettings
    seeds: tuple[int, ...] = (0, 1, 2)
    systems: tuple[str, ...] = SYSTEMS
    widen: float = 1.25


@dataclass(frozen=True)
class _Run:
    """One system on one seed: what the cascade did, and every stage alone."""

    entry: SeedRun
    result: CascadeResult
    scores: AllScores


def simulate_nesting(settings: NestingSettings, command: str, progress: Progress | None = None) -> Report:
    """Train every system with every seed, run the paper's protocol, write the report and ``nesting.csv``.

    Args:
        settings: what to do.
        command: the command line, for the report.
        progress: shows the pace of long work; None is silent.

    Returns:
        The report, as written to ``settings.base.out``. A system's entry counts the runs of all seeds as one.

    Raises:
        ValueError: for bad input, in one line: of the packages' own errors the one it concerns.
    """
    _check(settings)
    out = settings.base.out
    check_out(out)
    first = load_data(replace(settings.base, seed=settings.seeds[0]), progress)
    for name in settings.systems:  # refuses what can't be built before anything is trained
        _networks(name, system_settings(name, settings.base, settings.widen), first)
    runs: dict[str, list[_Run]] = {}
    training: list[dict[str, Any]] = []
    for seed in settings.seeds:
        base = replace(settings.base, seed=seed, out=out / f"seed-{seed}")
        data = load_data(base, progress)
        for name in settings.systems:
            own = system_settings(name, base, settings.widen)
            networks, results = _trained(name, own, data, progress)
            training += [
                training_history(f"{each}, seed {seed}", result, _rates(network))
                for (each, network), result in zip(networks.items(), results, strict=True)
            ]
            seconds = sum(record.seconds for result in results for record in result.history)
            for system in _systems(name, own, data, list(networks.values())):
                runs.setdefault(system.name, []).append(_run(system, seed, seconds, data, progress))
    report = _report(settings, data, runs, training, command)
    write_report(report, out)
    with atomic_path(out / "nesting.csv") as temporary:
        temporary.write_text(nesting_csv(data.name, _seed_runs(runs), report["full_pass_flops"]), encoding="utf-8")
    return report


def system_settings(name: str, base: CascadeSettings, widen: float) -> CascadeSettings:
    """The settings of one of :data:`SYSTEMS`, or of a connectivity: the base's, with what makes the system."""
    if name == "separate":
        return base
    if name in SLICED_SYSTEMS:
        changes = system_changes(name, base.rates)
        return replace(base, **{**changes, "connectivity": (changes["connectivity"],)})
    joint = replace(base, scheme="joint")
    if name in SYSTEMS:
        nested = replace(joint, connectivity=("nested",))
        return replace(nested, width=base.width * widen) if name == "nested-wide" else nested
    own = 0.0 if Connectivity(name).recomputes else base.own
    return replace(joint, connectivity=(name,), own=own)


def _check(settings: NestingSettings) -> None:
    if not settings.systems:
        raise CascadeError(f"systems must be some of {', '.join(SYSTEMS)}, or connectivities, got none")
    for name in settings.systems:
        if name not in SYSTEMS:
            try:
                Connectivity(name)
            except SlicingError as error:
                raise CascadeError(f"a system must be one of {', '.join(SYSTEMS)}, or a {error}") from error
    if not settings.seeds or len(set(settings.seeds)) < len(settings.seeds):
        raise CascadeError(f"seeds must be different whole numbers, got {list(settings.seeds)}; try 0,1,2")


def _trained(
    name: str, settings: CascadeSettings, data: ImageData, progress: Progress | None
) -> tuple[dict[str, nn.Module], list[TrainResult]]:
    """A system's networks by name, in eval mode, and their training."""
    folder = settings.out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    networks = _networks(name, settings, data)
    trainer = Trainer(settings, data, train_config(settings), folder, progress)
    return networks, [trainer.fit(each, network) for each, network in networks.items()]


def _networks(name: str, settings: CascadeSettings, data: ImageData) -> dict[str, nn.Module]:
    """A system's networks by name, untrained."""
    if name == "separate":
        return {f"separate-{rate:g}": separate_network(settings, data, rate) for rate in settings.rates}
    return {name: sliced_network(settings, data, settings.connectivity[0])}


def _systems(name: str, settings: CascadeSettings, data: ImageData, networks: Sequence[nn.Module]) -> list[System]:
    images = Images(data.test, data.mean, data.std, settings.device)
    if name == "separate":
        return [separate_system(settings, data, networks, images)]
    (network,) = networks
    assert isinstance(network, SlicedNetwork)
    return sliced_systems(name, network, images)


def _run(system: System, seed: int, train_seconds: float, data: ImageData, progress: Progress | None) -> _Run:
    table = paper_candidates(data.test.labels.numpy())
    rules: list[KeepRule] = [PredictedClass()] * len(system.scorer.stages)
    with open_task(progress, f"seed {seed}, {system.name}", len(table), "candidates") as task:
        result = Cascade(system.scorer, rules).run(table, batch=batch_of(system))
        scores = score_all(system.scorer, table)
        task.advance(len(table))
    entry = system_report(system.name, result, scores.alone(rules), relevant_pairs(table), precision="accuracy")
    renamed = [replace(each, frame=of_run(each.frame, str(seed))) for each in (result, scores)]
    return _Run(SeedRun(system.name, seed, train_seconds, entry), *renamed)  # type: ignore[arg-type]


def _report(
    settings: NestingSettings,
    data: ImageData,
    runs: dict[str, list[_Run]],
    training: Sequence[dict[str, Any]],
    command: str,
) -> Report:
    entries = []
    for name, parts in runs.items():
        scores = joined_scores([run.scores for run in parts])
        rules: list[KeepRule] = [PredictedClass()] * len(scores.stages)
        result = joined_results([run.result for run in parts])
        pairs = relevant_pairs(scores.frame)
        entries.append(system_report(name, result, scores.alone(rules), pairs, precision="accuracy"))
    dense = sliced_network(settings.base, data, "dense")
    report: dict[str, Any] = {
        "schema": 1,
        "command": command,
        "seed": settings.seeds[0],
        "seeds": list(settings.seeds),
        "versions": versions(),
        "machine": machine(),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "candidates": len(data.test),
            "queries": len(data.classes),
            "train": len(data.train),
            "validation": len(data.validation),
        },
        "settings": plain_settings(settings.base),
        "flops_convention": CONVENTION,
        "full_pass_flops": cost(dense, data.shape).flops(len(dense.rates) - 1),
        "training": list(training),
    }
    tables = nesting_tables(_seed_runs(runs), report["full_pass_flops"])
    curve = frontier_curve(_seed_runs(runs), report["full_pass_flops"])
    report["protocols"] = {"paper": {"systems": entries, "tables": tables, "curves": [curve]}}
    return validate_report(report)


def _seed_runs(runs: dict[str, list[_Run]]) -> list[SeedRun]:
    return [run.entry for parts in runs.values() for run in parts]


def _rates(network: nn.Module) -> Sequence[float]:
    return network.rates if isinstance(network, SlicedNetwork) else [1.0]

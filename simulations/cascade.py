"""The paper's cascade simulation (section 5.4.4): one sliced network against a cascade of separate ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from cascade import (
    CallableScorer,
    Cascade,
    KeepRule,
    PredictedClass,
    Scorer,
    StageInfo,
    relevant_pairs,
    score_all,
    system_report,
)
from cascade.report import Precision
from data import ImageData, load_images
from simulations.history import training_history
from simulations.image_models import separate_network, sliced_network
from simulations.image_training import Trainer
from simulations.paper import RATES, paper_figures
from simulations.report import Report, check_out, machine, validate_report, versions, write_report
from simulations.scorers import Images, SeparateScorer, SlicedScorer
from simulations.settings import CascadeSettings
from slicing import (
    Connectivity,
    SlicedNetwork,
    TrainConfig,
    TrainResult,
    cache_bytes,
    cost,
    parameter_count,
    reuse_error,
    save,
)
from slicing.incremental import Reuse
from slicing.progress import Progress, open_task

CONVENTION = "one multiply-add = 1; convolutions and dense layers"
BATCH_BUDGET = 2 << 30  # bytes that the images and caches of one batch of candidates may take
REUSE_SAMPLE = 1000  # images on which the error of approximate reuse is measured


@dataclass(frozen=True)
class System:
    """One way to run the cascade: its name, its scorer, and what else the report shall say of it.

    Attributes:
        image_bytes: of one candidate's image as it is scored.
    """

    name: str
    scorer: Scorer
    extra: dict[str, Any]
    image_bytes: int


def simulate_cascade(settings: CascadeSettings, command: str, progress: Progress | None = None) -> Report:
    """Train the networks, run both protocols, write the report.

    Args:
        settings: what to do.
        command: the command line, for the report.
        progress: shows the pace of long work; None is silent.

    Returns:
        The report, as written to ``settings.out``.

    Raises:
        ValueError: for bad input, in one line: of the packages' own errors the one it concerns.
    """
    check_out(settings.out)
    config = train_config(settings)
    data = load_data(settings, progress)
    kinds = [Connectivity(text) for text in settings.connectivity]
    sliced = {f"sliced-{kind}": sliced_network(settings, data, kind) for kind in kinds}
    networks: dict[str, nn.Module] = dict(sliced)
    for rate in settings.rates:
        networks[f"separate-{rate:g}"] = separate_network(settings, data, rate)
    results = _train(settings, data, config, networks, progress)
    for name, network in sliced.items():
        save(network, _folder(settings, "networks") / f"{name}.safetensors", {"command": command})
    systems = _systems(settings, data, networks)
    report = _report(settings, data, systems, results, command, progress)
    write_report(report, settings.out)
    return report


def train_config(settings: CascadeSettings) -> TrainConfig:
    """How every network of a simulation is trained."""
    return TrainConfig(
        epochs=settings.epochs if settings.epochs is not None else settings.defaults.epochs,
        batch_size=settings.batch_size if settings.batch_size is not None else settings.defaults.batch_size,
        learning_rate=settings.learning_rate,
        precision=settings.precision,
        device=settings.device,
        seed=settings.seed,
    )


def load_data(settings: CascadeSettings, progress: Progress | None) -> ImageData:
    """The settings' images, read with progress."""
    with open_task(progress, f"reading {settings.data}", 1, "images") as task:
        done = 0

        def show(now: int, total: int) -> None:
            nonlocal done
            task.set_total(total)
            task.advance(now - done)
            done = now

        data = load_images(
            settings.data,
            settings.data_dir,
            download=settings.download,
            image_size=settings.image_size,
            train_limit=settings.train_limit,
            seed=settings.seed,
            progress=show,
            workers=settings.workers,
        )
        if not done:
            task.advance(1)
    return data


def _train(
    settings: CascadeSettings,
    data: ImageData,
    config: TrainConfig,
    networks: dict[str, nn.Module],
    progress: Progress | None,
) -> dict[str, TrainResult]:
    trainer = Trainer(settings, data, config, _folder(settings, "checkpoints"), progress)
    return {name: trainer.fit(name, network) for name, network in networks.items()}


def _folder(settings: CascadeSettings, name: str) -> Path:
    folder = settings.out / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _systems(settings: CascadeSettings, data: ImageData, networks: dict[str, nn.Module]) -> list[System]:
    images = Images(data.test, data.mean, data.std, settings.device)
    systems = []
    for name, network in networks.items():
        if isinstance(network, SlicedNetwork):
            systems += sliced_systems(name, network, images)
    plain = [networks[f"separate-{rate:g}"] for rate in settings.rates]
    return [*systems, separate_system(settings, data, plain, images)]


def sliced_systems(name: str, network: SlicedNetwork, images: Images) -> list[System]:
    """The ways to run a sliced network as a cascade: a dense one recomputed, and with approximate reuse.

    Args:
        name: of the first; the second's ends in ``-reuse``.
        network: in eval mode.
        images: what to score.
    """
    if network.connectivity != "dense":
        return [System(name, SlicedScorer(network, images), _held(network, images, "auto"), images.bytes)]
    sample = replace(images, split=images.split.take(torch.arange(min(len(images.split), REUSE_SAMPLE))))
    everything = sample.of(pl.DataFrame({"docid": np.arange(len(sample.split))}))
    error = {"reuse_error": reuse_error(network, everything)}
    recomputed = {"note": "every stage recomputed"}
    reused = {"note": "reuse as in section 3.4, an approximation: its score error is in reuse_error"}
    held = _held(network, images, "always")
    return [
        System(name, SlicedScorer(network, images, "never"), recomputed, images.bytes),
        System(f"{name}-reuse", SlicedScorer(network, images, "always"), {**held, **error, **reused}, images.bytes),
    ]


def separate_system(
    settings: CascadeSettings, data: ImageData, networks: Sequence[nn.Module], images: Images
) -> System:
    """The usual cascade: a plain network for each of the settings' rates, narrowest first, in eval mode."""
    infos = _separate_infos(settings, data, images.shape)
    chunk = 32 if len(images.shape) == 3 and max(images.shape[1:]) > 16 else 256
    return System("separate", SeparateScorer(networks, infos, images, chunk), {}, images.bytes)


def _held(network: SlicedNetwork, images: Images, reuse: Reuse) -> dict[str, Any]:
    return {"cache_bytes": [cache_bytes(network, images.shape, rate, reuse) for rate in network.rates]}


def _separate_infos(settings: CascadeSettings, data: ImageData, shape: Sequence[int]) -> list[StageInfo]:
    dense = sliced_network(settings, data, "dense")
    costs = cost(dense, shape)
    return [StageInfo(rate, parameter_count(dense, rate), costs.flops(k)) for k, rate in enumerate(dense.rates)]


def _report(
    settings: CascadeSettings,
    data: ImageData,
    systems: Sequence[System],
    results: dict[str, TrainResult],
    command: str,
    progress: Progress | None,
) -> Report:
    labels = data.test.labels.numpy()
    tables: dict[str, tuple[pl.DataFrame, Precision]] = {
        "paper": (paper_candidates(labels), "accuracy"),
        "retrieval": (retrieval_candidates(labels, len(data.classes)), "retrieval"),
    }
    protocols: dict[str, Any] = {name: {"systems": []} for name in tables}
    for system in systems:
        batch = batch_of(system)
        every = _class_scores(system.scorer, len(labels), batch)
        lookup = _Lookup(every, system.scorer.stages)
        rules: list[KeepRule] = [PredictedClass()] * len(system.scorer.stages)
        for name, (table, precision) in tables.items():
            with open_task(progress, f"{name} protocol, {system.name}", len(table), "candidates") as task:
                result = Cascade(system.scorer, rules).run(table, batch=batch, progress=_Steps(task.advance))
            alone = score_all(lookup.scorer(), table).alone(rules)
            entry = system_report(system.name, result, alone, relevant_pairs(table), precision=precision)
            protocols[name]["systems"].append({**entry, **system.extra})
    report: dict[str, Any] = {
        "schema": 1,
        "command": command,
        "seed": settings.seed,
        "versions": versions(),
        "machine": machine(),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "candidates": len(labels),
            "queries": len(data.classes),
            "train": len(data.train),
            "validation": len(data.validation),
        },
        "settings": plain_settings(settings),
        "flops_convention": CONVENTION,
        "full_pass_flops": next(s for s in systems if s.name == "separate").scorer.stages[-1].flops,
        "protocols": protocols,
        "training": [
            training_history(name, result, _own_rates(name, settings.rates)) for name, result in results.items()
        ],
    }
    if data.name == "cifar10" and list(settings.rates) == RATES:
        report["paper"] = paper_figures()
    return validate_report(report)


def paper_candidates(labels: NDArray[np.int64]) -> pl.DataFrame:
    """The paper's protocol: each image is a candidate of its own type alone, and must be recognised as it.

    Args:
        labels: (N,) the class of each image.

    Returns:
        N rows: qid and target the class, docid the image, label 1.
    """
    return pl.DataFrame({"qid": labels, "docid": np.arange(len(labels)), "target": labels}).with_columns(
        label=pl.lit(1, pl.Int64)
    )


def retrieval_candidates(labels: NDArray[np.int64], classes: int) -> pl.DataFrame:
    """Retrieval: for each type, every image is a candidate; what is not predicted as that type leaves.

    Args:
        labels: (N,) the class of each image.
        classes: how many types there are.

    Returns:
        classes * N rows: qid and target the type, docid the image, label 1 where the image is of that type.
    """
    types = np.repeat(np.arange(classes), len(labels))
    return pl.DataFrame(
        {
            "qid": types,
            "docid": np.tile(np.arange(len(labels)), classes),
            "target": types,
            "label": (np.tile(labels, classes) == types).astype(np.int64),
        }
    )


def batch_of(system: System) -> int:
    """How many candidates a system scores together, so that their images and caches fit in memory."""
    held = system.image_bytes + max(system.extra.get("cache_bytes", [0]))
    return max(16, min(8192, BATCH_BUDGET // held))


def _class_scores(scorer: Scorer, count: int, batch: int) -> NDArray[np.float32]:
    """Every stage's class scores of every image, once: (S, N, classes)."""
    parts: list[list[NDArray[Any]]] = [[] for _ in scorer.stages]
    for low in range(0, count, batch):
        session = scorer.start(pl.DataFrame({"docid": np.arange(low, min(low + batch, count))}))
        for stage, part in enumerate(parts):
            part.append(session.score(stage).values)
    return np.stack([np.concatenate(part) for part in parts])


@dataclass(frozen=True)
class _Lookup:
    """Scores of images, looked up instead of computed again for every type that an image is a candidate of."""

    scores: NDArray[np.float32]
    stages: Sequence[StageInfo]

    def scorer(self) -> CallableScorer:
        functions = [partial(self._stage, stage) for stage in range(len(self.scores))]
        return CallableScorer(functions, self.stages)

    def _stage(self, stage: int, candidates: pl.DataFrame) -> NDArray[np.float32]:
        return self.scores[stage][candidates["docid"].to_numpy()]


class _Steps:
    """Turns the engine's running count into a task's increments."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance, self._done = advance, 0

    def __call__(self, done: int, total: int) -> None:
        self._advance(done - self._done)
        self._done = done


def _own_rates(name: str, rates: Sequence[float]) -> Sequence[float]:
    return rates if name.startswith("sliced") else [float(name.removeprefix("separate-"))]


def plain_settings(settings: CascadeSettings) -> dict[str, Any]:
    """The settings as plain types that JSON carries."""

    def plain(value: Any) -> Any:
        return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value

    hidden = {"out", "data_dir", "resume", "workers"}  # where and how files are read is not part of the result
    return {name: plain(value) for name, value in vars(settings).items() if name not in hidden}

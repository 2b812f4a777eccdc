"""The services compared: a network or two, and the policy that degrades them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from cascade import (
    Always,
    Anytime,
    DropExcess,
    LatencyRule,
    LatencyTable,
    PaperRule,
    Policy,
    Scorer,
    StageInfo,
    measure_latency,
)
from data import ImageData
from simulations.degradation.settings import DegradationSettings
from simulations.image_models import separate_network, sliced_network
from simulations.image_training import Trainer
from simulations.scorers import Images, SeparateScorer, SlicedScorer
from slicing import SlicedNetwork, TrainConfig, TrainResult, cost, parameter_count
from slicing.progress import Progress, open_task

SCORING_BATCH = 500
CHUNK = 32  # images that flow through a separate network together, as in `simulate cascade`
LATER = 0.6  # of the headroom is left for a step of a batch whose pace is known


@dataclass(frozen=True)
class Networks:
    """The trained networks as scorers: the sliced one, and the pair of separate ones, small and full."""

    sliced: Scorer
    pair: Scorer
    training: dict[str, tuple[TrainResult, tuple[float, ...]]]


@dataclass(frozen=True)
class Service:
    """A scorer under a policy.

    Attributes:
        name, text: what it is.
        table: what its scorer's steps take.
        rates: slice rate of each stage; a separate network's is that of its width.
        right: (stages, images) whether a stage classifies a test image correctly.
    """

    name: str
    text: str
    scorer: Scorer
    policy: Policy
    table: LatencyTable
    rates: tuple[float, ...]
    right: NDArray[np.bool_]


def trained_networks(settings: DegradationSettings, data: ImageData, progress: Progress | None) -> Networks:
    """Train the sliced network and the two separate ones, or load them where `resume` finds them finished."""
    training = settings.training()
    config = TrainConfig(
        epochs=settings.scale.epochs,
        batch_size=settings.scale.batch_size,
        learning_rate=settings.scale.learning_rate,
        device=settings.device,
        seed=settings.seed,
    )
    folder = settings.out / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(training, data, config, folder, progress)
    rates = settings.scale.rates
    networks: dict[str, tuple[nn.Module, tuple[float, ...]]] = {
        "sliced-nested": (sliced_network(training, data, "nested"), rates),
        "separate-1": (separate_network(training, data, 1.0), (1.0,)),
        f"separate-{rates[0]:g}": (separate_network(training, data, rates[0]), rates[:1]),
    }
    results = {name: (trainer.fit(name, network), own) for name, (network, own) in networks.items()}
    sliced, full, small = (network for network, _ in networks.values())
    assert isinstance(sliced, SlicedNetwork)
    images = Images(data.test, data.mean, data.std, settings.device)
    dense = sliced_network(training, data, "dense")
    costs = cost(dense, images.shape)
    infos = [StageInfo(rates[k], parameter_count(dense, rates[k]), costs.flops(k)) for k in (0, len(rates) - 1)]
    pair = SeparateScorer([small.eval(), full.eval()], infos, images, CHUNK)
    return Networks(SlicedScorer(sliced.eval(), images), pair, results)


def service_times(
    scorer: Scorer, settings: DegradationSettings, images: int, name: str, progress: Progress | None
) -> pl.DataFrame:
    """Measure a scorer on this machine, on batches of test images: a `LatencyTable` as a frame."""
    rng = np.random.default_rng(settings.seed)
    scale, count = settings.scale, len(scorer.stages)
    with open_task(progress, f"measuring {name}", (scale.repeats + 1) * count * (count + 1) // 2, "steps") as task:
        return measure_latency(
            scorer,
            lambda n: pl.DataFrame({"docid": rng.integers(images, size=n)}),
            scale.sizes,
            repeats=scale.repeats,
            done=partial(task.advance, 1),
        ).frame()


def right_by_stage(scorer: Scorer, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(stages, images) whether each stage's highest score is the image's class."""
    parts = []
    for low in range(0, len(labels), SCORING_BATCH):
        own = labels[low : low + SCORING_BATCH]
        session = scorer.start(pl.DataFrame({"docid": np.arange(low, low + len(own))}))
        parts.append([session.score(stage).values.argmax(1) == own for stage in range(len(scorer.stages))])
    return np.concatenate(parts, axis=1)


def seconds_per_image(pair: LatencyTable) -> float:
    """The paper's t: the full separate network's time for an image of the largest batch measured."""
    return pair.seconds(1, pair.sizes[-1]) / pair.sizes[-1]


def services(
    networks: Networks,
    sliced: LatencyTable,
    pair: LatencyTable,
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    headroom: float,
) -> list[Service]:
    """The seven, each with what it needs to be served.

    Args:
        networks: the scorers.
        sliced, pair: what their steps take.
        right: of both, see :func:`right_by_stage`.
        headroom: share by which policies that go by measured times plan their steps to be slower.
    """
    rates = tuple(float(info.rate or 1.0) for info in networks.sliced.stages)
    make_sliced: Callable[..., Service] = partial(
        Service,
        scorer=networks.sliced,
        table=sliced,
        rates=rates,
        right=right[0],
    )
    make_separate: Callable[..., Service] = partial(
        Service,
        scorer=networks.pair,
        table=pair,
        rates=(rates[0], rates[-1]),
        right=right[1],
    )
    t = seconds_per_image(pair)
    plan_sliced, plan_pair = sliced.with_headroom(headroom), pair.with_headroom(headroom)
    every: list[tuple[Callable[..., Service], str, Any, str]] = [
        (make_separate, "full", Always(1), "a fixed full network, always"),
        (make_sliced, "narrowest", Always(0), "the sliced network's narrowest rate, always"),
        (
            make_separate,
            "drop",
            DropExcess(plan_pair, 1),
            "the fixed full network; drops of every request what it has no time for",
        ),
        (make_separate, "small-model", LatencyRule(plan_pair), "a separate small network on overload"),
        (make_sliced, "paper-rule", PaperRule(rates, t), "sliced: the largest r with n r² t ≤ the time left (T/2)"),
        (make_sliced, "latency-rule", LatencyRule(plan_sliced), "sliced: the same with measured times"),
        (
            make_sliced,
            "anytime",
            Anytime(sliced, headroom, headroom * LATER),
            "sliced: widened until the time is used, from a start that costs nothing",
        ),
    ]
    return [make(name=name, text=text, policy=policy) for make, name, policy, text in every]

"""Training one network on images: the same data, budget and checkpoints whatever the network."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn

from data import ImageData, epoch_batches, ordered_batches
from simulations.settings import CascadeSettings
from slicing import (
    Joint,
    Normal,
    Plain,
    Sampled,
    Sandwich,
    Scheme,
    SlicedNetwork,
    TrainConfig,
    TrainResult,
    Uniform,
    train,
)
from slicing.progress import Progress
from slicing.progressive import Phased

EVALUATION_BATCH = 100
"""Images judged together: of 500, a residual network's activations leave the cache and it runs a third as fast."""


@dataclass(frozen=True)
class Trainer:
    """Trains networks on one data set under one configuration.

    Attributes:
        folder: where the checkpoints lie, a file per network.
        progress: shows the pace; None is silent.
    """

    settings: CascadeSettings
    data: ImageData
    config: TrainConfig
    folder: Path
    progress: Progress | None

    def fit(
        self,
        name: str,
        network: nn.Module,
        scheme: Scheme | Phased | None = None,
        on_epoch: Callable[[int, nn.Module], None] | None = None,
    ) -> TrainResult:
        """Train in place; the network ends with the weights of the epoch that validates best.

        Args:
            name: of its checkpoint.
            network: freshly initialised.
            scheme: what a step does; None is what the settings say.
            on_epoch: called with each epoch, counted from 0, and the network after it.
        """
        data, config = self.data, self.config
        images = data.train.augmented(data.mirror_safe) if self.settings.augment else data.train

        def batches(epoch: int):  # type: ignore[no-untyped-def]
            return epoch_batches(
                images,
                config.batch_size,
                seed=config.seed,
                epoch=epoch,
                mean=data.mean,
                std=data.std,
            )

        return train(
            network,
            scheme if scheme is not None else self._scheme(network),
            batches,
            validate=self._accuracies,
            config=config,
            checkpoint=self.folder / f"{name}.safetensors",
            resume=self.settings.resume,
            progress=_Titled(self.progress, name) if self.progress is not None else None,
            steps_per_epoch=ceil(len(data.train) / config.batch_size),
            on_epoch=on_epoch,
        )

    def _scheme(self, network: nn.Module) -> Scheme:
        if not isinstance(network, SlicedNetwork):
            return Plain()
        name = self.settings.scheme
        if name == "auto":
            name = "sampled" if network.connectivity == "dense" else "joint"
        if name == "joint":
            own = 0.0 if network.connectivity.recomputes else self.settings.own
            return Joint(self.settings.weights, self.settings.distill, own=own)
        if name == "sandwich":
            return Sandwich()
        return Sampled(Normal() if self.settings.distribution == "normal" else Uniform())

    def _accuracies(self, network: nn.Module) -> list[float]:
        """Share of the validation images that each rate classifies correctly."""
        data = self.data
        right: Tensor | float = 0.0
        for x, y in ordered_batches(data.validation, EVALUATION_BATCH, mean=data.mean, std=data.std):
            x, y = x.to(self.config.device), y.to(self.config.device)
            scores = network.forward_all(x) if isinstance(network, SlicedNetwork) else network(x)[None]
            right = right + (scores.argmax(2) == y).sum(1)
        assert isinstance(right, torch.Tensor)
        return [count / len(data.validation) for count in right.tolist()]


@dataclass(frozen=True)
class _Titled:
    """A progress that says which network is being trained."""

    progress: Progress
    name: str

    def task(self, title: str, total: int, unit: str = "items", done: int = 0):  # type: ignore[no-untyped-def]
        return self.progress.task(f"{title} {self.name}", total, "images", done)

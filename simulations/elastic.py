"""What the experiments on elastic image networks share (sections 5.1, 5.3, 5.4): training, accuracy by rate."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from data import ImageData, ordered_batches
from simulations.baselines import TOP5_CLASSES, Point, accuracy_of
from simulations.cascade import load_data
from simulations.elastic_settings import ElasticSettings, Residual
from simulations.history import training_history
from simulations.image_models import head_start
from simulations.image_training import EVALUATION_BATCH, Trainer
from simulations.report import check_out, machine, validate_report, versions, write_report
from simulations.report.schema import Report
from simulations.settings import CascadeSettings
from slicing import (
    Scheme,
    SlicedNetwork,
    SlicingError,
    TrainConfig,
    TrainResult,
    convert,
    cost,
    extract,
    parameter_count,
)
from slicing.files import atomic_path
from slicing.models import resnet, small_cnn, vgg13, vgg16, wide_resnet
from slicing.models.resnet import ResidualNetwork
from slicing.progress import Progress, open_task
from slicing.progressive import Phased

CONVENTION = "one multiply-add = 1; convolutions and dense layers"
SIXTEENTHS = tuple(k / 16 for k in range(4, 17))
GROUPS = 16  # of normalisation, so that every sixteenth is legal


class Workbench:
    """The data of an experiment and the training of its networks, all on the same budget.

    Args:
        settings: of the run.
        progress: shows the pace; None is silent.

    Attributes:
        histories: of the networks trained so far, for the report.

    Raises:
        ValueError: for data that can't be read or a folder that can't be written.
    """

    def __init__(self, settings: ElasticSettings, progress: Progress | None) -> None:
        check_out(settings.out)
        sizes = settings.sizes
        if settings.data_dir is None and sizes.data != "digits":
            raise SlicingError(f"scale {settings.scale} needs {sizes.data}; pass --data-dir with its folder")
        self.settings, self.sizes, self._progress = settings, sizes, progress
        asked = CascadeSettings(
            out=settings.out,
            data=sizes.data,
            data_dir=settings.data_dir,
            image_size=sizes.image_size,
            train_limit=sizes.train_limit,
            workers=settings.workers,
            seed=settings.seed,
            resume=settings.resume,
        )
        self.data = _validated_by_fewer(load_data(asked, progress))
        self.config = TrainConfig(
            epochs=sizes.epochs,
            batch_size=sizes.batch_size,
            learning_rate=sizes.learning_rate,
            warmup=sizes.warmup,
            precision=settings.precision,
            device=settings.device,
            seed=settings.seed,
        )
        folder = settings.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        self._trainer = Trainer(asked, self.data, self.config, folder, progress)
        self.histories: list[dict[str, Any]] = []

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image, (C, H, W)."""
        return self.data.shape

    def chain(self) -> nn.Sequential:
        """The plain chain of convolutions at full width, with fresh weights drawn from the seed."""
        torch.manual_seed(self.settings.seed)
        builders: dict[str, Callable[..., nn.Sequential]] = {
            "small-cnn": small_cnn,
            "vgg13": vgg13,
            "vgg16": partial(vgg16, dropout=self.sizes.dropout),
        }
        return builders[self.sizes.chain](len(self.data.classes), self.sizes.width, GROUPS, self.shape[0])

    def residual(self, which: Residual, depth: int | None = None) -> ResidualNetwork:
        """A plain residual network at full width, of another depth if asked, its fresh weights drawn from the seed."""
        torch.manual_seed(self.settings.seed)
        build = wide_resnet if which.wide else resnet
        return build(depth or which.depth, which.widening, classes=len(self.data.classes), in_channels=self.shape[0])

    def sliced(self, plain: nn.Module, rates: Sequence[float], connectivity: str = "dense") -> SlicedNetwork:
        """A sliced network of this architecture, with fresh weights drawn from the seed."""
        network = SlicedNetwork(convert(plain, rates, "dense").spec, rates, connectivity)
        torch.manual_seed(self.settings.seed)
        network.reset_parameters(head=head_start(connectivity) if len(rates) > 1 else 1.0)
        return network

    def separate(self, plain: nn.Module, rate: float) -> SlicedNetwork:
        """A network of the r-net's widths and nothing else, with fresh weights drawn from the seed."""
        narrow = extract(self.sliced(plain, sorted({rate, 1.0})), rate)
        return self.sliced(narrow, [1.0])

    def fit(
        self,
        name: str,
        network: nn.Module,
        scheme: Scheme | Phased,
        *,
        epochs: int | None = None,
        on_epoch: Callable[[int, nn.Module], None] | None = None,
    ) -> TrainResult:
        """Train in place; the network ends with the weights of the epoch that validates best.

        Args:
            name: of its checkpoint and its history.
            network: freshly initialised.
            scheme: what a step does.
            epochs: of this network; None is the scale's.
            on_epoch: called with each epoch, counted from 0, and the network after it.
        """
        trainer = self._trainer
        if epochs is not None:
            trainer = replace(trainer, config=replace(self.config, epochs=epochs))
        result = trainer.fit(name, network, scheme, on_epoch)
        rates = network.rates if isinstance(network, SlicedNetwork) else (1.0,)
        self.histories.append(training_history(name, result, rates))
        return result

    def accuracy(self, predict: Callable[[torch.Tensor], torch.Tensor]) -> float:
        """Share of the test images classified correctly."""
        return self._accuracies(predict, (1,))[0]

    def _accuracies(self, predict: Callable[[torch.Tensor], torch.Tensor], tops: Sequence[int]) -> tuple[float, ...]:
        data, device = self.data, self.settings.device
        batches = ordered_batches(data.test, EVALUATION_BATCH, mean=data.mean, std=data.std)
        return accuracy_of(predict, ((x.to(device), y.to(device)) for x, y in batches), tops)

    def points(self, network: SlicedNetwork) -> list[Point]:
        """Accuracy and cost at each of the network's rates, narrowest first; of many classes, top-5 accuracy, too."""
        costs, found = cost(network, self.shape), []
        tops = (1, 5) if len(self.data.classes) >= TOP5_CLASSES else (1,)
        with open_task(self._progress, "test images at every rate", len(network.rates), "rates") as task:
            for k, rate in enumerate(network.rates):
                shares = self._accuracies(lambda x, rate=rate: network(x, rate=rate), tops)  # type: ignore[misc]
                found.append(Point(f"{rate:g}", costs.flops(k), parameter_count(network, rate), *shares))
                task.advance(1)
        return found

    @staticmethod
    def resliced(network: SlicedNetwork, rates: Sequence[float]) -> SlicedNetwork:
        """A trained dense network's weights with other rates, below its lower bound too (section 5.1.3)."""
        return convert(extract(network), rates, "dense").eval()

    def write(self, command: str, headline: str, protocol: str, **parts: Any) -> Report:
        """Check the report of an experiment and write it; ``parts`` are its tables and curves, and further fields."""
        data, sizes = self.data, self.sizes
        shown = {name: parts.pop(name) for name in ("tables", "curves") if name in parts}
        report: dict[str, Any] = {
            "schema": 1,
            "command": command,
            "seed": self.settings.seed,
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
            "settings": {
                "scale": self.settings.scale,
                **sizes.plain(),
                "precision": self.settings.precision,
            },
            "flops_convention": CONVENTION,
            "headline": f"A{self.scale_said()[1:]}: {headline}",
            "protocols": {protocol: {"systems": [], **shown}},
            "training": self.histories,
            **parts,
        }
        checked = validate_report(report)
        write_report(checked, self.settings.out)
        return checked

    def scale_said(self) -> str:
        """The scale, plainly."""
        data, sizes = self.data, self.sizes
        return (
            f"at scale {self.settings.scale} ({data.name}, {len(data.train):,} images, {sizes.epochs} epochs a "
            f"network, {len(data.test):,} test images)"
        )

    def write_csv(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write numbers beside the report, whole or not at all."""
        with (
            atomic_path(self.settings.out / name) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def _validated_by_fewer(data: ImageData) -> ImageData:
    """At most a validation image for every five to learn from: more would take longer than an epoch at many rates."""
    most = max(1, len(data.train) // 5)
    if len(data.validation) <= most:
        return data
    return replace(data, validation=data.validation.take(torch.arange(most)))


def percent(share: float) -> str:
    """A share as a percentage of two decimals."""
    return f"{100 * share:.2f}"

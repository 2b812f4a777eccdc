"""Training and judging language models: the same text, budget and checkpoints whatever the network."""

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import TextData, contiguous_batches
from simulations.language_settings import LanguageSettings
from slicing import (
    Carried,
    ConversionWarning,
    Scheme,
    SlicedLSTM,
    SlicedNetwork,
    TrainConfig,
    TrainResult,
    Truncated,
    convert,
    train,
)
from slicing.models import LanguageModel
from slicing.progress import Progress

WHOLE = ("embedding",)  # the paper slices the recurrent layers and the output layer
EVALUATION_STREAMS, EVALUATION_STEPS = 10, 70


def language_network(
    settings: LanguageSettings, words: int, rates: Sequence[float], connectivity: str, units: int | None = None
) -> SlicedNetwork:
    """A sliced language model with fresh weights drawn from the seed.

    Args:
        settings: give the sizes.
        words: in the vocabulary.
        rates: rising to 1.0.
        connectivity: see :class:`slicing.Connectivity`.
        units: of each LSTM layer; None is the scale's.
    """
    scale = settings.scale
    torch.manual_seed(settings.seed)
    module = LanguageModel(words, scale.embedding, units or scale.units, dropout=scale.dropout)
    with warnings.catch_warnings():  # it says which weights nesting drops; these are random
        warnings.simplefilter("ignore", ConversionWarning)
        network = convert(module, rates, connectivity, whole=WHOLE)
    for _, layer in network.layer_modules():
        if isinstance(layer, SlicedLSTM):
            layer.reset_parameters()  # each block by its own fan-in
    return network


@dataclass(frozen=True)
class LanguageTrainer:
    """Trains networks on one text under one configuration.

    Attributes:
        folder: where the checkpoints lie, a file per network.
        progress: shows the pace; None is silent.
    """

    settings: LanguageSettings
    text: TextData
    folder: Path
    progress: Progress | None

    def fit(self, name: str, network: SlicedNetwork, scheme: Scheme) -> TrainResult:
        """Train in place; the network ends with the weights of the epoch that validates best."""
        settings, scale = self.settings, self.settings.scale
        config = TrainConfig(
            epochs=scale.epochs,
            batch_size=scale.batch_size,
            learning_rate=settings.learning_rate,
            momentum=0.0,
            weight_decay=0.0,
            warmup=0.0,
            schedule="plateau",
            device=settings.device,
            seed=settings.seed,
            clip=settings.clip,
        )
        pieces = contiguous_batches(self.text.train, scale.batch_size, scale.steps)

        def batches(epoch: int) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
            for number, (words, following) in enumerate(pieces):
                yield (words, torch.tensor(number)), following

        return train(
            Truncated(network),
            scheme,
            batches,
            validate=self._log_likelihoods,
            config=config,
            checkpoint=self.folder / f"{name}.safetensors",
            resume=settings.resume,
            progress=_Titled(self.progress, name) if self.progress is not None else None,
            steps_per_epoch=len(pieces),
        )

    def _log_likelihoods(self, model: nn.Module) -> list[float]:
        """Mean log likelihood of a validation word at each rate: minus the logarithm of the perplexity."""
        assert isinstance(model, Truncated)
        return [-math.log(perplexity(model.network, self.text.validation, rate)) for rate in model.rates]


@torch.no_grad()
def perplexity(network: SlicedNetwork, words: Tensor, rate: float) -> float:
    """exp of the mean negative log likelihood of each word given those before it in its stream (section 5.2.1).

    Args:
        network: in eval mode.
        words: int64 (tokens,), read in ten streams.
        rate: one of the network's rates.
    """
    device = next(network.parameters()).device
    total, count, carried = 0.0, 0, Carried()
    for given, following in contiguous_batches(words, EVALUATION_STREAMS, EVALUATION_STEPS):
        scores = network(given.to(device), rate=rate, carried=carried)
        loss = F.cross_entropy(scores.float().flatten(0, 1), following.to(device).flatten(), reduction="sum")
        total, count = total + float(loss), count + following.numel()
        carried = Carried(carried.end)
    return math.exp(total / count)


@dataclass(frozen=True)
class _Titled:
    """A progress that says which network is being trained; an item is a stream's piece."""

    progress: Progress
    name: str

    def task(self, title: str, total: int, unit: str = "items", done: int = 0):  # type: ignore[no-untyped-def]
        return self.progress.task(f"{title} {self.name}", total, "pieces", done)

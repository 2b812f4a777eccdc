"""Networks as stage scorers of the cascade engine, over a set of images."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cascade import StageInfo, StageScores
from data import ImageSet, normalise
from slicing import IncrementalScorer, Session, SlicedNetwork, cost, parameter_count
from slicing.incremental import Reuse

SLICE = 256  # images that are normalised at a time: what they need in between stays in the processor's cache


@dataclass(frozen=True)
class Images:
    """The images that candidates refer to: ``docid`` is the image's position."""

    split: ImageSet
    mean: Sequence[float]
    std: Sequence[float]
    device: str = "cpu"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.split.shape

    @property
    def bytes(self) -> int:
        """Of one normalised image."""
        return 4 * prod(self.shape)

    def of(self, candidates: pl.DataFrame) -> Tensor:
        """The candidates' images, normalised, (n, C, H, W), the channels last in memory as convolutions want them."""
        rows = torch.from_numpy(candidates["docid"].to_numpy().astype(np.int64)).split(SLICE)
        result = torch.empty((len(candidates), *self.shape), device=self.device, memory_format=torch.channels_last)
        for part, images in zip(result.split(SLICE), self.split.batches(rows, torch.Generator()), strict=True):
            part.copy_(normalise(images.to(self.device), self.mean, self.std))
        return result


class SlicedScorer:
    """One sliced network, a stage per rate; a later stage widens what an earlier one has computed.

    Args:
        network: nested or dense, in eval mode.
        images: what to score.
        reuse: as in :class:`slicing.IncrementalScorer`.
    """

    def __init__(self, network: SlicedNetwork, images: Images, reuse: Reuse = "auto") -> None:
        costs = cost(network, images.shape)
        self.stages = tuple(
            StageInfo(rate, parameter_count(network, rate), costs.flops(k)) for k, rate in enumerate(network.rates)
        )
        self.params_held = parameter_count(network)
        self._scorer, self._images = IncrementalScorer(network, reuse=reuse), images

    def start(self, candidates: pl.DataFrame) -> "SlicedSession":
        """A session over the candidates' images."""
        rates = [info.rate or 1.0 for info in self.stages]
        return SlicedSession(self._scorer.start(self._images.of(candidates)), rates)


class SlicedSession:
    """Adapts :class:`slicing.Session` to the engine's protocol."""

    def __init__(self, session: Session, rates: Sequence[float]) -> None:
        self._session, self._rates = session, rates

    def score(self, stage: int) -> StageScores:
        """Widen to the stage's rate."""
        values = self._session.widen(self._rates[stage])
        return StageScores(values.cpu().numpy(), self._session.flops, self._session.mode)

    def keep(self, survivors: NDArray[np.int64]) -> None:
        """Compact the caches."""
        self._session.select(torch.from_numpy(survivors))


class SeparateScorer:
    """One plain torch network per stage: the usual cascade.

    Args:
        networks: in eval mode, narrowest first.
        infos: what each costs.
        images: what to score.
        chunk: images that flow through a network together.
    """

    def __init__(self, networks: Sequence[nn.Module], infos: Sequence[StageInfo], images: Images, chunk: int) -> None:
        self.networks, self.stages, self.chunk = tuple(networks), tuple(infos), chunk
        self.params_held = sum(info.params for info in infos)
        self._images = images

    def start(self, candidates: pl.DataFrame) -> "SeparateSession":
        """A session over the candidates' images."""
        return SeparateSession(self, self._images.of(candidates))


class SeparateSession:
    """Holds the images still in; every stage starts from them."""

    def __init__(self, scorer: SeparateScorer, images: Tensor) -> None:
        self._scorer, self._images = scorer, images

    @torch.inference_mode()
    def score(self, stage: int) -> StageScores:
        """Run the stage's own network."""
        network = self._scorer.networks[stage]
        values = torch.cat([network(x) for x in self._images.split(self._scorer.chunk)])
        return StageScores(values.cpu().numpy(), self._scorer.stages[stage].flops, "fresh")

    def keep(self, survivors: NDArray[np.int64]) -> None:
        """Keep the survivors' images."""
        if len(survivors) < len(self._images):
            self._images = self._images[torch.from_numpy(survivors)]

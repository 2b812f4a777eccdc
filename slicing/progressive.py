"""The paper's progressive schedules (section 3.5.2): training in phases, each with a scheme of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from slicing.conv import SlicedGroupedConv2d
from slicing.errors import SlicingError
from slicing.layers import SlicedEmbedding, SlicedGroupNorm
from slicing.losses import Criterion, CrossEntropy
from slicing.mixing import Mixing
from slicing.network import SlicedNetwork
from slicing.rates import rate_index
from slicing.recurrent import SlicedRecurrent
from slicing.schedules import Distribution, Normal
from slicing.schemes import Inputs, Sampled, Scheme, as_tuple, rates_of_sliced


@dataclass(frozen=True)
class Phase:
    """Some epochs of a run.

    Attributes:
        scheme: what a step does.
        first: the first epoch, counted from 0.
        stop: one past the last; the learning-rate curve is that of these epochs.
        fixed: the rate whose subnet keeps its parameters as they are; None when all are trained.
    """

    scheme: Scheme
    first: int
    stop: int
    fixed: float | None = None


@runtime_checkable
class Phased(Protocol):
    """A scheme that changes as the training goes on. Like a scheme a frozen dataclass."""

    def phase(self, epoch: int, epochs: int, model: nn.Module) -> Phase:
        """The phase that an epoch, counted from 0, of ``epochs`` belongs to."""
        ...


@dataclass(frozen=True)
class AtRate:
    """One rate in every step.

    Args:
        rate: one of the network's.
        criterion: the loss against the labels.
    """

    rate: float
    criterion: Criterion = field(default_factory=CrossEntropy)

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of that rate."""
        return self.criterion(model(*as_tuple(x), rate=self.rate), y)


@dataclass(frozen=True)
class ProgressiveDynamic:
    """The whole network first, then rates drawn by Equation 10 (progressive dynamic scheduling).

    The learning-rate curve runs on over both phases.

    Args:
        share: of all epochs that go to the whole network, in (0, 1), rounded to whole epochs.
        distribution: what the rate is drawn from afterwards.
        criterion: the loss against the labels.
    """

    share: float = 0.5
    distribution: Distribution = field(default_factory=Normal)
    criterion: Criterion = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.share) and 0 < self.share < 1):
            raise SlicingError(f"share must lie in (0, 1), got {self.share}; try 0.5")

    def phase(self, epoch: int, epochs: int, model: nn.Module) -> Phase:
        """At rate 1.0 for the share of the epochs, then sampled."""
        rates_of_sliced(model, Sampled())
        full = epoch < round(self.share * epochs)
        scheme = AtRate(1.0, self.criterion) if full else Sampled(self.distribution, self.criterion)
        return Phase(scheme, 0, epochs)


@dataclass(frozen=True)
class ProgressiveStatic:
    """Rate by rate from the lower bound up, what the narrower ones hold staying as it is (progressive static
    scheduling).

    The paper goes on to the next rate once a subnet has converged; here each has an equal share of the run's epochs and
    the whole learning-rate curve of its share. So that each of K rates is trained as long as one network would be, as
    in the paper, the run needs K times its epochs.

    Args:
        criterion: the loss against the labels.
    """

    criterion: Criterion = field(default_factory=CrossEntropy)

    def phase(self, epoch: int, epochs: int, model: nn.Module) -> Phase:
        """The rate whose turn it is, the one before it fixed.

        Raises:
            SlicingError: with fewer epochs than rates.
        """
        rates = rates_of_sliced(model, Sampled())
        if epochs < len(rates):
            raise SlicingError(
                f"progressive static training needs an epoch for each of {len(rates)} rates at least, got {epochs}"
            )
        bounds = [k * epochs // len(rates) for k in range(len(rates) + 1)]
        at = next(k for k in range(len(rates)) if epoch < bounds[k + 1])
        fixed = rates[at - 1] if at else None
        return Phase(AtRate(rates[at], self.criterion), bounds[at], bounds[at + 1], fixed)


def phase_of(scheme: Scheme | Phased, epoch: int, epochs: int, model: nn.Module) -> Phase:
    """The phase of an epoch; a scheme that does not change is one phase."""
    if isinstance(scheme, Phased):
        return scheme.phase(epoch, epochs, model)
    return Phase(scheme, 0, epochs)


class Fixed:
    """The parameters of an r-net, put back after every step: momentum and weight decay would move them, too.

    Args:
        network: the sliced network.
        rate: of the subnet to keep; None keeps nothing.
    """

    def __init__(self, network: nn.Module, rate: float | None) -> None:
        self._kept: Sequence[tuple[Tensor, Tensor]] = ()
        if rate is not None:
            assert isinstance(network, SlicedNetwork)
            self._kept = [(part, part.clone()) for part in parameters_of(network, rate)]

    @torch.no_grad()
    def restore(self) -> None:
        """Undo what a step did to them."""
        for part, value in self._kept:
            part.copy_(value)


def parameters_of(network: SlicedNetwork, rate: float) -> list[Tensor]:
    """What the r-net holds, as views of the network's parameters."""
    to = rate_index(network.rates, rate)
    found: list[Tensor | None] = []
    for _, layer in network.layer_modules():
        if isinstance(layer, SlicedRecurrent):
            for a, b, m, _, _ in layer.blocks(-1, to):
                found += [layer.by_gate(layer.weight_ih)[:, a:b, :m], layer.by_gate(layer.weight_hh)[:, a:b, :b]]
                found += [layer.by_gate(bias)[:, a:b] for bias in (layer.bias_ih, layer.bias_hh) if bias is not None]
        elif isinstance(layer, Mixing):
            found += [layer.weight[a:b, :m] for a, b, m, _ in layer.blocks(-1, to)]
            found.append(_first(layer.bias, layer.gives.widths[to]))
        elif isinstance(layer, SlicedEmbedding):
            found.append(layer.weight[:, : layer.gives.widths[to]])
        elif isinstance(layer, SlicedGroupedConv2d | SlicedGroupNorm):
            found += [_first(parameter, layer.gives.widths[to]) for parameter in (layer.weight, layer.bias)]
    return [part.detach() for part in found if part is not None]


def _first(parameter: Tensor | None, units: int) -> Tensor | None:
    return None if parameter is None else parameter[:units]

"""Training schemes: which forward passes one step makes, and how their losses add up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from slicing.connectivity import Connectivity
from slicing.errors import SlicingError
from slicing.losses import Criterion, CrossEntropy, Distillation
from slicing.schedules import Distribution, Normal, sample_rate

Inputs = Tensor | tuple[Tensor, ...]  # what a network reads: one tensor (N, ...), or several with the same rows


class Scheme(Protocol):
    """What one training step does.

    ``loss`` runs the forward passes of one step, in whatever number the scheme needs, and returns one scalar
    for one ``backward()``. All its chance draws come from ``generator`` (on the CPU), so that the trainer can
    repeat them. Schemes are frozen dataclasses: a checkpoint stores their fields and refuses to go on with
    others.
    """

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The scalar loss of one batch, inputs ``(N, ...)`` (a tuple for several) and targets ``(N, ...)``."""
        ...


@dataclass(frozen=True)
class Plain:
    """The usual step of a plain module: ``criterion(model(x), y)``. For the separate baselines.

    A sliced network is trained at its full rate alone.
    """

    criterion: Criterion = field(default_factory=CrossEntropy)

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of one forward pass."""
        return self.criterion(model(*as_tuple(x)), y)


def wide_weights(count: int) -> tuple[float, ...]:
    """0.3 for the narrowest of ``count`` rates, 1 for the widest, 0.15 for each between (0.3 and 1 of two rates)."""
    return (0.3, *(0.15,) * (count - 2), 1.0) if count > 1 else (1.0,)


@dataclass(frozen=True)
class Joint:
    """All rates in every step: their weighted losses add up.

    With weights that sum to 1, as by default, narrow and wide rates learn slowly and alike, and the stages of a
    cascade agree; with larger ones the wide end learns more and agrees less (``docs/nesting.md``). It costs one
    forward pass per segment of rates, each as wide as the segment's last rate: one pass in all for a nested
    network, one per rate for a dense one, two for ``mixed@1``.

    Args:
        weights: one number per rate, narrowest first, in ``[0, inf)``, not all 0, taken as they are. ``None`` gives
            :func:`wide_weights`, divided by their sum.
        distill: share of each narrower rate's loss that is distillation from the widest rate's scores of the
            same step, in ``[0, 1]``; the rest is against the labels. The widest learns from the labels alone.
        criterion: the loss against the labels.
        distillation: the loss against the widest rate's (detached) scores. One that works query by query (its
            ``by_query`` is true, as :class:`~slicing.ranking_losses.ListDistillation`'s) gets their query indices, the
            target's second column, beside them.
        own: share, in ``[0, 1)``, of each wider rate's loss that is of what its block alone adds to the scores,
            against the labels; the rest is of the sum over the blocks. Without it a wide block has only to mend what
            narrower ones got wrong and learns little (``docs/nesting.md``). For nested networks, whose scores are
            such sums.
    """

    weights: Sequence[float] | None = None
    distill: float = 0.0
    criterion: Criterion = field(default_factory=CrossEntropy)
    distillation: Criterion = field(default_factory=Distillation)
    own: float = 0.0

    def __post_init__(self) -> None:
        if self.weights is not None:
            object.__setattr__(self, "weights", checked_weights(self.weights))
        if not 0 <= self.distill <= 1:
            raise SlicingError(f"distill must lie in [0, 1], got {self.distill}; try 0.5")
        if not 0 <= self.own < 1:
            raise SlicingError(f"own must lie in [0, 1), got {self.own}; try 0.5")

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The weighted sum over the rates."""
        self.check(model)
        return self.loss_of(every_rate(model, x), y)

    def check(self, model: nn.Module) -> None:
        """Refuse a model without rates, and ``own`` for one whose scores are not sums over its blocks.

        Raises:
            SlicingError: naming the scheme, or the connectivity.
        """
        rates_of_sliced(model, self)
        connectivity = getattr(model, "connectivity", None)
        if self.own > 0 and (connectivity is None or Connectivity(connectivity).recomputes):
            raise SlicingError(
                f"own={self.own} needs scores that are sums over blocks, connectivity 'nested', got "
                f"{connectivity!r}; set own=0 or nest the network"
            )

    def loss_of(self, every: Tensor, y: Tensor) -> Tensor:
        """The weighted sum over the rates, from every rate's scores ``(K, N, C)``."""
        losses = []
        for k, (weight, scores) in enumerate(zip(self.weights_of(len(every)), every, strict=True)):
            labels = 1.0 if k == len(every) - 1 else 1.0 - self.distill
            own = self.own if k > 0 else 0.0
            parts = []
            if labels > 0:
                parts.append((1 - own) * labels * self.criterion(scores, y))
            if labels < 1:
                taught = self.distillation(scores, _taught(self.distillation, every[-1], y))
                parts.append((1 - own) * (1 - labels) * taught)
            if own > 0:
                parts.append(own * self.criterion(scores - every[k - 1], y))
            losses.append(weight * sum(parts[1:], start=parts[0]))
        return torch.stack(losses).sum()

    def weights_of(self, count: int) -> tuple[float, ...]:
        """The weights of ``count`` rates."""
        weights = self.weights
        if weights is None:
            found = wide_weights(count)
            weights = [weight / sum(found) for weight in found]
        if len(weights) != count:
            raise SlicingError(
                f"weights must hold one number per rate, {count} in all, got {len(weights)}; leave them out for "
                "equal ones"
            )
        return tuple(weights)


@dataclass(frozen=True)
class Sampled:
    """One rate a step, drawn by Equation 10: the paper's dynamic scheduling (section 3.5.2, Algorithm 1).

    Args:
        distribution: what the rate is drawn from, :class:`~slicing.schedules.Normal` or
            :class:`~slicing.schedules.Uniform`.
        criterion: the loss against the labels.
    """

    distribution: Distribution = field(default_factory=Normal)
    criterion: Criterion = field(default_factory=CrossEntropy)

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of the drawn rate."""
        rate = sample_rate(rates_of_sliced(model, self), self.distribution, generator)
        return self.criterion(model(*as_tuple(x), rate=rate), y)


@dataclass(frozen=True)
class Sandwich:
    """The sandwich rule with in-place distillation (Yu and Huang 2019, US-Nets).

    The widest rate learns from the labels; the narrowest and ``middles`` rates drawn evenly from those
    between learn from the widest's detached scores. The loss is the mean over these rates: with the sum VGG-13 did
    not leave chance at a learning rate at which every other scheme learns. It costs one forward
    pass for each segment that holds one of these rates: one in all for a nested network, a pass per rate taken
    for a dense one.

    Args:
        middles: how many rates between the ends a step takes, at least 0; all of them where there are fewer.
        criterion: the loss of the widest rate, against the labels.
        distillation: the loss of the others, against the widest's scores.
    """

    middles: int = 2
    criterion: Criterion = field(default_factory=CrossEntropy)
    distillation: Criterion = field(default_factory=Distillation)

    def __post_init__(self) -> None:
        if isinstance(self.middles, bool) or not isinstance(self.middles, int) or self.middles < 0:
            raise SlicingError(f"middles must be a whole number of at least 0, got {self.middles!r}; US-Nets use 2")

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The mean over the rates of this step."""
        rates = rates_of_sliced(model, self)
        last = len(rates) - 1
        drawn = (torch.randperm(max(last - 1, 0), generator=generator)[: self.middles] + 1).tolist()
        students = [*([0] if last else []), *drawn]
        taken = sorted({last, *students})
        scores = dict(zip(taken, cast(Any, model).forward_all(*as_tuple(x), positions=taken), strict=True))
        teacher = _taught(self.distillation, scores[last], y)
        losses = [self.criterion(scores[last], y), *(self.distillation(scores[k], teacher) for k in students)]
        return torch.stack(losses).mean()


def as_tuple(x: Inputs) -> tuple[Tensor, ...]:
    """A network's inputs, always as a tuple."""
    return x if isinstance(x, tuple) else (x,)


def rates_of_sliced(model: nn.Module, scheme: Scheme) -> tuple[float, ...]:
    """The rates of a sliced network.

    Raises:
        SlicingError: for a module without rates, naming the scheme.
    """
    rates = getattr(model, "rates", None)
    if rates is None:
        raise SlicingError(
            f"the {type(scheme).__name__} scheme trains sliced networks, got a {type(model).__name__} "
            "without rates; use Plain, or convert the module first"
        )
    return tuple(rates)


def every_rate(model: nn.Module, x: Inputs) -> Tensor:
    """Every rate's scores, (K, N, C)."""
    every: Tensor = cast(Any, model).forward_all(*as_tuple(x))
    return every


def _taught(distillation: Criterion, teacher: Tensor, y: Tensor) -> Tensor:
    """What a distillation is told of the teacher: its scores, and for one by query the query indices beside them."""
    teacher = teacher.detach()
    if not getattr(distillation, "by_query", False):
        return teacher
    if y.dim() != 2 or y.shape[1] != 2:
        raise SlicingError(
            f"distillation by query needs targets (N, 2) = [label, query index], got shape {tuple(y.shape)}; "
            "give the query indices, or another distillation"
        )
    return torch.cat([teacher.float(), y[:, 1:].float()], dim=1)


def checked_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights of losses as floats.

    Raises:
        SlicingError: when one is negative or not finite, or none is above 0.
    """
    checked = tuple(float(weight) for weight in weights)
    if not all(math.isfinite(weight) and weight >= 0 for weight in checked) or not sum(checked) > 0:
        raise SlicingError(
            f"weights must be finite, at least 0 and not all 0, got {list(checked)}; leave them out for equal ones"
        )
    return checked

"""The settings of a training run, its learning-rate curve and its optimiser."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from slicing.errors import SlicingError

Curve = Literal["cosine", "step", "plateau"]
Precision = Literal["fp32", "bf16"]
Device = Literal["cpu", "cuda"]
Optimizer = Literal["sgd", "adamw"]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run; wrong ones are refused when it is made.

    Args:
        epochs: passes over the training split, at least 1.
        batch_size: the most items in one step, at least 1.
        learning_rate: the peak, reached after the warm-up, in ``(0, inf)``.
        momentum: Nesterov momentum, in ``[0, 1)``; 0 is plain SGD. AdamW takes it as its beta1.
        weight_decay: in ``[0, inf)``; spares biases and normalisation scales.
        warmup: share of all steps in which the learning rate rises linearly, in ``[0, 1)``.
        schedule: ``"cosine"`` falls to 0 after the warm-up; ``"step"`` divides by 10 after half and again
            after three quarters of all steps, as is usual on CIFAR; ``"plateau"`` divides by 4 after every epoch whose
            mean validation figure is no better than the best before it (section 5.2.2).
        precision: ``"fp32"``, or ``"bf16"``: autocast, with weights and optimiser state in fp32.
        device: ``"cpu"`` or ``"cuda"``.
        seed: of everything random in training (not of the initial weights, which the model brings), at least
            0.
        optimizer: ``"sgd"``, or ``"adamw"`` (Loshchilov and Hutter 2019): weight decay apart from the gradient, beta2
            0.999. AdamW wants a learning rate of about 1e-3.
        patience: stop after this many epochs in a row without a better mean validation figure, at least 1; ``None``
            trains all epochs. The learning-rate curve is that of all epochs either way.
        clip: the largest norm of all gradients together, in ``(0, inf)``; larger ones are scaled down. ``None`` leaves
            them.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.05
    schedule: Curve = "cosine"
    precision: Precision = "fp32"
    device: Device = "cpu"
    seed: int = 0
    optimizer: Optimizer = "sgd"
    patience: int | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        for name, least, remedy in (
            ("epochs", 1, "try 10"),
            ("batch_size", 1, "try 128"),
            ("seed", 0, "try 0"),
            ("patience", 1, "try 5"),
        ):
            value = getattr(self, name)
            if name == "patience" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
                raise SlicingError(
                    f"{name} must be a whole number of at least {least} in 63 bits, got {value!r}; {remedy}"
                )
        _check(self.learning_rate > 0, "learning_rate", "positive and finite", self.learning_rate, "try 0.1")
        _check(self.clip is None or self.clip > 0, "clip", "positive and finite", self.clip or 0.0, "try 0.25, or None")
        _check(0 <= self.momentum < 1, "momentum", "in [0, 1)", self.momentum, "try 0.9")
        _check(self.weight_decay >= 0, "weight_decay", "finite and at least 0", self.weight_decay, "try 5e-4")
        _check(0 <= self.warmup < 1, "warmup", "a share of the steps, in [0, 1)", self.warmup, "try 0.05")
        for name, kind in (
            ("schedule", Curve),
            ("precision", Precision),
            ("device", Device),
            ("optimizer", Optimizer),
        ):
            if getattr(self, name) not in get_args(kind):
                raise SlicingError(f"{name} must be one of {list(get_args(kind))}, got {getattr(self, name)!r}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise SlicingError(
                "device 'cuda' was asked for, but torch finds no CUDA device; use device 'cpu', or install "
                "a CUDA build of torch on a machine with a GPU"
            )


def plateaus(means: Sequence[float]) -> int:
    """How many epochs came to a mean validation figure no better than the best before them."""
    return sum(mean <= max(means[:epoch]) for epoch, mean in enumerate(means) if epoch)


def learning_rate_at(config: TrainConfig, step: int, total_steps: int, plateaus: int = 0) -> float:
    """The learning rate of one step.

    Args:
        config: gives the peak, the warm-up share and the shape.
        step: counted from 0 over the whole run.
        total_steps: of the whole run.
        plateaus: epochs so far that brought nothing, see :func:`plateaus`; only the curve of that name heeds it.
    """
    warm = round(config.warmup * total_steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    if config.schedule == "plateau":
        return float(config.learning_rate * 0.25**plateaus)
    if config.schedule == "step":
        return config.learning_rate * 0.1 ** ((step >= total_steps / 2) + (step >= total_steps * 3 / 4))
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total_steps - warm)))


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimiser; no weight decay on vectors: they are biases and normalisation scales."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise SlicingError(f"{type(model).__name__} has no parameter that requires a gradient: nothing to train")
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimizer == "adamw":
        # Fused: its step on a ranker of 512, 512 units takes 0.8 ms instead of 3.1.
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0)


def _check(holds: bool, name: str, rule: str, value: float, remedy: str) -> None:
    if not (holds and math.isfinite(value)):
        raise SlicingError(f"{name} must be {rule}, got {value}; {remedy}")

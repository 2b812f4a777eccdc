"""Criteria: what a training step judges scores by."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from slicing.errors import SlicingError


class Criterion(Protocol):
    """What scores are judged by: ``criterion(scores, target)`` is a scalar, the mean over the batch.

    A frozen dataclass (or a plain function) makes the best criterion: a checkpoint then knows what it was
    trained on.
    """

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """Scores of shape ``(N, C)`` and their target to a scalar loss."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross entropy of scores ``(N, C)`` against class indices ``(N,)``, computed in fp32.

    Sequences' scores ``(N, T, C)`` against ``(N, T)`` count step by step.

    Args:
        label_smoothing: share of each label that is spread evenly over the C classes, in ``[0, 1)``.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise SlicingError(f"label_smoothing must lie in [0, 1), got {self.label_smoothing}; try 0.1")

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch."""
        rows = scores.float().flatten(0, -2)
        return F.cross_entropy(rows, target.flatten(), label_smoothing=self.label_smoothing)


@dataclass(frozen=True)
class Distillation:
    """Cross entropy of the student's softmax against the teacher's, both over C classes (Hinton et al. 2015).

    No gradient reaches the teacher. With a temperature T both softmaxes are softened by T and the loss is
    multiplied by T^2, which keeps the size of its gradients.

    Args:
        temperature: T, in ``(0, inf)``.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise SlicingError(f"temperature must be positive and finite, got {self.temperature}; try 1")

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch; ``target`` holds the teacher's scores, of the same shape ``(N, C)``."""
        if scores.shape[1] < 2:
            raise SlicingError(
                "distillation through a softmax needs at least 2 scores a row, got shape "
                f"{tuple(scores.shape)}; pass another criterion"
            )
        teacher = (target.detach().float() / self.temperature).softmax(dim=1)
        return F.cross_entropy(scores.float() / self.temperature, teacher) * self.temperature**2

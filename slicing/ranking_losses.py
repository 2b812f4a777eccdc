"""Criteria of a ranker, over batches of whole queries.

Each takes scores (N, 1) and targets (N, 2) = [label, query index within the batch], so that it fits every training
scheme. Labels are at least 0; above 0 is relevant. All compute in fp32.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from slicing.errors import SlicingError
from slicing.grouping import gains, split_target
from slicing.ndcg import discounts, ideal_dcg

ListTarget = Literal["gain", "softmax"]


@dataclass(frozen=True)
class PointwiseBCE:
    """Binary cross entropy of each candidate's sigmoid, whatever its query; the mean over candidates.

    Args:
        threshold: labels of at least this are 1, others 0, in ``(0, inf)``.
        highest: where given, in ``(0, inf)``, the target is ``label / highest`` instead (graded relevance), and no
            label may exceed it.
    """

    threshold: float = 1.0
    highest: float | None = None

    def __post_init__(self) -> None:
        _positive("threshold", self.threshold, "try 1")
        if self.highest is not None:
            _positive("highest", self.highest, "give the largest label there is")

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch's candidates."""
        _check_shapes(scores, target)
        labels = target[:, 0].float()
        if self.highest is None:
            wanted = (labels >= self.threshold).float()
        else:
            wanted = labels / self.highest
            if bool((wanted > 1).any()):
                raise SlicingError(
                    f"labels must be at most highest={self.highest}, got {float(labels.max())}; give the largest label"
                )
        return F.binary_cross_entropy_with_logits(scores[:, 0].float(), wanted)


@dataclass(frozen=True)
class PointwiseMSE:
    """Squared error of each score against its label; the mean over candidates."""

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch's candidates."""
        _check_shapes(scores, target)
        return F.mse_loss(scores[:, 0].float(), target[:, 0].float())


@dataclass(frozen=True)
class ListwiseSoftmax:
    """Cross entropy of a query's scores, as a softmax, against its labels as a distribution (ListNet, Cao et al. 2007).

    A query without a relevant candidate contributes 0. The mean is over the batch's queries.

    Args:
        target: ``"gain"`` distributes by ``2^label - 1``, so that irrelevant candidates get nothing; ``"softmax"`` by
            ``exp(label)``, ListNet's top-one probability.
    """

    target: ListTarget = "gain"

    def __post_init__(self) -> None:
        if self.target not in get_args(ListTarget):
            raise SlicingError(f"target must be one of {list(get_args(ListTarget))}, got {self.target!r}")

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch's queries."""
        padded, labels, groups = split_target(scores, target)
        weight = gains(labels) if self.target == "gain" else labels.exp() * groups.held
        wanted = weight / weight.sum(1, keepdim=True).clamp(min=1e-12)
        wanted = wanted * (labels > 0).any(1, keepdim=True)
        return _cross_entropy(padded, wanted, groups.held).sum() / _count(groups.held)


@dataclass(frozen=True)
class LambdaLoss:
    """Pairwise logistic loss, each pair weighted by what swapping it would change in nDCG@k (Wang et al. 2018).

    For every pair of a query with label i > label j, at their present ranks,
    ``|G_i - G_j| * |D_i - D_j| / ideal * log2(1 + exp(-sigma (s_i - s_j)))``, with the gain ``G = 2^label - 1`` and the
    worth ``D = 1/log2(1 + rank)``, 0 behind rank k: the bound on nDCG@k whose gradient is LambdaRank's. No gradient
    flows through the weights. Summed over a query's pairs; the mean is over the batch's queries.

    Args:
        k: positions that count, at least 1.
        sigma: steepness of the logistic, in ``(0, inf)``.
    """

    k: int = 10
    sigma: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, int) or self.k < 1:
            raise SlicingError(f"k must be a whole number of at least 1, got {self.k!r}; try 10")
        _positive("sigma", self.sigma, "try 1")

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch's queries."""
        padded, labels, groups = split_target(scores, target)
        with torch.no_grad():
            order = padded.masked_fill(~groups.held, -torch.inf).argsort(dim=1, descending=True, stable=True)
            worth = discounts(padded.shape[1], self.k, padded.device).float()
            worth = torch.zeros_like(padded).scatter_(1, order, worth.expand_as(padded))
            ideal = ideal_dcg(labels, self.k).float()
            gain = gains(labels) / torch.where(ideal > 0, ideal, 1.0)[:, None]
            delta = _pairs(gain).abs() * _pairs(worth).abs()
            better = (_pairs(labels) > 0) & groups.held[:, :, None] & groups.held[:, None, :]
        loss = F.softplus(-self.sigma * _pairs(padded)) / math.log(2)
        return (loss * delta * better).sum() / _count(groups.held)


@dataclass(frozen=True)
class ListDistillation:
    """Cross entropy of the student's softmax over a query's candidates against the teacher's.

    What :class:`~slicing.losses.Distillation` is for classes, for one score a candidate: the narrow rate learns the
    wide one's order. No gradient reaches the teacher; with a temperature T both softmaxes are softened by T and the
    loss is multiplied by T^2. The mean is over the batch's queries.

    Args:
        temperature: T, in ``(0, inf)``.
    """

    temperature: float = 1.0
    by_query: ClassVar[bool] = True  # a scheme gives the query indices beside the teacher's scores

    def __post_init__(self) -> None:
        _positive("temperature", self.temperature, "try 1")

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        """The mean over the batch's queries; ``target`` (N, 2) = [teacher's score, query index]."""
        student, teacher, groups = split_target(scores, target.detach())
        soft = (teacher / self.temperature).masked_fill(~groups.held, -torch.inf)
        soft = torch.where(groups.held.any(1, keepdim=True), soft, 0.0).softmax(1)
        loss = _cross_entropy(student / self.temperature, soft, groups.held)
        return loss.sum() / _count(groups.held) * self.temperature**2


def _cross_entropy(scores: Tensor, wanted: Tensor, held: Tensor) -> Tensor:
    """``-sum wanted * log softmax(scores)`` over each query's rows, (Q,)."""
    padded = scores.masked_fill(~held, torch.finfo(scores.dtype).min)  # finite: 0 * -inf would be NaN
    return -(wanted * padded.log_softmax(1)).masked_fill(~held, 0.0).sum(1)


def _pairs(values: Tensor) -> Tensor:
    """Differences i - j of all pairs: (Q, L) to (Q, L, L)."""
    return values[:, :, None] - values[:, None, :]


def _count(held: Tensor) -> Tensor:
    return held.any(1).sum().clamp(min=1)


def _check_shapes(scores: Tensor, target: Tensor) -> None:
    if scores.dim() != 2 or scores.shape[1] != 1 or target.shape != (len(scores), 2):
        split_target(scores, target)  # says what is wrong


def _positive(name: str, value: float, remedy: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise SlicingError(f"{name} must be positive and finite, got {value}; {remedy}")

"""nDCG@k of one score a row, vectorised over queries: the figure that a ranker is validated by."""

from typing import Literal

import torch
from torch import Tensor

from slicing.errors import SlicingError
from slicing.grouping import Groups, gains

Gain = Literal["exponential", "linear"]
"""What a label is worth: 2^label - 1 (Järvelin and Kekäläinen 2002), or the label itself."""


def discounts(length: int, k: int, device: torch.device | str = "cpu") -> Tensor:
    """What a position is worth, ``1/log2(1 + rank)`` up to rank k and 0 behind it: fp64 (length,)."""
    ranks = torch.arange(1, length + 1, dtype=torch.float64, device=device)
    return torch.where(ranks <= k, 1.0 / torch.log2(1.0 + ranks), 0.0)


def ideal_dcg(labels: Tensor, k: int, gain: Gain = "exponential") -> Tensor:
    """The DCG@k of the best order.

    Args:
        labels: (Q, L), at least 0, padded with 0.
        k: positions that count.
        gain: see :data:`Gain`.

    Returns:
        fp64 (Q,), 0 for a query without a relevant candidate.
    """
    best = _gained(labels.double(), gain).sort(dim=1, descending=True).values
    return best @ discounts(labels.shape[1], k, labels.device)


def _gained(labels: Tensor, gain: Gain) -> Tensor:
    return labels if gain == "linear" else gains(labels)


def ndcg(scores: Tensor, labels: Tensor, queries: Tensor, k: int = 10, gain: Gain = "exponential") -> Tensor:
    """nDCG@k of each query that has a relevant candidate.

    Candidates of equal score share the mean of their positions' worth (McSherry and Najork 2008), as in scikit-learn,
    so that the order of rows can't matter.

    Args:
        scores: (N,), finite.
        labels: (N,), at least 0.
        queries: (N,), the query of each row, counted from 0.
        k: positions that count, at least 1.
        gain: see :data:`Gain`; labels far above 31 need the linear one.

    Returns:
        fp64 (queries with a label above 0,), in the order of their indices.

    Raises:
        SlicingError: when no query has a label above 0, or a score is NaN or infinite.
    """
    if not bool(scores.isfinite().all()):
        raise SlicingError("nDCG needs finite scores, got NaN or infinity among them; look at the features and weights")
    groups = Groups.of(queries)
    padded, padded_labels = groups.pad(scores.double(), -torch.inf), groups.pad(labels.double())
    ideal = ideal_dcg(padded_labels, k, gain)
    judged = ideal > 0
    if not bool(judged.any()):
        raise SlicingError(f"nDCG needs a query with a label above 0, found none in {len(ideal)}; check the labels")
    ordered, order = padded[judged].sort(dim=1, descending=True, stable=True)
    tie = torch.zeros_like(order)
    tie[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).long().cumsum(1)
    worth = discounts(order.shape[1], k, scores.device).expand(len(order), -1)
    total = torch.zeros_like(ordered).scatter_add_(1, tie, worth)
    size = torch.zeros_like(ordered).scatter_add_(1, tie, torch.ones_like(ordered))
    shared = (total / size.clamp(min=1)).gather(1, tie)
    gained = _gained(padded_labels[judged], gain).gather(1, order)
    return (gained * shared).sum(1) / ideal[judged]

"""Accuracy at a cost: what every network of a trade-off gives, counted and measured in the same way."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from slicing import SlicingError

TOP5_CLASSES = 100
"""From so many classes up, accuracy within the five highest scores is measured, too: of ten, half would be right."""


@dataclass(frozen=True)
class Point:
    """One place on a trade-off curve.

    Attributes:
        label: what was turned to get there: a slice rate, a number of blocks, an exit, a share pruned, a penalty.
        flops: multiply-adds per image, of convolutions and dense layers; a mean where it depends on the image.
        params: what has to be held to run at this point alone.
        accuracy: share of the images classified correctly, in [0, 1].
        top5: share whose class is among the five of highest score, in [0, 1]; None where it is not measured.
    """

    label: str
    flops: float
    params: int
    accuracy: float
    top5: float | None = None


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of convolutions and dense layers in a call, by torch's counter (which counts two for each)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


@torch.no_grad()
def accuracy_of(
    predict: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]], tops: Sequence[int] = (1,)
) -> tuple[float, ...]:
    """Shares whose class is among the ``k`` of highest score, for each ``k`` of ``tops``, in one pass.

    Of equal scores the lower class number comes first, as in ``argmax``; a class whose score is not a number is last.

    Args:
        predict: from images (N, C, H, W) to scores (N, classes).
        batches: images and their classes (N,), at least one image in all.
        tops: each at least 1; from the number of classes up every share is 1.

    Returns:
        A share in [0, 1] for each of ``tops``.

    Raises:
        SlicingError: for a ``k`` below 1.
    """
    if min(tops) < 1:
        raise SlicingError(f"accuracy is of the k >= 1 highest scores, got k={min(tops)}; take 1 or 5")
    right, seen = [0] * len(tops), 0
    for x, y in batches:
        places = _places(predict(x), y)
        right = [count + int((places < top).sum()) for count, top in zip(right, tops, strict=True)]
        seen += len(y)
    return tuple(count / seen for count in right)


def _places(scores: Tensor, y: Tensor) -> Tensor:
    """Place, from 0, of each row's class when its scores fall: how many classes come before it. (N, classes) to (N,)"""
    own = scores.gather(1, y[:, None])
    earlier = torch.arange(scores.shape[1], device=scores.device) < y[:, None]
    before = ~(scores <= own) | ((scores == own) & earlier)  # what is not a number comes before everything
    return before.sum(1)

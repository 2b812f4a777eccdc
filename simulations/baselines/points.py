"""Accuracy at a cost: what every network of a trade-off gives, counted and measured in the same way."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Point:
    """One place on a trade-off curve.

    Attributes:
        label: what was turned to get there: a slice rate, a number of blocks, an exit, a share pruned, a penalty.
        flops: multiply-adds per image, of convolutions and dense layers; a mean where it depends on the image.
        params: what has to be held to run at this point alone.
        accuracy: share of the images classified correctly, in [0, 1].
    """

    label: str
    flops: float
    params: int
    accuracy: float


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of convolutions and dense layers in a call, by torch's counter (which counts two for each)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


@torch.no_grad()
def accuracy_of(predict: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Share classified correctly.

    Args:
        predict: from images (N, C, H, W) to scores (N, classes).
        batches: images and their classes (N,).
    """
    right, seen = 0, 0
    for x, y in batches:
        right += int((predict(x).argmax(1) == y).sum())
        seen += len(y)
    return right / seen

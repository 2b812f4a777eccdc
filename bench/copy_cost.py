"""How many multiply-adds take as long as copying one cached number: `python -m bench.copy_cost`.

The measured side of ``slicing.incremental.MULTIPLY_ADDS_PER_COPY``, which decides between reusing and recomputing. A
widening convolution copies its prefix beside the new channels; what it saves is convolution work.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F

REPEATS = 15


def seconds(work: Callable[[], object]) -> float:
    """Median seconds of a call, after a warm-up."""
    work()
    times = []
    for _ in range(REPEATS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times)


def main() -> None:
    """Print the ratio for a few sizes of a chunk of 16 images."""
    with torch.inference_mode():
        for channels, side in ((64, 32), (128, 16), (256, 8), (512, 4)):
            old, new = channels * 3 // 4, channels // 4
            packed, added = torch.randn(16, side, side, old), torch.randn(16, side, side, new)
            copying = seconds(lambda a=packed, b=added: torch.cat([a, b], -1)) / packed.numel()  # type: ignore[misc]
            x = torch.randn(16, channels, side, side).to(memory_format=torch.channels_last)
            weight = torch.randn(channels, channels, 3, 3).to(memory_format=torch.channels_last)
            computing = seconds(lambda x=x, w=weight: F.conv2d(x, w, padding=1))  # type: ignore[misc]
            each = computing / (16 * side * side * channels * channels * 9)
            print(f"{channels} channels, {side}x{side}: copying one number = {copying / each:.0f} multiply-adds")


if __name__ == "__main__":
    main()

"""Multi-scale dense networks (MSDNet, Huang et al. 2018), small enough for images of 8 to 32 pixels.

Its two mechanisms: every layer keeps feature maps at several scales, so that an early classifier reads coarse ones
already, and every layer reads those of all layers before it (dense connections), so that an early classifier does not
spoil the features of later ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulations.baselines.exits import ExitNetwork, classifier
from slicing import SlicingError


class MultiScaleDense(ExitNetwork):
    """Layers of several scales, densely connected, with classifiers on the coarsest scale.

    Args:
        classes: outputs.
        scales: feature maps of full, half, quarter size and so on, at least 1.
        exits: classifiers, at least 1.
        layers_per_exit: layers between one classifier and the next, at least 1.
        growth: channels that a layer adds to the finest scale; twice as many to each coarser one.
        groups: normalisation groups; they must divide ``growth``.
        in_channels: channels of the images.

    Raises:
        SlicingError: for sizes out of these ranges.
    """

    def __init__(
        self,
        classes: int = 10,
        *,
        scales: int = 3,
        exits: int = 4,
        layers_per_exit: int = 2,
        growth: int = 16,
        groups: int = 8,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        sizes = {"scales": scales, "exits": exits, "layers_per_exit": layers_per_exit, "growth": growth}
        for name, value in sizes.items():
            if value < 1:
                raise SlicingError(f"{name} must be at least 1, got {value}")
        if growth % groups:
            raise SlicingError(f"growth must be whole normalisation groups, got {growth} in {groups}; try {groups}")
        added = [growth * 2**scale for scale in range(scales)]
        held = list(added)
        self.segments, self.heads = nn.ModuleList(), nn.ModuleList()
        for k in range(exits):
            layers: list[nn.Module] = [] if k else [_First(in_channels, added, groups)]
            for _ in range(layers_per_exit):
                layers.append(_DenseLayer(held, added, groups))
                held = [there + new for there, new in zip(held, added, strict=True)]
            self.segments.append(nn.Sequential(*layers))
            self.heads.append(_CoarsestHead(classifier(held[-1], classes, groups)))


class _First(nn.Module):
    """From the images to one feature map a scale, each at half the size of the one before."""

    def __init__(self, into: int, channels: Sequence[int], groups: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for scale, out in enumerate(channels):
            self.steps.append(_Convolution(into, out, 2 if scale else 1, groups))
            into = out

    def forward(self, images: Tensor) -> list[Tensor]:
        maps, x = [], images
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps


class _DenseLayer(nn.Module):
    """At each scale, new channels from its own maps and, strided, from the next finer scale's, beside the old ones."""

    def __init__(self, held: Sequence[int], added: Sequence[int], groups: int) -> None:
        super().__init__()
        self.same, self.finer = nn.ModuleList(), nn.ModuleList()
        for scale, (into, out) in enumerate(zip(held, added, strict=True)):
            own = out // 2 if scale else out
            self.same.append(_Convolution(into, own, 1, _divisor(own, groups)))
            if scale:
                self.finer.append(_Convolution(held[scale - 1], out - own, 2, _divisor(out - own, groups)))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        new = []
        for scale, x in enumerate(maps):
            parts = [x, self.same[scale](x)]
            if scale:
                parts.append(self.finer[scale - 1](maps[scale - 1]))
            new.append(torch.cat(parts, 1))
        return new


class _CoarsestHead(nn.Module):
    """A classifier on the coarsest scale."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.head(maps[-1])


class _Convolution(nn.Sequential):
    """3x3 convolution, normalisation, rectifier."""

    def __init__(self, into: int, out: int, stride: int, groups: int) -> None:
        super().__init__(nn.Conv2d(into, out, 3, stride, 1), nn.GroupNorm(groups, out), nn.ReLU())


def _divisor(channels: int, groups: int) -> int:
    """As many of the groups as divide the channels."""
    return next(count for count in range(groups, 0, -1) if channels % count == 0)

"""Multi-scale dense networks (MSDNet, Huang et al. 2018), small enough for images of 8 to 32 pixels.

Its two mechanisms: every layer keeps feature maps at several scales, so that an early classifier reads coarse ones
already, and every layer reads those of all layers before it (dense connections), so that an early classifier does not
spoil the features of later ones. As in its lazy evaluation, a pass to one exit computes no map that its classifier does
not read: only the coarsest scale of the last layer, the two coarsest of the layer before, and so on.
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
        self.scales, total = scales, exits * layers_per_exit
        self.segments, self.heads = nn.ModuleList(), nn.ModuleList()
        for k in range(exits):
            layers: list[nn.Module] = [] if k else [_First(in_channels, added, groups)]
            for layer in range(k * layers_per_exit, (k + 1) * layers_per_exit):
                finest = self._finest(total - 1 - layer)
                layers.append(_DenseLayer(held, added, groups, finest))
                held = [
                    there + new * (scale >= finest) for scale, (there, new) in enumerate(zip(held, added, strict=True))
                ]
            self.segments.append(nn.Sequential(*layers))
            self.heads.append(_CoarsestHead(classifier(held[-1], classes, groups)))

    def forward(self, images: Tensor, last: int | None = None) -> Tensor:
        """As of any network with exits; maps that the exit does not read are not computed."""
        wanted = self.exit(last)
        x: Tensor | list[Tensor] = images
        for layer, finest in self._layers_to(wanted):
            x = layer(x, finest)
        return self.heads[wanted](x)

    def parameters_to(self, last: int) -> int:
        """Parameters that a pass to this exit alone reads."""
        parts = [part for layer, finest in self._layers_to(last) for part in layer.parts(finest)]
        return sum(parameter.numel() for part in (*parts, self.heads[last]) for parameter in part.parameters())

    def _layers_to(self, last: int) -> list[tuple["_First | _DenseLayer", int]]:
        """The layers up to an exit, each with the finest scale that is needed of it."""
        parts = [part for segment in self.segments[: last + 1] for part in segment.children()]
        layers = [part for part in parts if isinstance(part, _First | _DenseLayer)]
        return [(layer, self._finest(len(layers) - 1 - place)) for place, layer in enumerate(layers)]

    def _finest(self, behind: int) -> int:
        """The finest scale that a classifier needs of a layer with so many layers between."""
        return max(0, self.scales - 1 - behind)


class _First(nn.Module):
    """From the images to one feature map a scale, each at half the size of the one before."""

    def __init__(self, into: int, channels: Sequence[int], groups: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        for scale, out in enumerate(channels):
            self.steps.append(_Convolution(into, out, 2 if scale else 1, groups))
            into = out

    def forward(self, images: Tensor, finest: int = 0) -> list[Tensor]:
        """Every scale: the coarser ones come from the finer."""
        maps, x = [], images
        for step in self.steps:
            x = step(x)
            maps.append(x)
        return maps

    def parts(self, finest: int) -> list[nn.Module]:
        """What runs."""
        return list(self.steps)


class _DenseLayer(nn.Module):
    """At each scale, new channels from its own maps and, strided, from the next finer scale's, beside the old ones.

    Has the scales from ``finest`` on: those before it no classifier needs.
    """

    def __init__(self, held: Sequence[int], added: Sequence[int], groups: int, finest: int) -> None:
        super().__init__()
        self.finest = finest
        self.same, self.finer = nn.ModuleDict(), nn.ModuleDict()
        for scale in range(finest, len(added)):
            out = added[scale]
            own = out // 2 if scale else out
            self.same[str(scale)] = _Convolution(held[scale], own, 1, _divisor(own, groups))
            if scale:
                self.finer[str(scale)] = _Convolution(held[scale - 1], out - own, 2, _divisor(out - own, groups))

    def forward(self, maps: list[Tensor], finest: int = 0) -> list[Tensor]:
        """The maps, grown from the scale ``finest`` on; finer ones stay as they are, for nobody reads them."""
        grown = list(maps)
        for scale in range(max(finest, self.finest), len(maps)):
            parts = [maps[scale], self.same[str(scale)](maps[scale])]
            if scale:
                parts.append(self.finer[str(scale)](maps[scale - 1]))
            grown[scale] = torch.cat(parts, 1)
        return grown

    def parts(self, finest: int) -> list[nn.Module]:
        """What runs."""
        running = [str(scale) for scale in range(max(finest, self.finest), self.finest + len(self.same))]
        return [kind[scale] for kind in (self.same, self.finer) for scale in running if scale in kind]


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

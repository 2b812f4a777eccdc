"""Networks that answer early: a classifier at several depths, a loss at each (section 5.1.1)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from slicing import Criterion, CrossEntropy, SlicingError
from slicing.models.resnet import ResidualNetwork


class ExitNetwork(nn.Module):
    """A chain of segments with a classifier behind each; a pass to exit k computes nothing behind it.

    Attributes:
        segments: from what the segment before gave (the images, at first) to what the next one reads.
        heads: from what a segment gave to scores (N, classes).
    """

    segments: nn.ModuleList
    heads: nn.ModuleList

    def answers(self, images: Tensor) -> Iterator[Tensor]:
        """The scores (N, classes) of each exit in turn, computed as they are asked for."""
        x = images
        for segment, head in zip(self.segments, self.heads, strict=True):
            x = segment(x)
            yield head(x)

    def forward(self, images: Tensor, last: int | None = None) -> Tensor:
        """The scores of exit ``last``, counted from 0; None is the last one. Earlier classifiers do not run.

        Raises:
            SlicingError: for an exit that is not there.
        """
        wanted = self.exit(last)
        x = images
        for segment in self.segments[: wanted + 1]:
            x = segment(x)
        return self.heads[wanted](x)

    def exit(self, last: int | None) -> int:
        """The number of an exit; None is the last one.

        Raises:
            SlicingError: for an exit that is not there.
        """
        exits = len(self.heads)
        wanted = exits - 1 if last is None else last
        if not 0 <= wanted < exits:
            raise SlicingError(f"exit must lie in 0 to {exits - 1}, got {wanted}")
        return wanted

    def parameters_to(self, last: int) -> int:
        """Parameters that a pass to this exit alone reads."""
        parts = [*self.segments[: last + 1], self.heads[last]]
        return sum(parameter.numel() for part in parts for parameter in part.parameters())


@dataclass(frozen=True)
class EveryExit:
    """The mean of the exits' losses: a training scheme for an :class:`ExitNetwork`."""

    criterion: Criterion = field(default_factory=CrossEntropy)

    def loss(self, model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of one batch.

        Raises:
            SlicingError: for a network without exits.
        """
        if not isinstance(model, ExitNetwork) or not isinstance(x, Tensor):
            raise SlicingError(f"EveryExit trains networks with exits on images, got a {type(model).__name__}")
        return torch.stack([self.criterion(scores, y) for scores in model.answers(x)]).mean()


class MultiClassifier(ExitNetwork):
    """A residual network with a classifier behind each share of its blocks (Figure 2's multi-classifiers).

    Args:
        network: the residual network, which gives its stem, its blocks and its last classifier.
        exits: at least 1, at most its blocks, which they divide evenly.

    Raises:
        SlicingError: for a number of exits out of this range.
    """

    def __init__(self, network: ResidualNetwork, exits: int) -> None:
        super().__init__()
        blocks = network.each_block()
        if not 1 <= exits <= len(blocks):
            raise SlicingError(f"exits must lie in 1 to {len(blocks)}, the number of blocks, got {exits}")
        cuts = [round(len(blocks) * (k + 1) / exits) for k in range(exits)]
        classes, groups = network.score.out_features, network.norm.num_groups
        self.segments, self.heads = nn.ModuleList(), nn.ModuleList()
        for first, stop in zip([0, *cuts], cuts, strict=False):
            start = [network.stem] if not first else []
            self.segments.append(nn.Sequential(*start, *blocks[first:stop]))
            if stop < len(blocks):
                self.heads.append(classifier(blocks[stop - 1].out, classes, groups))
        self.heads.append(nn.Sequential(network.norm, nn.ReLU(), network.pool, nn.Flatten(), network.score))


def classifier(channels: int, classes: int, groups: int) -> nn.Sequential:
    """Normalisation, rectifier, average over the image and a dense layer."""
    layers: Sequence[nn.Module] = (nn.GroupNorm(groups, channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(channels, classes))

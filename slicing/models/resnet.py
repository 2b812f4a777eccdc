"""Residual networks with pre-activation (He et al. 2016): the paper's ResNet-L-k and WRN-L-k (Table 1)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.models.channels import scaled

STEM = 16  # channels of the first convolution, and of the first stage before widening
STAGES = (16, 32, 64)  # feature maps of 32, 16 and 8 pixels on CIFAR
# Convolutions keep their biases though a normalisation follows: so the counts are the printed ones (1.72M, 36.49M).
EXPANSION = 4  # a bottleneck's output channels, as a multiple of those inside


class PreActivationBlock(nn.Module):
    """``x + conv(relu(norm(... conv(relu(norm(x))))))``; a 1x1 convolution on the skip path where the shape changes.

    Args:
        into: input channels.
        convolutions: output channels and kernel size of each.
        stride: of the first convolution whose kernel is larger than 1, and of the skip path.
        groups: normalisation groups.

    Attributes:
        into, out: channels that it reads and gives.
    """

    def __init__(self, into: int, convolutions: Sequence[tuple[int, int]], stride: int, groups: int) -> None:
        super().__init__()
        self.norms, self.convs = nn.ModuleList(), nn.ModuleList()
        left, reads = stride, into
        for channels, kernel in convolutions:
            self.norms.append(nn.GroupNorm(groups, reads))
            step, left = (left, 1) if kernel > 1 else (1, left)
            self.convs.append(nn.Conv2d(reads, channels, kernel, step, kernel // 2))
            reads = channels
        self.into, self.out = into, reads
        self.skip = nn.Conv2d(into, reads, 1, stride) if stride > 1 or into != reads else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) to (N, out, H/stride, W/stride)."""
        y, skip = x, x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            y = F.relu(norm(y))
            if i == 0 and self.skip is not None:  # the projection reads the activated input, too
                skip = self.skip(y)
            y = conv(y)
        return skip + y


class ResidualNetwork(nn.Module):
    """A 3x3 convolution, three stages of blocks, and a dense layer on the averages."""

    def __init__(
        self,
        stages: Sequence[Sequence[tuple[int, int]]],
        blocks: int,
        stem: int,
        classes: int,
        groups: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, stem, 3, padding=1)
        self.blocks, into = nn.Sequential(), stem
        for stage, convolutions in enumerate(stages):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                self.blocks.append(PreActivationBlock(into, convolutions, stride, groups))
                into = convolutions[-1][0]
        self.norm = nn.GroupNorm(groups, into)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.score = nn.Linear(into, classes)

    def each_block(self) -> list[PreActivationBlock]:
        """The blocks in their order."""
        return [block for block in self.blocks if isinstance(block, PreActivationBlock)]

    def forward(self, images: Tensor) -> Tensor:
        """(N, in_channels, H, W), H and W multiples of 4, to (N, classes)."""
        x = self.blocks(self.stem(images))
        return self.score(torch.flatten(self.pool(F.relu(self.norm(x))), 1))


def resnet(
    depth: int = 164, widening: float = 1, *, classes: int = 10, groups: int = 8, in_channels: int = 3
) -> ResidualNetwork:
    """ResNet-L-k: bottleneck blocks (1x1, 3x3, 1x1), three stages of (L - 2) / 9 of them (Table 1).

    Args:
        depth: L = 9n + 2, n at least 1; the paper's are 164 and 56.
        widening: k, the factor on every block's channels.
        classes: outputs.
        groups: normalisation groups of each layer; they must divide 16 and 16k.
        in_channels: channels of the images.

    Returns:
        A plain torch module: images (N, in_channels, 32, 32) to scores (N, classes).

    Raises:
        SlicingError: for a depth that is not 9n + 2, or groups that do not divide the channels.
    """
    blocks = _blocks(depth, 9, 2)
    inner = [scaled(channels, widening, groups) for channels in STAGES]
    stages = [[(channels, 1), (channels, 3), (EXPANSION * channels, 1)] for channels in inner]
    return ResidualNetwork(stages, blocks, scaled(STEM, 1.0, groups), classes, groups, in_channels)


def wide_resnet(
    depth: int = 28, widening: float = 10, *, classes: int = 10, groups: int = 8, in_channels: int = 3
) -> ResidualNetwork:
    """WRN-L-k: basic blocks (3x3, 3x3), three stages of (L - 4) / 6 of them (Zagoruyko and Komodakis 2016; Table 1).

    Args:
        depth: L = 6n + 4, n at least 1; the paper's is 28.
        widening: k, the factor on every block's channels.
        classes: outputs.
        groups: normalisation groups of each layer; they must divide 16 and 16k.
        in_channels: channels of the images.

    Returns:
        A plain torch module: images (N, in_channels, 32, 32) to scores (N, classes).

    Raises:
        SlicingError: for a depth that is not 6n + 4, or groups that do not divide the channels.
    """
    blocks = _blocks(depth, 6, 4)
    inner = [scaled(channels, widening, groups) for channels in STAGES]
    stages = [[(channels, 3), (channels, 3)] for channels in inner]
    return ResidualNetwork(stages, blocks, scaled(STEM, 1.0, groups), classes, groups, in_channels)


def _blocks(depth: int, layers: int, rest: int) -> int:
    """Blocks in each of the three stages."""
    if depth < layers + rest or (depth - rest) % layers:
        near = max(round((depth - rest) / layers), 1) * layers + rest
        raise SlicingError(f"depth must be {layers}n + {rest} with n at least 1, got {depth}; try {near}")
    return (depth - rest) // layers

"""VGG-13 and VGG-16 in the paper's configuration (Table 1)."""

from collections.abc import Sequence

from torch import nn

from slicing.models.channels import scaled

# VGG-13: channels of the ten convolutions, five groups of two, a 2x2 pooling behind each group: feature maps of 32, 16,
# 8, 4 and 2 pixels on CIFAR. Table 1's conv5 holds four of them; this split of its poolings gives the printed FLOPs.
CHANNELS = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))
# VGG-16: thirteen convolutions, feature maps of 224, 112, 56, 28 and 14 pixels on ImageNet, 7 behind the last pooling.
IMAGENET_CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
IMAGENET_HIDDEN = 4096


def vgg13(classes: int = 10, width: float = 1.0, groups: int = 16, in_channels: int = 3) -> nn.Sequential:
    """VGG-13 for 32x32 images, with group normalisation (section 3.2).

    Args:
        classes: outputs.
        width: factor on every channel count; 1.0 is the paper's.
        groups: normalisation groups of each layer.
        in_channels: channels of the images.

    Returns:
        A plain torch module: images (N, in_channels, 32, 32) to scores (N, classes).

    Raises:
        SlicingError: when the groups do not divide a layer's channels.
    """
    layers, into = _convolutions(CHANNELS, in_channels, width, groups)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, classes)]
    return nn.Sequential(*layers)


def vgg16(
    classes: int = 1000, width: float = 1.0, groups: int = 16, in_channels: int = 3, dropout: float = 0.5
) -> nn.Sequential:
    """VGG-16 for 224x224 images, with group normalisation behind each convolution (section 3.2).

    Args:
        classes: outputs.
        width: factor on every channel count and on the 4096 units of the two dense layers; 1.0 is the paper's.
        groups: normalisation groups of each convolution.
        in_channels: channels of the images.
        dropout: share of the dense layers' units dropped in training, in [0, 1).

    Returns:
        A plain torch module: images (N, in_channels, 224, 224) to scores (N, classes).

    Raises:
        SlicingError: when the groups do not divide a layer's channels.
    """
    layers, into = _convolutions(IMAGENET_CHANNELS, in_channels, width, groups)
    hidden = scaled(IMAGENET_HIDDEN, width, 1)
    layers += [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(7 * 7 * into, hidden), nn.ReLU(inplace=True)]
    layers += [nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden, classes))


def _convolutions(
    channels: Sequence[Sequence[int]], into: int, width: float, groups: int
) -> tuple[list[nn.Module], int]:
    """3x3 convolutions with normalisation and rectifier, a 2x2 pooling behind each group; and their last channels."""
    layers: list[nn.Module] = []
    for group in channels:
        for count in group:
            out = scaled(count, width, groups)
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(groups, out), nn.ReLU(inplace=True)]
            into = out
        layers.append(nn.MaxPool2d(2))
    return layers, into

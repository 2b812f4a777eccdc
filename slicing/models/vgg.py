"""VGG-13 in the paper's configuration (Table 1)."""

from torch import nn

from slicing.models.channels import scaled

# Channels of the ten convolutions, five groups of two, a 2x2 pooling behind each group: feature maps of 32, 16, 8, 4
# and 2 pixels on CIFAR. Table 1's conv5 holds four of them; this split of its poolings gives the printed FLOPs.
CHANNELS = ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512))


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
    layers: list[nn.Module] = []
    into = in_channels
    for group in CHANNELS:
        for channels in group:
            out = scaled(channels, width, groups)
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(groups, out), nn.ReLU(inplace=True)]
            into = out
        layers.append(nn.MaxPool2d(2))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, classes)]
    return nn.Sequential(*layers)

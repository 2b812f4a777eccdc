"""A small convolutional network for 8x8 to 28x28 images."""

from torch import nn

from slicing.models.channels import scaled


def small_cnn(classes: int = 10, width: float = 1.0, groups: int = 8, in_channels: int = 1) -> nn.Sequential:
    """Two groups of two convolutions, pooled once, and a dense layer on the averages.

    Args:
        classes: outputs.
        width: factor on the channel counts 64, 64, 128, 128.
        groups: normalisation groups of each layer.
        in_channels: channels of the images.

    Returns:
        A plain torch module: images (N, in_channels, H, W), H and W from 8 to 28 pixels, to scores (N, classes).

    Raises:
        SlicingError: when the groups do not divide a layer's channels.
    """
    layers: list[nn.Module] = []
    into = in_channels
    for channels, pooled in ((64, False), (64, True), (128, False), (128, False)):
        out = scaled(channels, width, groups)
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.GroupNorm(groups, out), nn.ReLU(inplace=True)]
        if pooled:
            layers.append(nn.MaxPool2d(2))
        into = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, classes)]
    return nn.Sequential(*layers)

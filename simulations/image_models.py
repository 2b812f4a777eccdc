"""Networks for a data set of images: the sliced one, and separate plain ones of the same widths."""

import torch
from torch import nn

from data import ImageData
from simulations.settings import CascadeSettings
from slicing import SlicedNetwork, SlicingError, convert, extract
from slicing.models import mlp, resnet, small_cnn, vgg13, vgg16, wide_resnet

SMALLEST_VGG_IMAGE = 32


def template(settings: CascadeSettings, data: ImageData) -> nn.Module:
    """The plain architecture at full width.

    Raises:
        SlicingError: when the images do not suit it, or the width is not above 0.
    """
    if settings.width <= 0:
        raise SlicingError(f"width must be above 0, got {settings.width}; 1.0 is the architecture's own")
    channels, height, width = data.shape
    classes, factor = len(data.classes), settings.width
    model = settings.model or settings.defaults.model
    if model == "mlp":
        hidden = [round(units * factor) for units in (512, 512)]
        return nn.Sequential(nn.Flatten(), *mlp([channels * height * width, *hidden, classes]))
    if model == "small-cnn":
        return small_cnn(classes, factor, in_channels=channels)
    if model.startswith("resnet-"):
        depth, widening = (int(part) for part in model.split("-")[1:])
        return resnet(depth, widening * factor, classes=classes, in_channels=channels)
    if model == "wrn-28-10":
        return wide_resnet(28, 10 * factor, classes=classes, in_channels=channels)
    if min(height, width) < SMALLEST_VGG_IMAGE:
        raise SlicingError(
            f"{model} pools five times and needs images of at least {SMALLEST_VGG_IMAGE} pixels a side, got "
            f"{height}x{width}; choose --model small-cnn"
        )
    if model == "vgg16":
        return vgg16(classes, factor, in_channels=channels)
    return vgg13(classes, factor, in_channels=channels)


def sliced_network(settings: CascadeSettings, data: ImageData, connectivity: str) -> SlicedNetwork:
    """A sliced network with fresh weights drawn from the seed."""
    torch.manual_seed(settings.seed)
    plain = convert(template(settings, data), settings.rates, "dense")
    network = SlicedNetwork(plain.spec, plain.rates, connectivity)
    network.reset_parameters(head_start(connectivity))
    return network


def head_start(connectivity: str) -> float:
    """Factor on a sliced network's initial head weights.

    Dense networks start with a head of zeros: with scores of the usual size their rates, drawn anew at every step, keep
    VGG-13 at chance for a thousand steps. Nested and separate networks do a little better without
    (``docs/nesting.md``).
    """
    return 0.0 if connectivity == "dense" else 1.0


def separate_network(settings: CascadeSettings, data: ImageData, rate: float) -> nn.Module:
    """A plain torch network of the r-net's widths, with fresh weights drawn from the seed."""
    narrow = extract(sliced_network(settings, data, "dense"), rate)
    alone = convert(narrow, [1.0], "dense")
    torch.manual_seed(settings.seed)
    alone.reset_parameters()
    return extract(alone)

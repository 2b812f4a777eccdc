"""The architectures: shapes, sizes, and that the paper's rates slice them."""

import warnings

import pytest
import torch
from torch import nn

from slicing import ConversionWarning, SlicingError, convert
from slicing.models import mlp, small_cnn, vgg13

PAPER = [0.375, 0.5, 0.625, 0.75, 0.875, 1.0]


def sliced(module: nn.Module, rates: list[float]):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(module, rates).eval()


def test_vgg13_is_table_1():
    with torch.device("meta"):
        module = vgg13()
    convolutions = [layer for layer in module if isinstance(layer, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512, 512, 512]
    assert all(c.kernel_size == (3, 3) and c.padding == (1, 1) and c.stride == (1, 1) for c in convolutions)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in module) == 5
    sizes, image = [], torch.zeros(1, 3, 32, 32, device="meta")
    for layer in module:
        image = layer(image)
        if isinstance(layer, nn.Conv2d):
            sizes.append(image.shape[-1])
    assert sizes == [32, 32, 16, 16, 8, 8, 4, 4, 2, 2]
    assert image.shape == (1, 10)


def test_a_quarter_vgg13_runs_at_the_papers_rates():
    network = sliced(vgg13(classes=7, width=0.25, groups=4, in_channels=1), [0.25, 0.5, 0.75, 1.0])
    for rate in network.rates:
        assert network(torch.zeros(2, 1, 32, 32), rate=rate).shape == (2, 7)
    with torch.device("meta"):
        assert sliced(vgg13(width=0.5), [0.375, 0.5, 1.0]).rates == (0.375, 0.5, 1.0)


@pytest.mark.parametrize("size", [8, 12, 28])
def test_the_small_network_takes_images_of_8_to_28_pixels(size):
    network = sliced(small_cnn(in_channels=3, classes=4), PAPER)
    for rate in network.rates:
        assert network(torch.zeros(2, 3, size, size), rate=rate).shape == (2, 4)
    channels = [layer.out_channels for layer in small_cnn(width=0.5) if isinstance(layer, nn.Conv2d)]
    assert channels == [32, 32, 64, 64]


def test_the_perceptron_has_rectifiers_between_its_layers_alone():
    module = mlp([5, 8, 4, 1])
    assert [type(layer).__name__ for layer in module] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert [layer.weight.shape for layer in module[::2]] == [(8, 5), (4, 8), (1, 4)]
    assert [type(layer).__name__ for layer in mlp([5, 1])] == ["Linear"]


@pytest.mark.parametrize("sizes", [[], [3], [3, 0], [3, -1, 2]])
def test_a_perceptron_without_layers_is_refused(sizes):
    with pytest.raises(SlicingError, match="at least an input and an output size"):
        mlp(sizes)


@pytest.mark.parametrize("build", [vgg13, small_cnn])
@pytest.mark.parametrize("options", [{"width": 0.1}, {"width": 0.0}, {"groups": 0}, {"groups": 48}])
def test_sizes_that_no_group_divides_are_refused(build, options):
    with pytest.raises(SlicingError, match=r"normalisation groups do not divide"), torch.device("meta"):
        build(**options)

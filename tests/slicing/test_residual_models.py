"""ResNet-L-k, WRN-L-k and VGG-16: the sizes of Table 1, and every rate, widening and extraction."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slicing import IncrementalScorer, SlicedNetwork, SlicingError, convert, extract, parameter_count
from slicing.models import resnet, vgg16, wide_resnet


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def off_the_skip_path(module: nn.Module) -> list[nn.Module]:
    named = module.named_modules()
    return [layer for name, layer in named if isinstance(layer, nn.Conv2d) and "skip" not in name]


@pytest.mark.parametrize("depth", [164, 56])
@pytest.mark.parametrize("widening", [1, 2])
def test_resnet_has_the_parameters_of_table_1(depth, widening):
    """1.72M k^2 L / 164, to the digits printed where k = 1 and L = 164."""
    with torch.device("meta"):
        module = resnet(depth, widening)
    assert size(module) / 1e6 == pytest.approx(1.72 * widening**2 * depth / 164, rel=0.02)
    if (depth, widening) == (164, 1):
        assert round(size(module) / 1e6, 2) == 1.72
    convolutions = off_the_skip_path(module)
    assert len(convolutions) + 1 == depth  # and the dense layer


def test_the_wide_network_has_the_parameters_of_table_1():
    with torch.device("meta"):
        module = wide_resnet(28, 10)
    assert round(size(module) / 1e6, 2) == 36.49
    convolutions = off_the_skip_path(module)
    assert len(convolutions) == 28 - 3  # its authors count the three projections of the skip paths, too


def test_vgg16_has_the_parameters_of_table_1():
    """The printed 138.36M are convolutions and dense layers; normalisation adds a scale and a bias a channel."""
    with torch.device("meta"):
        module = vgg16()
    norms = sum(size(layer) for layer in module if isinstance(layer, nn.GroupNorm))
    assert norms == 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)
    assert round((size(module) - norms) / 1e6, 2) == 138.36


@pytest.mark.parametrize("build", [resnet, wide_resnet])
def test_feature_maps_of_32_16_and_8_pixels(build):
    with torch.device("meta"):
        module, sizes = build(11 if build is resnet else 10, 1), []
        x = module.stem(torch.zeros(1, 3, 32, 32))
        for block in module.blocks:
            x = block(x)
            sizes.append(tuple(x.shape[1:]))
    wide = 4 if build is resnet else 1
    assert sizes == [(16 * wide, 32, 32), (32 * wide, 16, 16), (64 * wide, 8, 8)]


def test_a_block_is_the_published_one():
    """Pre-activation with the projection behind the first rectifier, written out."""
    torch.manual_seed(0)
    module = wide_resnet(10, 2, groups=4).double()
    block = module.blocks[1]
    x = torch.randn(2, 32, 8, 8, dtype=torch.float64)
    active = F.relu(F.group_norm(x, 4, block.norms[0].weight, block.norms[0].bias))
    inner = F.conv2d(active, block.convs[0].weight, block.convs[0].bias, 2, 1)
    inner = F.relu(F.group_norm(inner, 4, block.norms[1].weight, block.norms[1].bias))
    expected = F.conv2d(inner, block.convs[1].weight, block.convs[1].bias, 1, 1)
    expected = expected + F.conv2d(active, block.skip.weight, block.skip.bias, 2)
    assert torch.allclose(block(x), expected, atol=1e-12)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(lambda: resnet(11, 1, classes=5), id="resnet"),
        pytest.param(lambda: resnet(20, 2, classes=5, in_channels=1), id="resnet-20-2"),
        pytest.param(lambda: wide_resnet(10, 2, classes=5), id="wide-resnet"),
        pytest.param(lambda: vgg16(5, 0.0625, 4), id="vgg16"),
    ],
)
@torch.inference_mode()
def test_every_rate_widening_and_extraction(module, close):
    torch.manual_seed(0)
    plain, rates = module().double().eval(), [0.25, 0.5, 1.0]
    channels = next(layer for layer in plain.modules() if isinstance(layer, nn.Conv2d)).in_channels
    x = torch.randn(2, channels, 32, 32).double()
    assert close(convert(plain, rates, "dense", rescale=False)(x), plain(x), 1e-9)
    dense = convert(plain, rates, "dense")
    nested = SlicedNetwork(dense.spec, rates, "nested").double().eval()
    session = IncrementalScorer(nested, reuse="always").start(x)
    for rate in rates:
        for network in (dense, nested):
            alone = extract(network, rate)
            assert close(alone(x), network(x, rate=rate), 1e-9)
        assert size(extract(dense, rate)) == parameter_count(dense, rate)
        assert close(session.widen(rate), nested(x, rate=rate), 1e-9)


@pytest.mark.parametrize(("build", "depth", "near"), [(resnet, 50, 47), (resnet, 2, 11), (wide_resnet, 27, 28)])
def test_a_depth_that_has_no_whole_blocks_is_refused(build, depth, near):
    with pytest.raises(SlicingError, match=f"got {depth}; try {near}"):
        build(depth)


@pytest.mark.parametrize("build", [resnet, wide_resnet])
def test_groups_that_do_not_divide_the_channels_are_refused(build):
    with pytest.raises(SlicingError, match="normalisation groups do not divide"), torch.device("meta"):
        build(groups=32)

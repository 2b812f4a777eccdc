"""Network Slimming: a pruned network computes what the whole one does with the pruned channels silenced."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from simulations.baselines import ScaleSparsity, prune, slimmable
from simulations.baselines.slimming import _positions
from slicing import SlicingError
from slicing.models import resnet, small_cnn


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    chain = slimmable(small_cnn(3, 0.125)).double().eval()
    for layer in chain:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias, 0, 0.3)
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return chain


def scales(chain: nn.Sequential) -> torch.Tensor:
    return torch.cat([layer.weight.detach().abs() for layer in chain if isinstance(layer, nn.BatchNorm2d)])


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 0.9), seed=st.integers(0, 50))
def test_pruned_channels_are_the_smallest_and_what_is_left_computes_the_same(share, seed):
    whole, x = network(seed), torch.randn(3, 1, 8, 8).double()
    narrow = prune(whole, share)
    every = scales(whole).sort().values
    dropped = round(share * len(every))
    left = scales(narrow).sort().values
    assert len(left) >= len(every) - dropped
    with torch.no_grad():
        silenced = network(seed)
        threshold = every[dropped - 1] if dropped else -1.0
        for layer in silenced:
            if isinstance(layer, nn.BatchNorm2d):
                gone = layer.weight.abs() <= threshold
                if gone.all():  # a layer keeps its largest channel
                    gone[layer.weight.abs().argmax()] = False
                layer.weight[gone] = 0
                layer.bias[gone] = 0
        assert len(left) == int(sum((scales(silenced) > 0).long()))
        assert torch.allclose(narrow(x), silenced(x), atol=1e-10)


def test_positions_lie_where_the_channels_do() -> None:
    """No GPU is needed to see that nothing is made on another device: the meta device refuses a mix as well."""
    assert _positions(torch.tensor([0, 2]), 3).tolist() == [0, 1, 2, 6, 7, 8]
    assert _positions(torch.ones(2, dtype=torch.long, device="meta"), 3).device.type == "meta"


def test_a_dense_layer_behind_several_positions_reads_each_of_a_channels():
    torch.manual_seed(0)
    chain = slimmable(
        nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.GroupNorm(2, 6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 2))
    ).eval()
    nn.init.uniform_(chain[1].weight, 0.5, 1.0)
    with torch.no_grad():
        chain[1].weight[[1, 4]] = 0
        chain[1].bias[[1, 4]] = 0
        narrow, x = prune(chain, 2 / 6), torch.randn(2, 1, 4, 4)
        assert narrow[-1].in_features == 4 * 16
        assert torch.allclose(narrow(x), chain(x), atol=1e-6)


def test_the_loss_adds_the_scales_sizes():
    chain, x, y = network().train(), torch.randn(4, 1, 8, 8).double(), torch.randint(3, (4,))
    expected = F.cross_entropy(chain(x).float(), y).item() + 0.01 * scales(chain).sum().item()
    assert ScaleSparsity(0.01).loss(chain, x, y, torch.Generator()).item() == pytest.approx(expected, rel=1e-6)


def test_what_can_not_be_slimmed_is_refused():
    with pytest.raises(SlicingError, match="every convolution is followed by a normalisation, got Conv2d before ReLU"):
        slimmable(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    with pytest.raises(SlicingError, match="every convolution is followed by a normalisation"):
        slimmable(nn.Sequential(*resnet(11, 1).children()))
    for share in (-0.1, 1.0):
        with pytest.raises(SlicingError, match=r"share must lie in \[0, 1\)"):
            prune(network(), share)
    with pytest.raises(SlicingError, match="there are no scales to prune by"):
        prune(nn.Sequential(nn.Linear(2, 2)), 0.5)

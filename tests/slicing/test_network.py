"""One-shot passes of a sliced network against the plain module, at every rate."""

import copy
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from slicing import SlicedNetwork, SlicingError, Spec, convert
from slicing.models import mlp
from slicing.spec import Node

RANDOM = settings(max_examples=25, deadline=None)
BOTH = pytest.mark.parametrize("connectivity", ["nested", "dense"])


@given(data=st.data())
@RANDOM
def test_full_dense_is_the_plain_module(cases, close, data):
    case = data.draw(cases(dtype=torch.float32))
    x = case.inputs(3)
    with torch.no_grad():
        assert close(case.sliced("dense")(*x), case.module(*x), 1e-4)
        double = case.module.double()
        case.dtype = torch.float64
        x = case.inputs(3)
        assert close(case.sliced("dense")(*x), double(*x), 1e-12)


@BOTH
@given(data=st.data())
@RANDOM
def test_every_rate_is_the_plain_module_with_the_rest_silenced(cases, close, connectivity, data):
    case = data.draw(cases())
    network = case.sliced(connectivity, rescale=False)
    x = case.inputs(2)
    with torch.no_grad():
        for k, rate in enumerate(network.rates):
            assert close(network(*x, rate=rate), case.reference(k, connectivity)(*x))
        assert torch.equal(network(*x), network(*x, rate=1.0))


@given(data=st.data())
@RANDOM
def test_rescaling_multiplies_dense_layers_alone(cases, close, data):
    case = data.draw(cases())
    network = case.sliced("dense", rescale=True)
    x = case.inputs(2)
    with torch.no_grad():
        for k, rate in enumerate(network.rates):
            assert close(network(*x, rate=rate), case.reference(k, "dense", rescale=True)(*x))


@BOTH
@given(data=st.data())
@RANDOM
def test_all_rates_in_one_pass_are_the_rates_one_by_one_and_so_is_the_gradient(cases, close, connectivity, data):
    case = data.draw(cases())
    rescale = data.draw(st.booleans())
    network = case.sliced(connectivity, rescale=rescale)
    x = case.inputs(3)
    together = network.forward_all(*x)
    weights = torch.randn(together.shape, dtype=together.dtype, generator=torch.Generator().manual_seed(1))
    (together * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    assert len(together) == len(network.rates)
    for k, rate in enumerate(network.rates):
        alone = network(*x, rate=rate)
        assert close(together[k].detach(), alone.detach())
        (alone * weights[k]).sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert close(gradients[name], parameter.grad), name


@given(data=st.data())
@RANDOM
def test_a_nested_narrow_pass_is_the_prefix_of_every_wider_one(cases, close, data):
    case = data.draw(cases())
    network = case.sliced("nested")
    x = case.inputs(2)
    seen: list[dict[str, torch.Tensor]] = []
    with torch.no_grad():
        for k in range(len(network.rates)):
            seen.append({})
            network.advance(x, -1, k, record=lambda name, y, seen=seen: seen[-1].update({name: y.clone()}))
    for narrow, wide in pairwise(seen):
        for name, value in narrow.items():
            layout = network.layouts[name]
            if layout.sliced:
                axis = -1 if value.dim() == 2 else layout.axis
                assert value.shape[axis] < wide[name].shape[axis]
                assert close(wide[name].narrow(axis, 0, value.shape[axis]), value), name


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_training_never_fills_the_weights_above_the_block_diagonal(cases, data):
    case = data.draw(cases(kinds=("image", "dense")))
    network = case.sliced("nested").train()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    for rate in (None, *network.rates):
        scores = network.forward_all(*case.inputs(3)) if rate is None else network(*case.inputs(3), rate=rate)
        optimizer.zero_grad()
        scores.square().mean().backward()
        optimizer.step()
    masked = [m for _, m in network.layer_modules() if getattr(m, "mask", None) is not None]
    for layer in masked:
        assert not (layer.weight * (1 - layer.mask)).any()
        assert (layer.weight * layer.mask).any()


def test_the_head_is_the_rescaled_sum_of_its_blocks_shares_by_arithmetic():
    module = nn.Sequential(nn.Linear(1, 4, bias=False), nn.Linear(4, 1))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        module[1].weight.copy_(torch.tensor([[10.0, 20.0, 30.0, 40.0]]))
        module[1].bias.fill_(7.0)
    network = convert(module, [0.5, 0.75, 1.0], "dense", rescale=True)
    x = torch.tensor([[1.0]])
    with torch.no_grad():
        assert network(x, rate=0.5).item() == (4 / 2) * (1 * 10 + 2 * 20) + 7
        assert network(x, rate=0.75).item() == pytest.approx((4 / 3) * (1 * 10 + 2 * 20 + 3 * 30) + 7)
        assert network(x).item() == 1 * 10 + 2 * 20 + 3 * 30 + 4 * 40 + 7
        plain = convert(module, [0.5, 0.75, 1.0], "dense", rescale=False)
        assert plain(x, rate=0.5).item() == (1 * 10 + 2 * 20) + 7


def test_convolutions_never_rescale():
    conv = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), nn.Conv2d(4, 1, 1, bias=False))
    for layer in conv:
        nn.init.ones_(layer.weight)
    network = convert(conv, [0.5, 1.0], "dense", rescale=True)
    with torch.no_grad():
        assert network(torch.ones(1, 1, 1, 1), rate=0.5).item() == 2.0
        assert network(torch.ones(1, 1, 1, 1)).item() == 4.0


def test_rescaling_is_the_dense_networks_default_and_the_nested_ones_head_alone():
    module = mlp([3, 8, 8, 2])
    x = torch.randn(4, 3)
    dense = convert(module, [0.5, 1.0], "dense")
    assert dense.rescale
    assert torch.equal(dense(x, rate=0.5), convert(module, [0.5, 1.0], "dense", rescale=True)(x, rate=0.5))
    with pytest.warns(UserWarning, match="dropped"):
        nested = convert(module, [0.5, 1.0])
    assert not nested.rescale
    with pytest.warns(UserWarning, match="dropped"):
        rescaled = convert(module, [0.5, 1.0], rescale=True)
    hidden: list[torch.Tensor] = []
    for network in (nested, rescaled):
        network.advance((x,), -1, 0, record=lambda name, y: hidden.append(y) if name == "3" else None)
    assert torch.equal(hidden[0], hidden[1])  # a hidden nested unit is the same with rescaling
    bias = nested.module_of("4").bias
    assert torch.allclose(rescaled(x, rate=0.5) - bias, 2 * (nested(x, rate=0.5) - bias), atol=1e-6)


def test_each_block_starts_from_the_fan_in_that_its_units_have():
    network = convert(mlp([100, 800, 800, 4]), [0.25, 1.0], "dense")
    nested = type(network)(network.spec, network.rates, "nested")
    weight = nested.module_of("2").weight.detach()
    assert weight[:200, :200].std().item() == pytest.approx((2 / 200) ** 0.5, rel=0.03)
    assert weight[200:].std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.03)
    assert not weight[:200, 200:].any()
    assert network.module_of("2").reset_parameters() is None
    assert network.module_of("2").weight.std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.03)
    before = nested.module_of("4").weight.clone()
    nested.reset_parameters()
    assert not torch.equal(before, nested.module_of("4").weight)


@BOTH
@pytest.mark.parametrize("head", [1.0, 0.5, 0.0])
def test_the_head_alone_can_start_smaller(connectivity, head):
    network = SlicedNetwork(convert(mlp([6, 8, 4]), [0.5, 1.0], "dense").spec, [0.5, 1.0], connectivity)
    torch.manual_seed(0)
    network.reset_parameters()
    usual = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(0)
    network.reset_parameters(head=head)
    for name, value in network.state_dict().items():
        factor = head if name == "layers.2.weight" else 1.0
        assert torch.allclose(value, factor * usual[name])
    with pytest.raises(SlicingError, match=r"head must lie in \[0, 1\], got 2; .* 0 starts all scores equal"):
        network.reset_parameters(head=2)


@BOTH
def test_threads_at_different_rates_do_not_disturb_each_other(connectivity):
    torch.manual_seed(0)
    network = convert(mlp([8, 64, 64, 3]), [0.25, 0.5, 1.0], "dense")
    network = type(network)(network.spec, network.rates, connectivity).eval()
    x = torch.randn(64, 8)
    with torch.no_grad():
        expected = {rate: network(x, rate=rate) for rate in network.rates}

    def score(rate: float) -> bool:
        with torch.no_grad():
            return all(torch.equal(network(x, rate=rate), expected[rate]) for _ in range(40))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(score, network.rates * 3))


def test_a_rate_does_not_leak_into_the_next_call():
    network = convert(mlp([4, 8, 2]), [0.25, 0.5, 1.0], "dense")
    x = torch.randn(2, 4)
    full, state = network(x), copy.deepcopy(network.__dict__["rates"])
    for rate in (0.25, 0.5):
        network(x, rate=rate)
        with pytest.raises(SlicingError):
            network(x, rate=0.3)
        assert torch.equal(network(x), full)
        assert network.rates == state


@pytest.mark.parametrize("rate", [0.3, 0.0, -1.0, 2.0, float("nan")])
def test_an_unknown_rate_is_refused_with_the_rates_there_are(rate):
    network = convert(mlp([4, 8, 2]), [0.25, 0.5, 1.0], "dense")
    with pytest.raises(SlicingError, match=r"not one of this network's rates \[0.25, 0.5, 1.0\]"):
        network(torch.zeros(1, 4), rate=rate)


@BOTH
def test_too_many_inputs_are_refused(connectivity):
    network = convert(mlp([4, 8, 2]), [0.25, 0.5, 1.0], "dense")
    network = type(network)(network.spec, network.rates, connectivity)
    for call in (network, network.forward_all):
        with pytest.raises(SlicingError, match=r"takes 1 inputs \['input_1'\], got 2"):
            call(torch.zeros(1, 4), torch.zeros(1, 4))


@pytest.mark.parametrize(("argument", "value"), [("connectivity", "sparse"), ("rescale", "yes")])
def test_unknown_options_are_refused(argument, value):
    network = convert(mlp([4, 8, 2]), [0.5, 1.0], "dense")
    with pytest.raises(SlicingError, match=argument):
        type(network)(network.spec, network.rates, **{argument: value})


def test_a_graph_that_is_none_is_refused():
    with pytest.raises(SlicingError, match=r"0: operation 'system' is unknown; known: identity, relu"):
        SlicedNetwork(Spec(("x",), (Node("0", "system", ("x",)),), "0"), [1.0])
    twice = (Node("a", "add", ("x", "x")), Node("a", "add", ("a", "x")))
    with pytest.raises(SlicingError, match="a: the name is taken twice"):
        SlicedNetwork(Spec(("x",), twice, "a"), [1.0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_half_and_double_precision_with_stride_dilation_padding_and_a_batch_of_one(dtype):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=2, dilation=2),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        nn.Conv2d(8, 16, (3, 1), stride=(1, 2), padding=(0, 1)),
        nn.Flatten(),
        nn.LazyLinear(3),
    )
    x = torch.randn(1, 3, 9, 9)
    module(x)
    with pytest.warns(UserWarning, match="dropped"):
        network = convert(module, [0.25, 0.5, 1.0])
    with pytest.warns(UserWarning, match="dropped"):
        typed = convert(copy.deepcopy(module).to(dtype), [0.25, 0.5, 1.0])
    for rate in network.rates:
        ours = typed(x.to(dtype), rate=rate)
        assert ours.dtype == dtype
        assert ours.shape == (1, 3)
        assert torch.allclose(
            ours.double(), network(x, rate=rate).double(), atol=0.03 if dtype == torch.bfloat16 else 1e-5
        )
    assert typed.forward_all(x.to(dtype)).dtype == dtype

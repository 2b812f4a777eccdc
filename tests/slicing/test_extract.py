"""The extracted r-net: the same scores, the same parameter names, and no slicing code."""

import gc
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from slicing import SlicingError, convert, extract, parameter_count
from slicing.models import mlp, small_cnn
from slicing.spec import Node, Spec

RANDOM = settings(max_examples=25, deadline=None)
BOTH = pytest.mark.parametrize("connectivity", ["nested", "dense"])


@BOTH
@given(data=st.data())
@RANDOM
def test_every_rate_is_the_extracted_network(cases, close, connectivity, data):
    case = data.draw(cases())
    network = case.sliced(connectivity, rescale=data.draw(st.booleans()))
    x = case.inputs(3)
    with torch.no_grad():
        for rate in network.rates:
            assert close(extract(network, rate)(*x), network(*x, rate=rate))
        assert torch.equal(extract(network)(*x), extract(network, 1.0)(*x))


@given(data=st.data())
@RANDOM
def test_full_dense_gives_back_the_module_that_was_converted(cases, data):
    """Bit for bit, concatenations put back in their ordinary order."""
    case = data.draw(cases(dtype=torch.float32))
    whole = extract(case.sliced("dense", rescale=False))
    ours, theirs = whole.state_dict(), case.module.state_dict()
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), name
    x = case.inputs(2)
    with torch.no_grad():
        assert torch.equal(whole(*x), case.module(*x))


@pytest.mark.parametrize("classes", [1, 10])
def test_a_dense_network_without_rescaling_equals_its_extract_bit_for_bit(classes):
    torch.manual_seed(0)
    x = torch.randn(4, 1, 12, 12)
    module = small_cnn(classes, width=0.25)
    module[-1] = nn.Linear(32, classes, bias=False)  # the head adds its bias apart
    network = convert(module, [0.25, 0.5, 1.0], "dense", rescale=False).eval()
    for rate in network.rates:
        assert torch.equal(extract(network, rate)(x), network(x, rate=rate))


@given(data=st.data())
@RANDOM
def test_parameters_are_as_many_as_counted(cases, data):
    case = data.draw(cases())
    dense, nested = case.sliced("dense"), case.sliced("nested")
    for rate in dense.rates:
        held = sum(p.numel() for p in extract(dense, rate).parameters())
        assert parameter_count(dense, rate) == held
        assert parameter_count(nested, rate) <= held
    for _, parameter in nested.named_parameters():  # what is not masked is all that is left when weights are not zero
        torch.nn.init.ones_(parameter)
    for _, layer in nested.layer_modules():
        if getattr(layer, "mask", None) is not None:
            layer.weight.data *= layer.mask
    for rate in nested.rates:
        left = sum(int((p != 0).sum()) for p in extract(nested, rate).parameters())
        assert parameter_count(nested, rate) == left


@BOTH
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_no_slicing_code_is_left(cases, connectivity, data):
    case = data.draw(cases())
    module = extract(case.sliced(connectivity), case.rates[0])
    for part in module.modules():
        assert not type(part).__module__.startswith("slicing")
    for node in module.graph.nodes:
        if node.op == "call_function":
            assert not (node.target.__module__ or "").startswith("slicing")
    assert "slicing" not in module.code


def test_the_extract_lives_on_without_the_network():
    network = convert(mlp([4, 8, 2]), [0.5, 1.0], "dense")
    x = torch.randn(3, 4)
    with torch.no_grad():
        expected = network(x, rate=0.5)
    module = extract(network, 0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    watched = weakref.ref(network)
    del network, parameter
    gc.collect()
    assert watched() is None
    assert torch.allclose(module(x), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_precision_and_training_mode_are_kept(dtype):
    network = convert(nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.5), nn.Linear(4, 1)).to(dtype), [0.5, 1.0], "dense")
    for mode in (True, False):
        module = extract(network.train(mode), 0.5)
        assert all(part.training is mode for part in module.modules())
        assert {p.dtype for p in module.parameters()} == {dtype}
        assert module(torch.zeros(1, 2, dtype=dtype)).dtype == dtype


def test_an_unknown_rate_is_refused():
    with pytest.raises(SlicingError, match="not one of this network's rates"):
        extract(convert(mlp([4, 8, 2]), [0.5, 1.0], "dense"), 0.75)


@pytest.mark.parametrize("name", ["x=print('owned')", "x y", "self", "class", "x\n    print()", ""])
def test_names_that_could_carry_code_into_the_generated_forward_are_refused(name):
    with pytest.raises(SlicingError, match="must be a Python identifier"):
        Spec((name,), (Node("0", "relu", (name,)),), "0").check()


@pytest.mark.parametrize("name", ['a");print("owned', "a.", ".a", "a..b", "", "a b", "a\n"])
def test_layer_names_that_could_carry_code_are_refused(name):
    with pytest.raises(SlicingError, match="an operation's name must be"):
        Spec(("x",), (Node(name, "relu", ("x",)),), name).check()


def test_names_with_dashes_and_digits_are_fine():
    module = nn.Sequential()
    module.add_module("fc-1", nn.Linear(2, 4))
    module.add_module("2", nn.Linear(4, 1))
    network = convert(module, [0.5, 1.0], "dense", rescale=False)
    x = torch.randn(2, 2)
    assert torch.allclose(extract(network)(x), module(x), atol=1e-6)

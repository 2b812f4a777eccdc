"""Conversion keeps weights and function, says what it changes, and refuses what it cannot slice, naming it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from slicing import ConversionWarning, SlicingError, convert, extract
from slicing.models import mlp

RANDOM = settings(max_examples=25, deadline=None)
HALVES = [0.5, 1.0]


@given(data=st.data())
@RANDOM
def test_weights_and_the_module_itself_are_kept(cases, data):
    case = data.draw(cases(dtype=data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))))
    modes = [data.draw(st.booleans()) for _ in case.module.modules()]
    for module, mode in zip(case.module.modules(), modes, strict=True):
        module.training = mode
    before = copy.deepcopy(case.module.state_dict())
    network = case.sliced("dense")
    assert [module.training for module in case.module.modules()] == modes
    for name, tensor in case.module.state_dict().items():
        assert torch.equal(tensor, before[name])
    state = network.layers.state_dict()
    assert state.keys() == before.keys()
    assert network.training is case.module.training
    for name, tensor in before.items():
        assert state[name].dtype == tensor.dtype
        # behind a concatenation the columns stand in block order; test_extract puts them back
        assert torch.equal(state[name].flatten().sort().values, tensor.flatten().sort().values)


def test_without_concatenation_the_weights_are_the_same_in_the_same_places():
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    state = convert(module, HALVES, "dense").layers.state_dict()
    for name, tensor in module.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_nested_drops_the_connections_from_wide_to_narrow_and_says_the_share():
    module = mlp([2, 8, 8, 1])
    with pytest.warns(ConversionWarning, match=r"up to 25% of a layer's weights \(2\).*connectivity='dense'") as caught:
        network = convert(module, HALVES)
    assert caught[0].filename == __file__
    weight = network.module_of("2").weight
    assert not weight[:4, 4:].any()
    assert torch.equal(weight[4:], module[2].weight[4:])
    assert torch.equal(weight[:4, :4], module[2].weight[:4, :4])
    assert torch.equal(network.module_of("0").weight, module[0].weight)


def statistics_exactly(norm: nn.Module, images: bool, count: int = 64) -> Tensor:
    """An input of which every candidate has, in every channel, the running mean and variance."""
    channels = norm.num_features
    if images:
        signs = torch.tensor([1.0, -1.0]).repeat(8).reshape(1, 1, 4, 4).double()
        signs = torch.stack([signs[0, 0].flatten()[torch.randperm(16)].reshape(4, 4) for _ in range(count * channels)])
        signs = signs.reshape(count, channels, 4, 4)
    spread = norm.running_var.sqrt().reshape(1, channels, 1, 1)
    return norm.running_mean.reshape(1, channels, 1, 1) + spread * signs


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 4, 16])
def test_batch_norm_becomes_the_group_norm_that_its_statistics_allow(affine, groups):
    """On an input with exactly the running statistics both normalisations are the same function."""
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(8, eps=0.0 if not affine else 1e-5, affine=affine).double()
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    module = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), norm, nn.Conv2d(8, 2, 1)).double().eval()
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(8).reshape(8, 8, 1, 1))
    with pytest.warns(ConversionWarning, match=r"1 BatchNorm layers became GroupNorm \(1\).*fine-tune"):
        network = convert(module, HALVES, "dense", groups=groups, rescale=False)
    assert 8 // network.module_of("1").group_size == {1: 2, 2: 2, 4: 4, 16: 8}[groups]  # a rate of 0.5 wants two
    x = statistics_exactly(norm, images=True)
    with torch.no_grad():
        assert torch.allclose(network(x), module(x), atol=1e-4)  # eps stands on the group's variance


def test_batch_norm_behind_a_concatenation_keeps_channels_and_statistics_together():
    class Inception(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 8, 1)
            self.norm, self.head = nn.BatchNorm2d(12), nn.Conv2d(12, 1, 1)

        def forward(self, x):
            return self.head(self.norm(torch.cat([self.a(x), self.b(x)], 1)))

    module = Inception().double().eval()
    for p in (module.norm.running_mean, module.norm.weight, module.norm.bias):
        nn.init.normal_(p)
    nn.init.uniform_(module.norm.running_var, 0.5, 2.0)
    with pytest.warns(ConversionWarning):
        network = convert(module, HALVES, "dense", groups=12)
    assert network.module_of("norm").group_size == 1
    plain = extract(network)
    # one channel a group: its own mean and variance, so scale and shift stay
    assert torch.allclose(plain.norm.weight, module.norm.weight, atol=1e-12)
    assert torch.allclose(plain.norm.bias, module.norm.bias, atol=1e-12)


def test_batch_norm_without_running_statistics_keeps_scale_and_shift():
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    nn.init.normal_(norm.weight)
    module = nn.Sequential(nn.Conv2d(1, 4, 1), norm, nn.Conv2d(4, 1, 1))
    with pytest.warns(ConversionWarning):
        network = convert(module, HALVES, "dense")
    assert torch.equal(network.module_of("1").weight, norm.weight)


def test_batch_norm_of_the_raw_input_behind_a_grouped_convolution_and_of_the_scores():
    module = nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 4, 3, groups=4),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
        nn.BatchNorm1d(10),
    ).eval()
    with pytest.warns(ConversionWarning, match=r"4 BatchNorm layers .*\(0, 2, 4, ...\)"):
        network = convert(module, HALVES, "dense", groups=1)
    assert [network.module_of(name).group_size for name in "0248"] == [3, 4, 2, 10]
    for rate in network.rates:
        assert network(torch.randn(2, 3, 8, 8), rate=rate).shape == (2, 10)


def test_batch_norm_behind_a_dense_layer_takes_groups_as_large_as_the_rates_allow():
    module = nn.Sequential(nn.Linear(3, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 1)).eval()
    with pytest.warns(ConversionWarning):
        network = convert(module, [0.5, 0.75, 1.0], "dense")
    assert network.module_of("1").group_size == 3
    with pytest.raises(SlicingError, match="1: the rates leave groups of one unit"):
        convert(module, [5 / 12, 1.0], "dense")


class Functional(nn.Module):
    """Everything that may be written as a function or a method instead of a module."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.a(x), 0.2)
        y = F.max_pool2d(y, 2, 2, 0, 1, False) + F.avg_pool2d(y, 2, 2, 0, False, True, 3)
        y = F.gelu(y, approximate="tanh") * torch.sigmoid(self.b(y))
        y = F.dropout(F.elu(F.mish(F.hardswish(F.silu(y))), 0.5), 0.3, self.training)
        y = torch.relu(F.relu6(y.tanh())).mul(y).add(y).contiguous()
        y = F.adaptive_avg_pool2d(y, (1, None)) + F.adaptive_max_pool2d(y, (1, 3))
        return torch.softmax(self.head(y.mean((-1, -2), keepdim=False)), dim=1)


def test_functions_and_methods_are_read_like_modules():
    torch.manual_seed(0)
    module = Functional().double().eval()
    network = convert(module, HALVES, "dense", rescale=False)
    x = torch.randn(2, 2, 6, 6).double()
    assert torch.allclose(network(x), module(x), atol=1e-12)
    assert torch.allclose(extract(network, 0.5)(x), network(x, rate=0.5), atol=1e-12)


def test_functional_dropout_follows_the_networks_mode():
    module = of(lambda s, x: s.b(F.dropout(s.a(x), 0.25, s.training)), a=nn.Linear(3, 64), b=nn.Linear(64, 1)).eval()
    network = convert(module, HALVES, "dense", rescale=False)
    x = torch.randn(4, 3)
    assert torch.allclose(network(x), module(x), atol=1e-6)
    assert network.module_of("dropout").p == 0.25
    assert not torch.allclose(network.train()(x), module(x), atol=1e-6)


def test_measuring_shapes_does_not_count_as_a_batch():
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).train()
    before = copy.deepcopy(module.state_dict())
    with pytest.warns(ConversionWarning):
        convert(module, HALVES, "dense", input_shape=(1, 2, 2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(layer.training for layer in module.modules())


class SameNames(nn.Module):
    """forward calls its argument, and results, what modules are called."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.add, self.relu = nn.Linear(3, 4), nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4))
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.x(x)
        y = F.relu(y) + self.x_again(y)
        return self.head(F.relu(y + self.relu(self.add(y))))

    def x_again(self, y: Tensor) -> Tensor:
        return torch.tanh(y)


class Skip(nn.Module):
    """The head reads the raw input ``x`` beside what the layer called ``x`` made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.head = nn.Linear(3, 4), nn.Linear(7, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.x(x), x], 1))


@pytest.mark.parametrize("build", [SameNames, Skip])
def test_names_that_meet_are_told_apart(build):
    torch.manual_seed(0)
    module = build().double()
    network = convert(module, HALVES, "dense", rescale=False, input_shape=(3,))
    x = torch.randn(4, 3).double()
    assert torch.allclose(network(x), module(x), atol=1e-12)
    assert torch.allclose(extract(network, 0.5)(x), network(x, rate=0.5), atol=1e-12)


class Overwriting(nn.Module):
    """What works in place changes what others read after it."""

    def __init__(self, way: int) -> None:
        super().__init__()
        self.a, self.b, self.act, self.way = nn.Linear(3, 4), nn.Linear(4, 1), nn.ReLU(inplace=True), way

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        if self.way == 0:
            self.act(y)
        elif self.way == 1:
            F.relu(y, inplace=True)
        elif self.way == 2:
            y.relu_()
        elif self.way == 3:
            y.add_(y)
        else:
            z = self.act(y)
            return self.b(y + z)
        return self.b(y)


@pytest.mark.parametrize("way", range(5))
def test_operations_in_place_are_seen_by_later_readers(way):
    torch.manual_seed(0)
    module = Overwriting(way).double()
    network = convert(module, HALVES, "dense", rescale=False)
    x = torch.randn(8, 3).double()
    with torch.no_grad():
        assert torch.allclose(network(x), module(x), atol=1e-12)


@pytest.mark.parametrize(
    "layer", [nn.Linear(3, 2), nn.Conv2d(3, 2, 1), nn.GroupNorm(3, 3), nn.ReLU(), nn.Flatten(), nn.Embedding(5, 3)]
)
def test_a_single_layer_is_a_network_where_its_output_has_one_width(layer):
    x = torch.ones(2, 3, 4, 4) if isinstance(layer, nn.Conv2d) else torch.ones(2, 3)
    if isinstance(layer, nn.Embedding):
        with pytest.raises(SlicingError, match="output '0' would grow with the rate"):
            convert(layer, HALVES)
        return
    network = convert(layer, HALVES)
    assert torch.allclose(network(x, rate=0.5), layer(x), atol=1e-6)


def test_several_input_shapes():
    class Ranker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(5, 4), nn.Linear(6, 1)

        def forward(self, ids, features):
            return self.head(torch.cat([self.table(ids), features], -1))

    module = Ranker()
    with pytest.raises(SlicingError, match=r"cat: concatenates .* pass input_shape"):
        convert(module, HALVES)
    network = convert(module, HALVES, input_shape=[(), (2,)])
    ids, features = torch.tensor([1, 4, 2]), torch.randn(3, 2)
    assert torch.allclose(network(ids, features), module(ids, features), atol=1e-6)
    narrow = torch.cat([module.table(ids)[:, :2], torch.zeros(3, 2), features], 1)
    assert torch.allclose(network(ids, features, rate=0.5), module.head(narrow), atol=1e-6)
    with pytest.raises(SlicingError, match="must give 2 shapes"):
        convert(module, HALVES, input_shape=(2,))
    with pytest.raises(SlicingError, match="can't take an input of shape"):
        convert(module, HALVES, input_shape=[(), (3,)])


@pytest.mark.parametrize("dim", [1, -1])
def test_raw_inputs_may_be_concatenated_along_any_axis(dim):
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(2 if dim == 1 else 1, 4, 3), nn.Conv2d(4, 1, 1)

        def forward(self, x, y):
            return self.head(self.a(torch.cat([x, y], dim)))

    module = Pair()
    network = convert(module, HALVES, "dense")
    x, y = torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4)
    assert torch.allclose(network(x, y), module(x, y), atol=1e-6)
    assert torch.allclose(extract(network, 0.5)(x, y), network(x, y, rate=0.5), atol=1e-6)


def test_layers_with_names_that_could_not_stand_in_code_are_refused():
    module = nn.Sequential()
    module.add_module('a"', nn.Linear(2, 4))
    module.add_module("b", nn.Linear(4, 1))
    with pytest.raises(SlicingError, match="an operation's name must be words"):
        convert(module, HALVES)


def of(function, **layers):
    """A module whose forward is ``function(self, x)``."""

    class Built(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, x):
            return function(self, x)

    return Built()


def tied() -> nn.Module:
    module = mlp([4, 4, 4, 1])
    module[2].weight = module[0].weight
    return module


def lin(out: int = 4, into: int = 4) -> nn.Linear:
    return nn.Linear(into, out)


def conv(into: int = 4, out: int = 4, **options: object) -> nn.Conv2d:
    return nn.Conv2d(into, out, 1, **options)


REFUSED = {
    "layer norm": (nn.Sequential(lin(), nn.LayerNorm(4), lin()), "1: LayerNorm can't be sliced; supported layers: Ada"),
    "attention": (of(lambda s, x: s.m(x, x, x)[0], m=nn.MultiheadAttention(4, 2)), "m: MultiheadAttention can't"),
    "encoder": (nn.Sequential(lin(), nn.TransformerEncoderLayer(4, 2)), "1: TransformerEncoderLayer can't"),
    "conv1d": (nn.Sequential(nn.Conv1d(3, 4, 1), nn.Flatten(), lin()), "0: Conv1d can't be sliced"),
    "lstm": (
        of(lambda s, x: s.m(x)[0], m=nn.LSTM(3, 4)),
        "m: a recurrent layer with batch_first=False can't be sliced",
    ),
    "batch norm 3d": (nn.Sequential(conv(), nn.BatchNorm3d(4), conv()), "1: BatchNorm3d can't"),
    "padding mode": (
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), conv()),
        "0: only zero padding can be sliced, got padding_mode='reflect'",
    ),
    "max norm": (nn.Sequential(nn.Embedding(5, 4, max_norm=1.0), lin()), "0: an embedding with max_norm"),
    "parameter": (of(lambda s, x: s.l(x) * s.w, l=lin(), w=nn.Parameter(torch.ones(4))), "w: a parameter or buffer"),
    "layer's weight": (of(lambda s, x: F.linear(x, s.l.weight), l=lin()), "l.weight: a parameter or buffer"),
    "control flow": (of(lambda s, x: s.l(x) if x.sum() > 0 else x, l=lin()), "its forward depends on the data"),
    "loop": (of(lambda s, x: sum(s.l(row) for row in x), l=lin()), "its forward depends on the data"),
    "used twice": (of(lambda s, x: s.l(s.l(x)), l=lin()), "l: runs twice in one pass; shared weights"),
    "tied": (tied(), "2: shares its weight with 0; shared weights"),
    "weight norm": (nn.Sequential(nn.utils.parametrizations.weight_norm(lin()), lin()), "ParametrizedLinear can't"),
    "spectral norm": (nn.Sequential(nn.utils.spectral_norm(lin()), lin()), "0: its weights are computed from"),
    "view": (of(lambda s, x: s.l(x.view(-1, 4)), l=lin()), r"view: view\(-1, 4\) can't be sliced; only view"),
    "view by channels": (of(lambda s, x: s.l(x.view(x.size(1), -1)), l=lin()), "view: view.* can't be sliced"),
    "reshape by keyword": (of(lambda s, x: s.l(x.reshape(shape=(1, -1))), l=lin()), "reshape: reshape.* can't be"),
    "flatten all": (of(lambda s, x: s.l(torch.flatten(x)), l=lin()), r"only flatten\(1\).* got flatten\(0, -1\)"),
    "flatten 2": (nn.Sequential(conv(), nn.Flatten(2), lin()), r"1: only flatten\(1\).* got flatten\(2, -1\)"),
    "squeeze": (of(lambda s, x: s.l(x).squeeze(), l=lin()), "squeeze needs a dimension"),
    "squeeze batch": (of(lambda s, x: s.l(x).squeeze(0), l=lin()), "squeeze: dim of squeeze must be an axis behind"),
    "softmax batch": (nn.Sequential(lin(), nn.Softmax(0)), "1: dim of softmax must be an axis behind the batch, got 0"),
    "softmax inside": (nn.Sequential(lin(), nn.Softmax(1), lin()), "1: softmax over units that grow with the rate"),
    "mean": (of(lambda s, x: s.l(x.mean(1)), l=lin()), r"only a mean over both image axes.* got dim 1"),
    "scalar": (of(lambda s, x: s.l(x) * 2, l=lin()), "mul: only mul of two activations"),
    "alpha": (of(lambda s, x: torch.add(s.l(x), x, alpha=2), l=lin()), "add: only add of two activations"),
    "batch concatenation": (of(lambda s, x: s.l(torch.cat([x, x])), l=lin()), "along the units .*, got dim 0"),
    "function": (of(lambda s, x: torch.cumsum(s.l(x), 1), l=lin()), "cumsum: cumsum can't be sliced"),
    "method": (of(lambda s, x: s.l(x.transpose(1, 2)), l=lin()), "transpose: tensor method transpose can't"),
    "indices": (nn.Sequential(conv(), nn.MaxPool2d(2, return_indices=True)), "1: pooling that returns indices"),
    "two results": (of(lambda s, x: (s.l(x), x), l=lin()), "must return one tensor of scores"),
    "growing output": (nn.Sequential(nn.Embedding(5, 4), nn.ReLU()), "the network's output '1' would grow"),
    "residual of another width": (
        of(lambda s, x: s.c(s.b(s.a(x)) + x), a=lin(8), b=lin(4, 8), c=lin()),
        r"add: can't add activations whose units are not aligned: units \[2, 4\] and one of the same width",
    ),
    "residual across a concatenation": (
        of(lambda s, x: s.d(torch.cat([s.a(x), s.b(x)], 1) + s.c(x)), a=lin(), b=lin(), c=lin(8), d=lin(1, 8)),
        r"add_?\d*: can't add .*units \[2, 4\] \+ \[2, 4\] and units \[4, 8\]",
    ),
    "features": (nn.Sequential(lin(4), lin(1, 5)), "1: reads 5 features, but what flows into it has 4 units"),
    "dense on an image": (nn.Sequential(conv(), lin(), lin()), "1: a dense layer reads units that lie last"),
    "convolution behind a dense layer": (nn.Sequential(lin(), conv(), lin()), "1: a dense layer reads units that lie"),
    "positions of an embedding": (
        nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), lin(1, 12)),
        "2: flattens 3 positions whose units lie on the last axis",
    ),
    "pooled embedding": (nn.Sequential(nn.Embedding(5, 4), nn.MaxPool2d(2), lin()), "1: max_pool2d behind a dense"),
    "split norm": (
        nn.Sequential(conv(3, 12), nn.GroupNorm(3, 12), conv(12)),
        r"1: rate 0.5 asks for 6 of 12 units, which splits a group of 4; legal widths: 4 \(rate 0.333333\), 8",
    ),
    "split grouped convolution": (
        nn.Sequential(conv(3, 12), conv(12, 12, groups=3), conv(12)),
        r"1: rate 0.5 asks for 6 of 12 units, which splits a group of 4; legal widths: 4 \(rate 0.333333\), 8",
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm:FutureWarning")
def test_what_cannot_be_sliced_is_refused_naming_it(case):
    module, message = REFUSED[case]
    with pytest.raises(SlicingError, match=message):
        convert(module, HALVES)


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([0.1, 1.0], r"0: rate 0.1 asks for 0 of 4 units, which uses no unit at all; legal widths: 1 \(rate 0.25\), 2"),
        ([0.5, 0.55, 1.0], r"0: rates 0.5 and 0.55 both use 2 of 4 units"),
        ([0.5], "the last rate must be 1.0"),
        ([1.0, 0.5], "rise strictly"),
        ([0.0, 1.0], "must lie in"),
    ],
)
def test_rates_that_do_not_fit_are_refused_with_the_legal_ones(rates, message):
    with pytest.raises(SlicingError, match=message):
        convert(mlp([3, 4, 1]), rates)


def test_groups_that_straddle_a_concatenation_are_refused():
    cat = of(
        lambda s, x: s.c(s.n(torch.cat([s.a(x), s.b(x)], 1))),
        a=conv(3, 4),
        b=conv(3, 8),
        n=nn.GroupNorm(3, 12),
        c=conv(12),
    )
    with pytest.raises(SlicingError, match=r"n: rate 0.5 asks for 6 .*splits a group of 4"):
        convert(cat, HALVES)
    cat = of(
        lambda s, x: s.c(s.n(torch.cat([s.a(x), s.b(x)], 1))),
        a=conv(3, 4),
        b=conv(3, 4),
        n=nn.GroupNorm(2, 8),
        c=conv(8),
    )
    with pytest.raises(SlicingError, match=r"n: groups of 4 channels straddle .*\[\[2, 4\], \[2, 4\]\]"):
        convert(cat, HALVES)
    for layer in (conv(8, 8, groups=2), conv(8, 16, groups=8)):
        cat.n = layer
        cat.c = conv(layer.out_channels)
        with pytest.raises(SlicingError, match=r"straddle|changes the channel count"):
            convert(cat, HALVES)


@pytest.mark.parametrize("dim", [1, -1])
def test_a_concatenation_along_another_axis_than_the_units_is_refused_when_it_runs(dim):
    """Images concatenated along their width, sequences along their positions: the shape tells only in a run."""
    images = of(lambda s, x: s.c(torch.cat([s.a(x), s.b(x)], dim)), a=conv(), b=conv(), c=conv(8))
    sequences = of(lambda s, x: s.c(torch.cat([s.a(x), s.b(x)], dim)), a=lin(), b=lin(), c=lin(1, 8))
    for module, x, right in ((images, torch.zeros(2, 4, 3, 3), 1), (sequences, torch.zeros(2, 3, 4), -1)):
        network = convert(module, HALVES, "dense")
        if dim == right:
            network(x, rate=0.5)
        else:
            with pytest.raises(SlicingError, match=f"cat: concatenates along dim {dim}, but"):
                network(x, rate=0.5)


def test_an_image_of_another_size_is_refused_not_truncated():
    module = nn.Sequential(conv(1, 4), nn.Flatten(), nn.Linear(4 * 9, 8), nn.Linear(8, 1))
    network = convert(module, HALVES, "dense")
    assert network(torch.zeros(1, 1, 3, 3), rate=0.5).shape == (1, 1)
    for rate in HALVES:
        with pytest.raises(SlicingError, match="check the input's shape"):
            network(torch.zeros(1, 1, 4, 4), rate=rate)

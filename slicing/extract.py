"""A standalone r-net: plain torch, without slicing code in it, for deployment or comparison."""

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from slicing.conv import SlicedGroupedConv2d
from slicing.layers import SlicedEmbedding, SlicedGroupNorm
from slicing.layout import Layout
from slicing.mixing import Mixing
from slicing.network import SlicedNetwork
from slicing.rates import rate_index
from slicing.recurrent import SlicedRecurrent
from slicing.spec import RECURRENT, UNITWISE, Node, unitwise_module


@torch.no_grad()
def extract(network: SlicedNetwork, rate: float | None = None) -> fx.GraphModule:
    """Cut the r-net out as a module of torch's own layers.

    It computes what ``network(x, rate=rate)`` computes: the weights are copies of the sliced part, zeros standing
    where a unit does not read (above the block diagonal of a nested layer), the output rescaling multiplied into them.

    Args:
        network: any sliced network.
        rate: one of its rates; None is the whole network.

    Returns:
        A module with the inputs that the rate reads and the same parameter names.
    """
    to = rate_index(network.rates, rate)
    root = nn.Module()
    graph = fx.Graph()
    values: dict[str, fx.Node] = {
        name: graph.placeholder(name) for name in network.spec.inputs if network.inputs.first[name] <= to
    }
    for node in network.spec.nodes:
        xs = tuple(values[name] for name in node.inputs if name in values)
        if xs if node.op == "cat" else node.inputs[0] in values:  # else it has no units yet
            values[node.name] = _emit(graph, root, node, network, to, xs)
    graph.output(values[network.spec.output])
    module = fx.GraphModule(root, graph)
    module.train(network.training)
    return module


def _emit(
    graph: fx.Graph, root: nn.Module, node: Node, network: SlicedNetwork, to: int, xs: tuple[fx.Node, ...]
) -> fx.Node:
    if node.op in ("add", "mul"):
        return graph.call_function(torch.add if node.op == "add" else torch.mul, xs)
    if node.op == "cat":
        return graph.call_function(torch.cat, (xs, node.config["dim"]))
    if node.op == "squeeze":
        return graph.call_function(torch.squeeze, (*xs, node.config["dim"]))
    if node.op == "last_step":
        return graph.call_function(operator.getitem, (*xs, (slice(None), -1)))
    _put(root, node.name, _plain_layer(node, network, to))
    if node.op in RECURRENT:  # torch's own gives the outputs and the last state
        return graph.call_function(operator.getitem, (graph.call_module(node.name, xs), 0))
    result = graph.call_module(node.name, xs[:1])
    return graph.call_function(torch.add, (result, xs[1])) if len(xs) > 1 else result


def _plain_layer(node: Node, network: SlicedNetwork, to: int) -> nn.Module:
    if node.op in UNITWISE:
        return unitwise_module(node)
    if node.op == "flatten":
        return nn.Flatten(1)
    if node.op == "softmax":
        return nn.Softmax(node.config["dim"])
    layer = network.module_of(node.name)
    config = dict(node.config)
    if isinstance(layer, SlicedGroupNorm):
        channels = layer.reads.widths[to]
        norm = nn.GroupNorm(channels // layer.group_size, channels, config["eps"], config["affine"])
        if layer.weight is not None and layer.bias is not None:
            _fill(
                norm,
                _plain(layer.weight[:channels], layer.reads, to, 0),
                _plain(layer.bias[:channels], layer.reads, to, 0),
            )
        return _like(norm, layer)
    if isinstance(layer, SlicedEmbedding):
        units = layer.gives.widths[to]
        table = nn.Embedding(layer.weight.shape[0], units, layer.padding_idx)
        _like(table, layer)  # before the weights come: a double would be rounded
        table.weight.copy_(layer.weight[:, :units])
        return table
    if isinstance(layer, SlicedGroupedConv2d):
        out, into = layer.gives.widths[to], layer.reads.widths[to]
        grouped = _convolution(config, into, out, groups=into // layer.per_group)
        bias = None if layer.bias is None else _plain(layer.bias[:out], layer.gives, to, 0)
        _fill(grouped, _plain(layer.weight[:out], layer.gives, to, 0), bias)
        return _like(grouped, layer)
    if isinstance(layer, SlicedRecurrent):
        return _like(_recurrent(node, layer, to), layer)
    assert isinstance(layer, Mixing)
    out, into = layer.gives.widths[to], layer.reads.widths[to]
    weight = _plain(layer.whole_weight(to), layer.reads, to, 1)
    plain = nn.Linear(into, out, config["bias"]) if node.op == "linear" else _convolution(config, into, out, groups=1)
    _fill(plain, weight, None if layer.bias is None else layer.bias[:out])
    return _like(plain, layer)


def _recurrent(node: Node, layer: SlicedRecurrent, to: int) -> nn.RNNBase:
    sizes = layer.reads.widths[to], layer.gives.widths[to]
    options = {"bias": node.config["bias"], "batch_first": True}
    plain: nn.RNNBase
    if node.op == "rnn":
        plain = nn.RNN(*sizes, nonlinearity=node.config["nonlinearity"], **options)
    else:
        plain = (nn.LSTM if node.op == "lstm" else nn.GRU)(*sizes, **options)
    plain.to(dtype=layer.weight_ih.dtype, device=layer.weight_ih.device).load_state_dict(layer.narrow(to))
    return plain


def _convolution(config: dict[str, Any], into: int, out: int, groups: int) -> nn.Conv2d:
    padding = config["padding"] if isinstance(config["padding"], str) else tuple(config["padding"])
    return nn.Conv2d(
        into,
        out,
        tuple(config["kernel_size"]),
        tuple(config["stride"]),
        padding,
        tuple(config["dilation"]),
        groups,
        config["bias"],
    )


def _plain(tensor: Tensor, layout: Layout, to: int, dim: int) -> Tensor:
    """From block order back to the ordinary order of a concatenation."""
    places = layout.plain_positions(to)
    if places is None:
        return tensor
    return torch.empty_like(tensor).index_copy_(dim, places.to(tensor.device), tensor)


def _fill(layer: nn.Linear | nn.Conv2d | nn.GroupNorm, weight: Tensor, bias: Tensor | None) -> None:
    layer.to(dtype=weight.dtype, device=weight.device)
    layer.weight.copy_(weight)
    if bias is not None:
        assert layer.bias is not None
        layer.bias.copy_(bias)


def _like(layer: nn.Module, model: nn.Module) -> nn.Module:
    parameter = next(model.parameters(), None)
    return layer if parameter is None else layer.to(dtype=parameter.dtype, device=parameter.device)


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        if not hasattr(root, parent):
            root.add_module(parent, nn.Module())
        root = getattr(root, parent)
    root.add_module(leaf, module)

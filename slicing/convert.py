"""From any torch module made of supported layers to a sliced network with the same weights."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import gcd
from typing import Any

import torch
from torch import Tensor, nn

from slicing.build import ruled_layers
from slicing.connectivity import Connectivity
from slicing.conv import SlicedGroupedConv2d
from slicing.errors import SlicingError
from slicing.flops import Shapes
from slicing.inputs import declared
from slicing.layers import SlicedEmbedding, SlicedGroupNorm
from slicing.layout import Layout
from slicing.mixing import Mixing
from slicing.network import SlicedNetwork
from slicing.rates import check_rates, width
from slicing.recurrent import SlicedRecurrent
from slicing.spec import Node, Spec, heads_of
from slicing.trace import trace

_UNITS = ("out_features", "out_channels", "embedding_dim", "hidden_size")


class ConversionWarning(UserWarning):
    """A conversion that keeps the weights but not exactly the function: says what changed."""


def convert(
    module: nn.Module,
    rates: Iterable[float],
    connectivity: str = "nested",
    *,
    groups: int = 16,
    rescale: bool | None = None,
    whole: Collection[str] = (),
    input_shape: Shapes | None = None,
    input_rates: Mapping[str, float] | None = None,
    query_inputs: Collection[str] = (),
) -> SlicedNetwork:
    """Slice a torch module, keeping its weights.

    >>> net = convert(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1)), rates=[0.25, 0.5, 1.0])
    >>> net(torch.zeros(3, 8), rate=0.25).shape
    torch.Size([3, 1])

    The last dense layer or convolution becomes the additive head, whose outputs are the scores; every other layer's
    units are sliced. At full width a dense network computes what the module computes. A nested one loses the
    connections from wide to narrow blocks, and BatchNorm becomes GroupNorm (section 3.2), fitted to the running
    statistics so that its outputs are the closest a group's statistics allow; both are said in a
    :class:`ConversionWarning`, and both want fine-tuning.

    Args:
        module: made of Linear, Conv2d, GroupNorm, BatchNorm, Embedding, RNN, LSTM, GRU, activations, pooling,
            flatten, additions and concatenations; it is not changed.
        rates: rising slice rates in (0, 1], ending in 1.0.
        connectivity: ``nested`` (exact reuse), ``dense`` (the paper), ``mixed@...`` (both), with other rules for some
            layers where wanted: see :class:`~slicing.connectivity.Connectivity`.
        groups: GroupNorm groups for a converted BatchNorm, where the widths allow; more where they do not.
        rescale: rescale dense and recurrent layers by M/round(rM) (section 3.5.1); None: in any connectivity but a
            nested one.
        whole: names of embeddings that every rate reads in full, as the paper's language model does.
        input_shape: shape of one input without the batch (of several inputs: a sequence of shapes), needed only to
            concatenate flattened activations or raw inputs.
        input_rates: feature tiers: by the name of an argument of the module's forward, the first rate that reads it;
            every rate reads the others. Such an input is (N, features), or ids of an embedding.
        query_inputs: names of arguments that are constant within a query, so that what depends on them alone can run
            once per query: see :meth:`slicing.IncrementalScorer.start`.

    Raises:
        SlicingError: for a layer that can't be sliced, naming it, or rates that split a group, with the legal widths.
    """
    rates = check_rates(rates)
    spec, layers = trace(module, input_shape)
    connectivity = Connectivity(connectivity).spelled_out(ruled_layers(spec))
    spec, norms = _with_group_norm(_with_whole_tables(spec, whole), rates, groups, connectivity)
    spec = declared(spec, input_rates or {}, query_inputs)
    network = SlicedNetwork(spec, rates, connectivity, rescale)
    parameter = next(module.parameters(), None)
    if parameter is not None:
        network.to(device=parameter.device, dtype=parameter.dtype)
    lost = _load(network, layers)
    network.train(module.training)
    _warn(norms, lost, connectivity)
    return network


def _with_whole_tables(spec: Spec, names: Collection[str]) -> Spec:
    """Mark the embeddings that are not sliced."""
    found = {node.name for node in spec.nodes if node.op == "embedding"}
    unknown = sorted(set(names) - found)
    if unknown:
        raise SlicingError(f"whole must name embeddings of the module, {sorted(found)}, got {unknown}")
    nodes = [replace(n, config={**n.config, "sliced": False}) if n.name in names else n for n in spec.nodes]
    return replace(spec, nodes=tuple(nodes))


def _with_group_norm(
    spec: Spec, rates: tuple[float, ...], groups: int, connectivity: Connectivity
) -> tuple[Spec, list[str]]:
    """Replace every BatchNorm by a GroupNorm whose groups no rate splits."""
    nodes: list[Node] = []
    replaced: list[str] = []
    granularities = _granularities(spec, rates, connectivity)
    for node in spec.nodes:
        if node.op != "batch_norm":
            nodes.append(node)
            continue
        channels = int(node.config["num_channels"])
        whole = granularities[node.inputs[0]] or channels
        size = _group_size(whole, channels, groups if node.config["image"] else 1)
        if size == 1 and not node.config["image"]:
            raise SlicingError(
                f"{node.name}: the rates leave groups of one unit, whose normalised value is always zero; choose rates "
                f"whose shares of {channels} units have a common divisor, or drop the layer"
            )
        config: dict[str, Any] = {"num_channels": channels, "num_groups": channels // size}
        nodes.append(replace(node, op="group_norm", config={**config, "eps": node.config["eps"], "affine": True}))
        replaced.append(node.name)
    return replace(spec, nodes=tuple(nodes)), replaced


def _granularities(spec: Spec, rates: Sequence[float], connectivity: Connectivity) -> dict[str, int]:
    """For each activation, the largest group that splits no block of a layer it comes from; 0: its width is fixed."""
    whole = dict.fromkeys(spec.inputs, 0)
    heads = heads_of(spec)
    for node in spec.nodes:
        units = [node.config[key] for key in _UNITS if key in node.config]
        groups = node.config.get("groups", 1)
        trunk = groups == 1 and bool(units) and connectivity.rule_of(node.name) == "trunk"
        if node.name in heads or trunk or node.config.get("sliced") is False:
            whole[node.name] = 0
        elif units and groups == 1:
            whole[node.name] = gcd(*(width(rate, units[0]) for rate in rates))
        elif units:
            per_group = node.config["in_channels"] // groups
            whole[node.name] = whole[node.inputs[0]] // per_group * (units[0] // groups)
        else:
            whole[node.name] = gcd(*(whole[source] for source in node.inputs))
    return whole


def _group_size(whole: int, channels: int, groups: int) -> int:
    """The smallest divisor of ``whole`` that gives at most ``groups`` groups, else ``whole`` itself."""
    for size in range(1, whole + 1):
        if whole % size == 0 and channels // size <= groups:
            return size
    return whole


@torch.no_grad()
def _load(network: SlicedNetwork, layers: dict[str, nn.Module]) -> dict[str, float]:
    """Copy the weights; returns, for each layer, the share of its weights that nested connectivity drops."""
    lost: dict[str, float] = {}
    for name, layer in layers.items():
        target = network.module_of(name)
        if isinstance(target, SlicedGroupNorm):
            scale, shift = _normalisation(layer, target)
            if target.weight is not None and target.bias is not None:
                order = _order(target.reads)
                target.weight.copy_(_ordered(scale, order, 0))
                target.bias.copy_(_ordered(shift, order, 0))
            continue
        if isinstance(target, SlicedRecurrent):
            lost[name] = _load_recurrent(layer, target)
            continue
        assert isinstance(target, Mixing | SlicedGroupedConv2d | SlicedEmbedding)
        assert isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding)
        weight: Tensor = layer.weight
        bias = None if isinstance(layer, nn.Embedding) else layer.bias
        if isinstance(target, Mixing):
            weight = _ordered(weight, _order(target.reads), 1)
            if target.mask is not None:
                lost[name] = 1.0 - target.macs(-1, len(network.rates) - 1) / weight.numel()
                weight = weight * target.mask
        elif isinstance(target, SlicedGroupedConv2d):
            order = _order(target.gives)
            weight, bias = _ordered(weight, order, 0), None if bias is None else _ordered(bias, order, 0)
        target.weight.copy_(weight)
        if bias is not None and not isinstance(target, SlicedEmbedding):
            assert target.bias is not None
            target.bias.copy_(bias)
    return lost


def _load_recurrent(layer: nn.Module, target: SlicedRecurrent) -> float:
    """Copy one recurrent layer's weights; returns the share of them that nested connectivity drops."""
    weights: dict[str, Tensor] = {name.removesuffix("_l0"): weight for name, weight in layer.named_parameters()}
    weights["weight_ih"] = _ordered(weights["weight_ih"], _order(target.reads), 1)
    for name, parameter in target.named_parameters():
        parameter.copy_(weights[name])
    for weight, mask in target.masks():
        weight.mul_(mask)
    return 1.0 - target.macs(-1, len(target.gives.widths) - 1) / (target.weight_ih.numel() + target.weight_hh.numel())


def _normalisation(layer: nn.Module, target: SlicedGroupNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift of a GroupNorm; from a BatchNorm's running statistics where it has been one.

    With per-channel means m and variances v, a group normalises by its mean M = avg(m) and variance
    V = avg(v + m^2) - M^2. BatchNorm's ``g (x - m)/sqrt(v) + b`` is then
    ``g sqrt(V/v) (x - M)/sqrt(V) + b + g (M - m)/sqrt(v)``.
    """
    if isinstance(layer, nn.GroupNorm):
        return layer.weight, layer.bias
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    scale: Tensor = layer.weight
    shift: Tensor = layer.bias
    if layer.weight is None:
        assert target.weight is not None
        scale, shift = torch.ones_like(target.weight), torch.zeros_like(target.weight)
    if layer.running_mean is None or layer.running_var is None:
        return scale, shift
    means, variances = layer.running_mean, layer.running_var
    by_group = (-1, target.group_size)
    mean = means.reshape(by_group).mean(1).repeat_interleave(target.group_size)
    power = (variances + means**2).reshape(by_group).mean(1).repeat_interleave(target.group_size)
    variance = power - mean**2
    deviation = torch.sqrt(variances + layer.eps)
    return scale * torch.sqrt(variance + layer.eps) / deviation, shift + scale * (mean - means) / deviation


def _order(layout: Layout) -> Tensor | None:
    return layout.plain_positions(len(layout.widths) - 1)


def _ordered(tensor: Tensor, order: Tensor | None, dim: int) -> Tensor:
    return tensor if order is None else tensor.index_select(dim, order.to(tensor.device))


def _warn(norms: Sequence[str], lost: dict[str, float], connectivity: Connectivity) -> None:
    if norms:
        warnings.warn(
            f"{len(norms)} BatchNorm layers became GroupNorm "
            f"({', '.join(norms[:3])}{', ...' if len(norms) > 3 else ''}): "
            "a narrow network has other statistics; fine-tune",
            ConversionWarning,
            stacklevel=3,
        )
    if any(lost.values()):
        worst = max(lost, key=lambda name: lost[name])
        warnings.warn(
            f"{connectivity} connectivity dropped the connections from wide to narrow blocks, up to {lost[worst]:.0%} "
            f"of a layer's weights ({worst}): fine-tune, or keep them with connectivity='dense'",
            ConversionWarning,
            stacklevel=3,
        )

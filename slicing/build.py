"""A layer for each node of a graph, and the layout of what it gives."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from slicing.connectivity import Connectivity, Firsts, firsts_of
from slicing.conv import SlicedConv2d, SlicedGroupedConv2d
from slicing.errors import SlicingError
from slicing.graph import read_by_rectifier_alone
from slicing.inputs import Inputs
from slicing.layers import SlicedConcat, SlicedEmbedding, SlicedGroupNorm
from slicing.layout import Layout, concatenated
from slicing.linear import SlicedLinear
from slicing.rates import widths
from slicing.recurrent import SlicedGRU, SlicedLSTM, SlicedRecurrent, SlicedRNN
from slicing.spec import RECURRENT, UNITWISE, Node, Spec, heads_of, mixes, unitwise_module


class Builder:
    """Builds the layers of one network, in the graph's order.

    Args:
        spec: the architecture.
        rates: the valid slice rates.
        connectivity: what a unit reads.
        rescale: whether dense layers rescale.
        inputs: of the network.

    Attributes:
        layouts: of the inputs and of every node built so far.
    """

    def __init__(
        self, spec: Spec, rates: Sequence[float], connectivity: Connectivity, rescale: bool, inputs: Inputs
    ) -> None:
        self.spec, self.rates, self.connectivity, self.rescale, self.inputs = spec, rates, connectivity, rescale, inputs
        self.layouts = inputs.layouts()
        self._heads = heads_of(spec)
        self._addends = {node.inputs[1] for node in spec.nodes if node.op == "linear" and len(node.inputs) == 2}
        self._rectified = read_by_rectifier_alone(spec) - self._heads  # a head's sum is kept

    def modules(self) -> dict[str, nn.Module]:
        """Every layer by its node's name; plain operations have none.

        Raises:
            SlicingError: for a layer that can't be sliced so, naming it.
        """
        found = {}
        for node in self.spec.nodes:
            module, layout = self.layer(node, node.name in self._heads)
            self.layouts[node.name] = layout
            if module is not None:
                found[node.name] = module
        return found

    def layer(self, node: Node, head: bool) -> tuple[nn.Module | None, Layout]:
        """A node's layer (None: a plain operation) and the layout of its result."""
        reads = [self.layouts[name] for name in node.inputs]
        first, config = reads[0], dict(node.config)
        if node.op == "relu" and node.inputs[0] in self._rectified:
            return nn.ReLU(inplace=True), first
        if node.op in UNITWISE:
            if "pool2d" in node.op and first.sliced and first.axis == -1:
                raise SlicingError(
                    f"{node.name}: {node.op} behind a dense layer or an embedding would mix its units, which lie "
                    "last; only behind a convolution can it be sliced"
                )
            return unitwise_module(node), first
        if node.op == "flatten":
            return nn.Flatten(1), flattened(node, first, config)
        if node.op in ("squeeze", "softmax"):
            if first.sliced:
                raise SlicingError(
                    f"{node.name}: {node.op} over units that grow with the rate can't be sliced; put it behind the head"
                )
            build = Squeeze if node.op == "squeeze" else nn.Softmax
            return build(**config), first
        if node.op in ("add", "mul"):
            return None, aligned(node, reads)
        if node.op == "cat":
            return self._build_cat(node, reads)
        if node.op == "last_step":
            return LastStep(), first
        if node.op in RECURRENT:
            return self._build_recurrent(node, first)
        if (
            node.op in ("linear", "conv2d")
            and first.sliced
            and not first.flat
            and (node.op == "linear") != (first.axis == -1)
        ):
            raise SlicingError(
                f"{node.name}: a dense layer reads units that lie last, a convolution units that lie second; put a "
                "flatten behind the convolutions"
            )
        if node.op == "linear":
            reads_linear = replace(first.resolve(config["in_features"], node.name), axis=-1)
            gives = self._out(node, config["out_features"], head, first, axis=-1)
            if any(layout.branches != gives.branches for layout in reads[1:]) or (head and len(reads) > 1):
                raise SlicingError(f"{node.name}: what is added to a dense layer's result must have its units")
            if not reads_linear.widths[0] and (config["bias"] or node.name not in self._addends):
                raise SlicingError(
                    f"{node.name}: reads nothing at rate {self.rates[0]}, because its inputs are of later rates; "
                    "concatenate them with others before the first dense layer"
                )
            return SlicedLinear(reads_linear, gives, config["bias"], self.own(node), self.rescale, head), gives
        if node.op == "conv2d":
            return self._build_conv(node, first.resolve(config.pop("in_channels"), node.name), head, config)
        if node.op == "group_norm":
            resolved = first.resolve(config["num_channels"], node.name)
            norm = SlicedGroupNorm(
                resolved,
                config["num_groups"],
                config["eps"],
                config["affine"],
                rates=self.rates,
                name=node.name,
            )
            return norm, resolved
        gives = Layout.fixed(config["embedding_dim"], len(self.rates), axis=-1)
        if config.get("sliced", True) and self.connectivity.rule_of(node.name) != "trunk":
            gives = Layout.of(widths(self.rates, config["embedding_dim"], 1, node.name), axis=-1)
            gives = gives.since(self.inputs.first.get(node.inputs[0], 0))
        return SlicedEmbedding(config["num_embeddings"], gives, config["padding_idx"]), gives

    def _build_conv(self, node: Node, reads: Layout, head: bool, config: dict) -> tuple[nn.Module, Layout]:
        out, groups = config.pop("out_channels"), config.pop("groups")
        if groups > 1:
            grouped = SlicedGroupedConv2d(reads, out, groups, **config, rates=self.rates, name=node.name)
            return grouped, grouped.gives
        gives = self._out(node, out, head, reads, axis=1)
        return SlicedConv2d(replace(reads, axis=1), gives, **config, firsts=self.own(node), head=head), gives

    def _build_recurrent(self, node: Node, first: Layout) -> tuple[nn.Module, Layout]:
        if first.sliced and first.axis != -1:
            raise SlicingError(
                f"{node.name}: a recurrent layer reads units that lie last, not a convolution's channels"
            )
        reads = replace(first.resolve(node.config["input_size"], node.name), axis=-1)
        gives = self._out(node, node.config["hidden_size"], False, reads, axis=-1)
        options: dict[str, Any] = {"firsts": self.own(node), "rescale": self.rescale}
        if node.op == "rnn":
            options["nonlinearity"] = node.config["nonlinearity"]
        build: type[SlicedRecurrent] = {"rnn": SlicedRNN, "lstm": SlicedLSTM, "gru": SlicedGRU}[node.op]
        return build(reads, gives, node.config["bias"], **options), gives

    def _build_cat(self, node: Node, reads: list[Layout]) -> tuple[nn.Module, Layout]:
        if any(layout.sliced for layout in reads):
            if any(layout.pending for layout in reads):
                raise SlicingError(
                    f"{node.name}: concatenates a flattened activation or an input whose size only a run can tell; "
                    "pass input_shape to convert"
                )
            gives = replace(concatenated(reads), sliced=True)
        else:
            gives = replace(Layout.fixed(1, len(self.rates), axis=reads[0].axis), pending=True)
        return SlicedConcat(reads, gives, node.config["dim"], node.name), gives

    def _out(self, node: Node, units: int, head: bool, reads: Layout, axis: int) -> Layout:
        trunk = not head and self.connectivity.rule_of(node.name) == "trunk"
        if trunk and reads.sliced:
            raise SlicingError(
                f"{node.name}: a trunk layer is computed once for all rates, but this one reads units that grow with "
                "the rate; make what it reads trunk, too"
            )
        if head or trunk:
            return Layout.fixed(units, len(self.rates), axis)
        return Layout.of(widths(self.rates, units, 1, node.name), axis)

    def own(self, node: Node) -> Firsts:
        """The segments of a layer that mixes units by its own rule, whatever it reads."""
        return firsts_of(self.connectivity.rule_of(node.name), self.rates)


class Squeeze(nn.Module):
    """Drops a dimension of size 1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        """Without that dimension."""
        return x.squeeze(self.dim)


class LastStep(nn.Module):
    """Of sequences (N, T, units) the last step."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, units)."""
        return x[:, -1]


def ruled_layers(spec: Spec) -> list[str]:
    """The layers that a rule of the connectivity can hold for, in the graph's order: all with weights but the heads."""
    heads = heads_of(spec)
    with_rule = [node for node in spec.nodes if mixes(node) or node.op == "embedding" or node.op in RECURRENT]
    return [node.name for node in with_rule if node.name not in heads]


def flattened(node: Node, layout: Layout, config: Mapping[str, int | None]) -> Layout:
    """The layout behind a flattening."""
    positions = config.get("positions")
    if positions is None:
        return replace(layout, pending=True, flat=True)
    return replace(layout.times(positions, node.name), flat=True)


def aligned(node: Node, reads: Sequence[Layout]) -> Layout:
    """The layout of a sum or a product of two activations.

    Raises:
        SlicingError: when their units differ.
    """
    first, second = reads
    if first.sliced != second.sliced or (first.sliced and first.branches != second.branches):
        raise SlicingError(
            f"{node.name}: can't {node.op} activations whose units are not aligned: {_described(first)} and "
            f"{_described(second)}; layers whose results meet must be sliced alike, all of them trunk or none"
        )
    return first if not first.pending else second


def _described(layout: Layout) -> str:
    if not layout.sliced:
        return "one of the same width at every rate"
    return f"units {' + '.join(str(list(branch)) for branch in layout.branches)}"

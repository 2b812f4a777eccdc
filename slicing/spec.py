"""The architecture of a network as plain data: what a checkpoint stores and what every other form is built from.

A :class:`Spec` is a graph of operations from a fixed list, so that loading a file from somebody else runs no code of
theirs. :func:`slicing.convert` reads one off a torch module, :class:`slicing.SlicedNetwork` is built from one, and
:func:`slicing.extract` writes one back as plain torch.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from keyword import iskeyword
from re import fullmatch
from typing import Any

from torch import nn

from slicing.errors import SlicingError
from slicing.settings import check_settings

# Operations that work position by position or within a unit, with the attributes that make them up. Each is its own
# torch module, at every width: nothing in them depends on the number of units.
UNITWISE: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "identity": (nn.Identity, ()),
    "relu": (nn.ReLU, ()),
    "relu6": (nn.ReLU6, ()),
    "leaky_relu": (nn.LeakyReLU, ("negative_slope",)),
    "elu": (nn.ELU, ("alpha",)),
    "gelu": (nn.GELU, ("approximate",)),
    "silu": (nn.SiLU, ()),
    "mish": (nn.Mish, ()),
    "softplus": (nn.Softplus, ("beta", "threshold")),
    "hardswish": (nn.Hardswish, ()),
    "hardsigmoid": (nn.Hardsigmoid, ()),
    "sigmoid": (nn.Sigmoid, ()),
    "tanh": (nn.Tanh, ()),
    "dropout": (nn.Dropout, ("p",)),
    "dropout2d": (nn.Dropout2d, ("p",)),
    "max_pool2d": (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    "avg_pool2d": (
        nn.AvgPool2d,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
    "adaptive_max_pool2d": (nn.AdaptiveMaxPool2d, ("output_size",)),
}

# Operations on whole activations; "softmax" and "squeeze" make sense behind a head alone. A "linear" may read a second
# activation, which is added to its result.
OPERATIONS = (
    *UNITWISE,
    "flatten",
    "add",
    "mul",
    "cat",
    "squeeze",
    "softmax",
    "linear",
    "conv2d",
    "group_norm",
    "embedding",
    "rnn",
    "lstm",
    "gru",
    "last_step",
)
RECURRENT = ("rnn", "lstm", "gru")
FORMAT = 1


@dataclass(frozen=True)
class Node:
    """One operation: its name (a module's path, or the traced name), what it is, what it reads, its settings."""

    name: str
    op: str
    inputs: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spec:
    """A network's graph.

    Attributes:
        inputs: names of the network's inputs.
        nodes: the operations, in an order in which they can run.
        output: the node that gives the scores.
        input_features: channels or features of each input, None where only the layer that reads it tells.
        input_rates: the first slice rate that reads each input, None for one that every rate reads; empty: all are.
        query_inputs: the inputs that are constant within a query.
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    output: str
    input_features: tuple[int | None, ...] = ()
    input_rates: tuple[float | None, ...] = ()
    query_inputs: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain data that JSON can hold."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Spec":
        """Read :meth:`to_dict`'s data, which may have come from anybody.

        Raises:
            SlicingError: when it is not a graph of known operations.
        """
        try:
            if data["format"] != FORMAT:
                raise SlicingError(f"architecture format must be {FORMAT}, got {data['format']!r}; update slicerank")
            nodes = tuple(
                Node(str(n["name"]), str(n["op"]), tuple(n["inputs"]), dict(n["config"])) for n in data["nodes"]
            )
            features, rates = tuple(data["input_features"]), tuple(data.get("input_rates", ()))
            query_inputs = tuple(data.get("query_inputs", ()))
            spec = cls(tuple(data["inputs"]), nodes, str(data["output"]), features, rates, query_inputs)
        except SlicingError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SlicingError(f"the architecture is incomplete or of the wrong types ({error!r})") from error
        spec.check()
        return spec

    def check(self) -> None:
        """Refuse a graph that cannot be built, or whose names could not stand in generated code.

        :func:`slicing.extract` has torch.fx write Python code with these names in it, so a name from a stranger's file
        must be a name and nothing else.

        Raises:
            SlicingError: for unknown operations, settings that are incomplete or impossible, names that are none or
                are taken twice, and nodes that read what does not come before them.
        """
        for name in self.inputs:
            if not isinstance(name, str) or not name.isidentifier() or iskeyword(name) or name == "self":
                raise SlicingError(f"an input's name must be a Python identifier, got {name!r}; rename it")
        features = self.input_features
        if len(features) not in (0, len(self.inputs)) or any(
            size is not None and (type(size) is not int or size < 1) for size in features
        ):
            raise SlicingError(f"input_features must give each of {len(self.inputs)} inputs its size, got {features}")
        if len(self.input_rates) not in (0, len(self.inputs)) or any(
            rate is not None and type(rate) is not float for rate in self.input_rates
        ):
            raise SlicingError(
                f"input_rates must give each of {len(self.inputs)} inputs a rate or None, got {self.input_rates}"
            )
        if not all(name in self.inputs for name in self.query_inputs):
            raise SlicingError(f"query_inputs must be some of the inputs {self.inputs}, got {self.query_inputs}")
        known = set(self.inputs)
        if len(known) != len(self.inputs):
            raise SlicingError(f"the inputs' names must differ, got {list(self.inputs)}")
        for node in self.nodes:
            self._check_node(node, known)
            known.add(node.name)
        if self.output not in known:
            raise SlicingError(f"the output {self.output!r} is not one of the graph's operations")

    @staticmethod
    def _check_node(node: Node, known: set[str]) -> None:
        check_name(node.name)
        if node.name in known:
            raise SlicingError(f"{node.name}: the name is taken twice in the graph; rename one of them")
        if node.op not in OPERATIONS:
            raise SlicingError(f"{node.name}: operation {node.op!r} is unknown; known: {', '.join(OPERATIONS)}")
        missing = [name for name in node.inputs if not isinstance(name, str) or name not in known]
        if missing or not node.inputs:
            raise SlicingError(f"{node.name}: reads {missing or 'nothing'}, which no earlier operation gives")
        counts = {"add": (2,), "mul": (2,), "cat": (len(node.inputs),), "linear": (1, 2)}.get(node.op, (1,))
        if len(node.inputs) not in counts:
            raise SlicingError(f"{node.name}: {node.op} reads {counts[0]} activations, got {list(node.inputs)}")
        check_settings(node.name, node.op, node.config, UNITWISE[node.op][1] if node.op in UNITWISE else None)


def check_name(name: str) -> None:
    """Refuse a layer's name that could not stand in the Python code that torch.fx writes.

    Raises:
        SlicingError: with the name.
    """
    if not fullmatch(r"[\w-]+(\.[\w-]+)*", name):
        raise SlicingError(
            f"an operation's name must be words of letters, digits, _ and - joined by dots, got {name!r}; rename it"
        )


def mixes(node: Node) -> bool:
    """Whether an operation mixes units, so that a later one may be the head."""
    return node.op == "linear" or (node.op == "conv2d" and node.config.get("groups", 1) == 1)


def heads_of(spec: Spec) -> set[str]:
    """The mixing operations that no other mixing operation reads, directly or not: their outputs are scores."""
    followed: set[str] = set()
    heads: set[str] = set()
    for node in reversed(spec.nodes):
        behind = node.name in followed
        if mixes(node) and not behind:
            heads.add(node.name)
        if mixes(node) or node.op in RECURRENT or behind:
            followed.update(node.inputs)
    return heads


def unitwise_module(node: Node) -> nn.Module:
    """The torch module of a unit-wise operation."""
    build, _ = UNITWISE[node.op]
    try:
        return build(**{key: _tupled(value) for key, value in node.config.items()})
    except TypeError as error:
        raise SlicingError(f"{node.name}: the settings of {node.op} are incomplete ({error})") from error


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

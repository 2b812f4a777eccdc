"""Reading the graph off a torch module: which operations it runs, in which order, with which settings."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from slicing.errors import SlicingError
from slicing.flops import Shapes, candidate_shapes
from slicing.spec import UNITWISE, Node, Spec, check_name
from slicing.trace_recurrent import PARTS, levels_of, recurrent_settings

_UNITWISE_MODULES: dict[type[nn.Module], tuple[str, tuple[str, ...]]] = {
    build: (op, attributes) for op, (build, attributes) in UNITWISE.items()
}

# Functions and tensor methods that stand for a unit-wise module: the module's name and the names of their arguments.
_FUNCTIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    F.relu: ("relu", ("inplace",)),
    torch.relu: ("relu", ()),
    torch.relu_: ("relu", ()),
    F.relu6: ("relu6", ("inplace",)),
    F.leaky_relu: ("leaky_relu", ("negative_slope", "inplace")),
    F.elu: ("elu", ("alpha", "inplace")),
    F.gelu: ("gelu", ("approximate",)),
    F.silu: ("silu", ("inplace",)),
    F.mish: ("mish", ("inplace",)),
    F.hardswish: ("hardswish", ("inplace",)),
    F.sigmoid: ("sigmoid", ()),
    torch.sigmoid: ("sigmoid", ()),
    F.tanh: ("tanh", ()),
    torch.tanh: ("tanh", ()),
    F.dropout: ("dropout", ("p", "training", "inplace")),
    F.max_pool2d: (
        "max_pool2d",
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    torch.max_pool2d: ("max_pool2d", ("kernel_size", "stride", "padding", "dilation", "ceil_mode")),
    F.avg_pool2d: (
        "avg_pool2d",
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    F.adaptive_avg_pool2d: ("adaptive_avg_pool2d", ("output_size",)),
    F.adaptive_max_pool2d: ("adaptive_max_pool2d", ("output_size", "return_indices")),
}
_METHODS = {"relu": "relu", "relu_": "relu", "sigmoid": "sigmoid", "tanh": "tanh"}
_WITHOUT_EFFECT = {"inplace", "training", "return_indices"}  # dropout goes by the sliced network's own mode
_IN_PLACE = {torch.relu_, operator.iadd, operator.imul}
_ADD = {operator.add, operator.iadd, torch.add}
_MUL = {operator.mul, operator.imul, torch.mul}


def trace(module: nn.Module, input_shape: Shapes | None) -> tuple[Spec, dict[str, nn.Module]]:
    """The module's graph and, for every node that stands for a layer with weights, that layer.

    BatchNorm comes out as a ``batch_norm`` node, which :func:`slicing.convert` replaces.

    Args:
        module: what to read; it is not changed.
        input_shape: the shape of one input without the batch, of several inputs a sequence of shapes; needed only
            where a flattened activation or a raw input is concatenated.

    Raises:
        SlicingError: for an operation that can't be sliced, naming it.
    """
    graph = _symbolic(module)
    if input_shape is not None:
        _propagate_shapes(graph, module, input_shape)
    return _Reader(graph, module).read()


def _symbolic(module: nn.Module) -> fx.GraphModule:
    wrapped = module
    if type(module) in (*_UNITWISE_MODULES, *_WITH_WEIGHTS):  # a single layer has no inside to trace
        wrapped = nn.Sequential(module)
    for name, _ in wrapped.named_modules():
        if name:
            check_name(name)
    try:
        return fx.GraphModule(wrapped, fx.Tracer().trace(wrapped))
    except (fx.proxy.TraceError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise SlicingError(
            f"{type(module).__name__} can't be traced: its forward depends on the data ({error}); "
            "rewrite the branch or slice the parts separately"
        ) from error


def _propagate_shapes(graph: fx.GraphModule, module: nn.Module, input_shape: Shapes) -> None:
    parameter = next(module.parameters(), torch.zeros(()))
    nodes = list(graph.graph.nodes)
    placeholders = [node for node in nodes if node.op == "placeholder"]
    looked_up = {node.args[0] for node in nodes if _is_embedding(graph, node)}
    inputs = [
        torch.zeros(1, *shape, dtype=torch.long if node in looked_up else parameter.dtype, device=parameter.device)
        for node, shape in zip(placeholders, candidate_shapes(len(placeholders), input_shape), strict=True)
    ]
    training = {layer: layer.training for layer in graph.modules()}
    graph.eval()  # else a BatchNorm would count these zeros in its running statistics
    try:
        with torch.no_grad():
            ShapeProp(graph).propagate(*inputs)
    except RuntimeError as error:
        raise SlicingError(f"the module can't take an input of shape {input_shape}: {error}") from error
    finally:
        for layer, mode in training.items():
            layer.training = mode


def _is_embedding(graph: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(graph.get_submodule(str(node.target)), nn.Embedding)


class _Reader:
    """Walks a traced graph once, turning each of its nodes into a :class:`Node` or refusing it."""

    def __init__(self, graph: fx.GraphModule, module: nn.Module) -> None:
        self.graph, self.module = graph, module
        self.inputs: list[str] = []
        self.nodes: list[Node] = []
        self.alias: dict[fx.Node, str] = {}
        self.layers: dict[str, nn.Module] = {}
        self.output = ""
        self.taken = {name for name, _ in graph.named_modules()}
        self.owners: dict[nn.Parameter, str] = {}
        self.targets: set[str] = set()  # recurrent layers that have run
        self.parts: dict[fx.Node, tuple[str, str]] = {}  # what their results hold, and the operation that gives it

    def read(self) -> tuple[Spec, dict[str, nn.Module]]:
        for node in self.graph.graph.nodes:
            getattr(self, f"_{node.op}")(node)
        placeholders = [node for node in self.graph.graph.nodes if node.op == "placeholder"]
        features = tuple(_shape(node)[1] if len(_shape(node)) > 1 else None for node in placeholders)
        return Spec(tuple(self.inputs), tuple(self.nodes), self.output, features), self.layers

    def _placeholder(self, node: fx.Node) -> None:
        self.inputs.append(self._unused(node.name))
        self.alias[node] = self.inputs[-1]

    def _output(self, node: fx.Node) -> None:
        result = node.args[0]
        if not isinstance(result, fx.Node) or result not in self.alias:
            raise SlicingError(f"the network must return one tensor of scores, got {result}")
        self.output = self.alias[result]

    def _get_attr(self, node: fx.Node) -> None:
        raise SlicingError(
            f"{node.target}: a parameter or buffer used outside a layer can't be sliced; use a layer for it"
        )

    def _call_module(self, node: fx.Node) -> None:
        target = str(node.target)
        layer = self.graph.get_submodule(target)
        kind = type(layer)
        if kind in _UNITWISE_MODULES:
            op, attributes = _UNITWISE_MODULES[kind]
            if getattr(layer, "return_indices", False):
                raise SlicingError(f"{target}: pooling that returns indices can't be sliced")
            self._add(
                node,
                self._free_name(target, node),
                op,
                {key: _plain(getattr(layer, key)) for key in attributes},
            )
            if getattr(layer, "inplace", False):
                self._overwrite(node)
        elif kind is nn.Flatten:
            self._flatten(node, target, layer.start_dim, layer.end_dim)
        elif kind is nn.Softmax:
            self._add(node, self._free_name(target, node), "softmax", {"dim": layer.dim})
        elif isinstance(layer, nn.RNNBase):
            self._recurrent(node, target, layer)
        elif kind in _WITH_WEIGHTS:
            if target in self.layers:
                raise SlicingError(
                    f"{target}: runs twice in one pass; shared weights can't be sliced, give each use its own layer"
                )
            self._own(target, layer)
            op, config = _WITH_WEIGHTS[kind](target, layer)
            self.layers[target] = layer
            self._add(node, target, op, config)
        else:
            raise SlicingError(f"{target}: {kind.__name__} can't be sliced; supported layers: {_supported()}")

    def _call_function(self, node: fx.Node) -> None:
        function = node.target
        if function in _ADD or function in _MUL:
            self._binary(node, "add" if function in _ADD else "mul")
        elif function is torch.cat or function is torch.concat:
            self._cat(node)
        elif function is torch.flatten:
            start, end = _arguments(node, ("start_dim", "end_dim"), (0, -1))
            self._flatten(node, node.name, start, end)
        elif function is torch.squeeze:
            self._squeeze(node)
        elif function is torch.mean:
            self._mean(node)
        elif function in (F.softmax, torch.softmax):
            self._softmax(node)
        elif function in _FUNCTIONS:
            op, names = _FUNCTIONS[function]
            given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
            given.pop("input", None)
            if given.get("return_indices"):
                raise SlicingError(f"{node.name}: pooling that returns indices can't be sliced")
            config = {k: _plain(v) for k, v in given.items() if k not in _WITHOUT_EFFECT and v is not None}
            self._add(node, self._unused(node.name), op, config)
            if given.get("inplace") or function in _IN_PLACE:
                self._overwrite(node)
        elif function is operator.getitem:
            self._getitem(node)
        elif function is getattr:  # x.shape, read by a view
            return
        else:
            called = getattr(function, "__name__", function)
            raise SlicingError(f"{node.name}: {called} can't be sliced; supported layers: {_supported()}")

    def _call_method(self, node: fx.Node) -> None:
        method = str(node.target)
        if method in _METHODS:
            self._add(node, self._unused(node.name), _METHODS[method], {})
            if method.endswith("_"):
                self._overwrite(node)
        elif method in ("add", "add_", "mul", "mul_"):
            self._binary(node, method[:3])
            if method.endswith("_"):
                self._overwrite(node)
        elif method == "flatten":
            start, end = _arguments(node, ("start_dim", "end_dim"), (0, -1))
            self._flatten(node, node.name, start, end)
        elif method in ("view", "reshape"):
            shape = node.args[1:]
            if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
                shape = tuple(shape[0])
            if len(shape) != 2 or shape[1] != -1 or not _is_batch_size(shape[0]):
                raise SlicingError(
                    f"{node.name}: {method}{shape} can't be sliced; only {method}(x.size(0), -1), a flatten, can"
                )
            self._flatten(node, node.name, 1, -1)
        elif method == "squeeze":
            self._squeeze(node)
        elif method == "mean":
            self._mean(node)
        elif method == "softmax":
            self._softmax(node)
        elif method in ("size", "contiguous", "dim"):
            if method == "contiguous":
                self.alias[node] = self._source(node)
        else:
            raise SlicingError(f"{node.name}: tensor method {method} can't be sliced; supported layers: {_supported()}")

    def _recurrent(self, node: fx.Node, target: str, layer: nn.RNNBase) -> None:
        """A recurrent layer, each of its levels an operation of its own."""
        if target in self.targets:
            raise SlicingError(
                f"{target}: runs twice in one pass; shared weights can't be sliced, give each use its own layer"
            )
        self.targets.add(target)
        source, op = self._source(node), ""
        for i, level in enumerate(levels_of(target, layer, begins_at_zero=len(node.all_input_nodes) == 1)):
            if i and layer.dropout:
                dropout = Node(self._unused(f"{target}.dropout{i}"), "dropout", (source,), {"p": layer.dropout})
                self.nodes.append(dropout)
                source = dropout.name
            name = target if layer.num_layers == 1 else self._unused(f"{target}.l{i}")
            op, config = recurrent_settings(level)
            self.nodes.append(Node(name, op, (source,), config))
            self.layers[name] = level
            source = name
        self.parts[node] = (op, source)

    def _getitem(self, node: fx.Node) -> None:
        """A part of a recurrent layer's result, or the last step of a sequence; else x.shape[0], read by a view."""
        source, index = node.args
        assert isinstance(source, fx.Node)
        if source in self.parts:
            kind, outputs = self.parts[source]
            part = PARTS.get((kind, index)) if isinstance(index, int) else None
            if part == "outputs":
                self.alias[node] = outputs
            elif part == "last step":
                self._add(node, self._unused(node.name), "last_step", {}, (outputs,))
            elif part is not None:
                self.parts[node] = (part, outputs)
            elif node.users:
                raise SlicingError(
                    f"{node.name}: of a recurrent layer's result the outputs and h[-1], the last output, can be "
                    f"sliced, got item {index} of its {kind}"
                )
        elif source in self.alias and index in ((slice(None), -1), (slice(None), -1, slice(None))):
            self._add(node, self._unused(node.name), "last_step", {}, (self.alias[source],))

    def _binary(self, node: fx.Node, op: str) -> None:
        if len(node.args) != 2 or not all(isinstance(arg, fx.Node) for arg in node.args) or node.kwargs:
            raise SlicingError(f"{node.name}: only {op} of two activations can be sliced, got {node.format_node()}")
        self._add(node, self._unused(node.name), op, {}, tuple(self._named(arg) for arg in node.args))

    def _cat(self, node: fx.Node) -> None:
        tensors = node.args[0] if node.args else node.kwargs["tensors"]
        dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        if dim not in (1, -1) or not isinstance(tensors, (list, tuple)):
            raise SlicingError(
                f"{node.name}: only a concatenation along the units (dim 1 or -1) can be sliced, got dim {dim}"
            )
        names = tuple(self._named(tensor) for tensor in tensors)
        self._add(node, self._unused(node.name), "cat", {"dim": dim}, names)

    def _flatten(self, node: fx.Node, name: str, start: Any, end: Any) -> None:
        if start != 1 or end != -1:
            raise SlicingError(
                f"{name}: only flatten(1), which keeps the batch, can be sliced, got flatten({start}, {end})"
            )
        source, positions = _shape(node.all_input_nodes[0]), None
        if source:
            positions = 1
            for size in source[2:]:
                positions *= size
        self._add(node, self._free_name(name, node), "flatten", {"positions": positions})

    def _mean(self, node: fx.Node) -> None:
        dim, keep = _arguments(node, ("dim", "keepdim"), (None, False))
        if not isinstance(dim, (tuple, list)) or sorted(d % 4 for d in dim) != [2, 3]:
            raise SlicingError(
                f"{node.name}: only a mean over both image axes, mean((2, 3)), can be sliced, got dim {dim}"
            )
        pooled = Node(self._unused(node.name), "adaptive_avg_pool2d", (self._source(node),), {"output_size": 1})
        self.nodes.append(pooled)
        self.alias[node] = pooled.name
        if not keep:
            flat = Node(self._unused(f"{node.name}_flat"), "flatten", (pooled.name,), {"positions": 1})
            self.nodes.append(flat)
            self.alias[node] = flat.name

    def _squeeze(self, node: fx.Node) -> None:
        (dim,) = _arguments(node, ("dim",), (None,))
        if dim is None:
            raise SlicingError(f"{node.name}: squeeze needs a dimension, else a batch of one loses its batch axis")
        self._add(node, self._unused(node.name), "squeeze", {"dim": dim})

    def _softmax(self, node: fx.Node) -> None:
        (dim,) = _arguments(node, ("dim",), (None,))
        self._add(node, self._unused(node.name), "softmax", {"dim": dim})

    def _add(
        self, node: fx.Node, name: str, op: str, config: dict[str, Any], inputs: tuple[str, ...] | None = None
    ) -> None:
        inputs = (self._source(node),) if inputs is None else inputs
        self.nodes.append(Node(name, op, inputs, config))
        self.alias[node] = name

    def _source(self, node: fx.Node) -> str:
        return self._named(node.args[0] if node.args else node.kwargs.get("input"))

    def _named(self, argument: Any) -> str:
        if not isinstance(argument, fx.Node) or argument not in self.alias:
            raise SlicingError(f"{argument}: not an activation that can be sliced")
        return self.alias[argument]

    def _free_name(self, target: str, node: fx.Node) -> str:
        """A module without weights may run several times (torchvision's shared ReLU): each run gets a name."""
        used = target not in self.taken or any(n.name == target for n in self.nodes)
        return self._unused(node.name) if used else target

    def _unused(self, name: str) -> str:
        """A name that no module has: forward may call its argument or a result what a module is called."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _overwrite(self, node: fx.Node) -> None:
        """An operation in place: whoever reads what it read, from here on, reads its result."""
        source = self._source(node)
        for other, name in self.alias.items():
            if name == source:
                self.alias[other] = self.alias[node]

    def _own(self, target: str, layer: nn.Module) -> None:
        """Refuse a layer whose weights are not its own, or are computed from others."""
        for name, parameter in layer.named_parameters(recurse=False):
            if name not in ("weight", "bias"):
                raise SlicingError(
                    f"{target}: its weights are computed from {name!r} (weight norm, spectral norm or pruning); make "
                    "them permanent first"
                )
            owner = self.owners.setdefault(parameter, target)
            if owner != target:
                raise SlicingError(
                    f"{target}: shares its {name} with {owner}; shared weights can't be sliced, give each its own"
                )


def _linear(name: str, layer: nn.Module) -> tuple[str, dict[str, Any]]:
    assert isinstance(layer, nn.Linear)
    sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
    return "linear", {**sizes, "bias": layer.bias is not None}


def _conv2d(name: str, layer: nn.Module) -> tuple[str, dict[str, Any]]:
    assert isinstance(layer, nn.Conv2d)
    if layer.padding_mode != "zeros":
        raise SlicingError(f"{name}: only zero padding can be sliced, got padding_mode={layer.padding_mode!r}")
    padding = layer.padding if isinstance(layer.padding, str) else list(layer.padding)
    return "conv2d", {
        "in_channels": layer.in_channels,
        "out_channels": layer.out_channels,
        "groups": layer.groups,
        "kernel_size": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": padding,
        "dilation": list(layer.dilation),
        "bias": layer.bias is not None,
    }


def _group_norm(name: str, layer: nn.Module) -> tuple[str, dict[str, Any]]:
    assert isinstance(layer, nn.GroupNorm)
    sizes = {"num_channels": layer.num_channels, "num_groups": layer.num_groups}
    return "group_norm", {**sizes, "eps": layer.eps, "affine": layer.affine}


def _batch_norm(name: str, layer: nn.Module) -> tuple[str, dict[str, Any]]:
    assert isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
    sizes = {"num_channels": layer.num_features, "image": isinstance(layer, nn.BatchNorm2d)}
    return "batch_norm", {**sizes, "eps": layer.eps, "affine": layer.affine}


def _embedding(name: str, layer: nn.Module) -> tuple[str, dict[str, Any]]:
    assert isinstance(layer, nn.Embedding)
    if layer.max_norm is not None:
        raise SlicingError(f"{name}: an embedding with max_norm renormalises whole rows and can't be sliced")
    sizes = {"num_embeddings": layer.num_embeddings, "embedding_dim": layer.embedding_dim}
    return "embedding", {**sizes, "padding_idx": layer.padding_idx}


_WITH_WEIGHTS: dict[type[nn.Module], Callable[[str, nn.Module], tuple[str, dict[str, Any]]]] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.GroupNorm: _group_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Embedding: _embedding,
}


def _supported() -> str:
    kinds: list[type[nn.Module]] = [*_WITH_WEIGHTS, nn.RNN, nn.LSTM, nn.GRU, nn.Flatten, *_UNITWISE_MODULES]
    return ", ".join(sorted(kind.__name__ for kind in kinds)) + ", add, mul, cat"


def _arguments(node: fx.Node, names: Sequence[str], defaults: Sequence[Any]) -> list[Any]:
    given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
    return [given.get(name, default) for name, default in zip(names, defaults, strict=True)]


def _shape(node: fx.Node) -> tuple[int, ...]:
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if meta is not None else ()


def _is_batch_size(size: Any) -> bool:
    """Whether a traced value is ``x.size(0)`` or ``x.shape[0]``."""
    if not isinstance(size, fx.Node):
        return False
    if size.op == "call_method" and size.target == "size":
        return _arguments(size, ("dim",), (None,)) == [0]
    if size.target is not operator.getitem or size.args[1] != 0 or not isinstance(size.args[0], fx.Node):
        return False
    whole = size.args[0]
    return whole.args[1:] == ("shape",) if whole.target is getattr else whole.target == "size" and len(whole.args) == 1


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value

"""The sliced network: one set of weights, a scorer at every rate, one code path for one-shot and incremental passes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.inputs import Inputs, Queries
from slicing.layers import (
    Connectivity,
    Mixing,
    Packed,
    SlicedConcat,
    SlicedConv2d,
    SlicedEmbedding,
    SlicedGroupedConv2d,
    SlicedGroupNorm,
    SlicedLinear,
    span,
)
from slicing.layout import Layout, concatenated
from slicing.rates import check_rates, rate_index, widths
from slicing.recurrent import Carried, SlicedGRU, SlicedLSTM, SlicedRecurrent, SlicedRNN
from slicing.spec import RECURRENT, UNITWISE, Node, Spec, heads_of, unitwise_module

Kind = Literal["mix", "head", "recur", "slice", "plain", "cat", "add", "mul"]


class Prefixes(Protocol):
    """What an incremental pass remembers between two rates; see :mod:`slicing.cache`."""

    def extend(self, edge: str, new: Tensor, layout: Layout, start: int, to: int) -> Sequence[Tensor]:
        """Append new units to an activation's prefix and return the whole prefix, in parts side by side."""

    def known(self, edge: str) -> Tensor:
        """An activation's prefix as the pass before left it, in one part."""

    def room(self, x: Tensor, units: int, kept: bool, to: int) -> Tensor | None:
        """Where a dense layer that reads x puts its new units; ``kept`` when they become a prefix; None: anywhere."""

    def accumulate(self, head: str, share: Tensor | None) -> Tensor:
        """Add a share to an additive head's sum and return the sum."""

    def weights(self, name: str, layer: Mixing, start: int, to: int) -> Sequence[Packed]:
        """The layer's packed weight blocks."""


@dataclass(frozen=True)
class Step:
    """One operation, ready to run.

    Attributes:
        name: its node.
        kind: what kind of call it takes.
        inputs: what it reads.
        meets: whether it reads both what depends on the query alone and what belongs to candidates.
        done_with: what may be freed behind it.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    meets: bool
    done_with: tuple[str, ...]


class SlicedNetwork(nn.Module):
    """A network of which any of ``rates`` can be run (section 3.1).

    Call it as ``network(x, rate=0.5)``; without a rate it is the whole network. The rate belongs to the call: nothing
    is remembered, so calls from several threads do not disturb each other. Make one with :func:`slicing.convert`.

    Attributes:
        spec: the architecture.
        rates: the valid slice rates, rising, the last one 1.0.
        inputs: what is known of its inputs: see :class:`slicing.inputs.Inputs`.
        connectivity: ``nested`` or ``dense``.
        rescale: whether dense layers rescale by M/round(rM).
    """

    def __init__(
        self,
        spec: Spec,
        rates: Iterable[float],
        connectivity: Connectivity = "nested",
        rescale: bool | None = None,
    ) -> None:
        super().__init__()
        if connectivity not in get_args(Connectivity):
            raise SlicingError(f"connectivity must be one of {get_args(Connectivity)}, got {connectivity!r}")
        if not isinstance(rescale, bool | None):
            raise SlicingError(f"rescale must be True, False or None, got {rescale!r}")
        spec.check()
        self.spec = spec
        self.rates = check_rates(rates)
        self.connectivity: Connectivity = connectivity
        self.rescale = connectivity == "dense" if rescale is None else rescale
        self.layers = nn.Module()
        self.inputs = Inputs(spec, self.rates)
        self.layouts = self.inputs.layouts()
        heads = heads_of(spec)
        self._addends = {node.inputs[1] for node in spec.nodes if node.op == "linear" and len(node.inputs) == 2}
        self._rectified_in_place = _read_by_rectifier_alone(spec) - heads  # a head's sum is kept
        self._module_of: dict[str, nn.Module] = {}  # a submodule's path takes longer to follow than a small layer
        for node in spec.nodes:
            module, layout = self._build(node, node.name in heads)
            self.layouts[node.name] = layout
            if module is not None:
                _attach(self.layers, node.name, module)
                self._module_of[node.name] = module
        if self.layouts[spec.output].sliced:
            raise SlicingError(
                f"the network's output {spec.output!r} would grow with the rate: it must end in a dense layer or a "
                "convolution (the head), whose outputs are the scores"
            )
        self.steps = tuple(self._steps(heads))
        self._owned, self._prefixes = self._dense_results()

    @property
    def _like(self) -> Tensor:
        return next(self.parameters(), torch.empty(0))

    def forward(self, *inputs: Tensor | None, rate: float | None = None, carried: Carried | None = None) -> Tensor:
        """Scores of the r-net.

        Args:
            inputs: (N, ...) each; None for one that the rate does not read.
            rate: one of ``rates``; None is the whole network.
            carried: recurrent states to begin with, and where those at the end go; None begins at zero.

        Returns:
            (N, C).

        Raises:
            SlicingError: for a rate the network does not have.
        """
        return self.advance(inputs, -1, rate_index(self.rates, rate), carried=carried)

    def forward_all(self, *inputs: Tensor, carried: Carried | None = None) -> Tensor:
        """Every rate's scores, (K, N, C): one full-width pass when nested, a pass per rate when dense.

        The nested pass multiplies by masked weights, because it is meant for training, where one large product per
        layer beats several small ones; inference never does. ``carried`` gives and takes recurrent states as in
        :meth:`forward`; what a dense network leaves there are the whole network's.
        """
        last = len(self.rates) - 1
        if self.connectivity == "dense":
            return torch.stack([self.advance(inputs, -1, k, carried=carried) for k in range(last + 1)])
        values = self._entering(inputs, -1, last)
        behind = self._behind_heads()
        totals: dict[str, list[Tensor]] = {}
        for step in self.steps:
            if step.kind == "head":
                totals[step.name] = _running_totals(self.module_of(step.name), values[step.inputs[0]], last)
            elif step.name in behind:
                continue
            elif step.kind == "mix":
                module = self.module_of(step.name)
                assert isinstance(module, Mixing)
                values[step.name] = module.every_rate(values[step.inputs[0]])
                for addend in step.inputs[1:]:
                    values[step.name] = values[step.name] + values[addend]
            elif step.kind == "recur":
                values[step.name] = self._recur(step, values[step.inputs[0]], -1, last, None, carried, masked=True)
            else:
                values[step.name] = self._run(step, [values[name] for name in step.inputs], -1, last)
        scores = []
        for k in range(last + 1):
            at = {**values, **{name: head[k] for name, head in totals.items()}}
            for step in self.steps:
                if step.name in behind and step.kind != "head":
                    at[step.name] = self._run(step, [at[name] for name in step.inputs], -1, k)
            scores.append(at[self.spec.output])
        return torch.stack(scores)

    def advance(
        self,
        inputs: Sequence[Tensor | None],
        start: int,
        to: int,
        prefixes: Prefixes | None = None,
        record: Callable[[str, Tensor], None] | None = None,
        queries: Queries | None = None,
        carried: Carried | None = None,
    ) -> Tensor:
        """Run from one rate to a wider one: what flows through the network is the new units alone.

        Args:
            inputs: (N, ...) each; with ``queries``, query inputs (Q, ...); None for one that ``to`` does not read.
            start: position of the rate already reached, -1 for a one-shot pass.
            to: position of the rate to reach.
            prefixes: what an earlier call remembered, and what this one shall remember.
            record: called with each operation's name and result.
            queries: whose query each candidate is of; None: the query inputs have a row per candidate, too.
            carried: recurrent states, as in :meth:`forward`.

        Returns:
            The scores at ``to``, (N, C).
        """
        values = self._entering(inputs, start, to, queries)
        for step in self.steps:
            xs = [values[name] for name in step.inputs]
            handed_out = queries if step.meets else None
            if step.kind in ("mix", "head"):
                y = self._mix(step, xs, start, to, prefixes, handed_out)
            elif step.kind == "recur":
                y = self._recur(step, xs[0], start, to, prefixes, carried)
            else:
                if handed_out is not None:
                    side = self.inputs.query_side
                    xs = [x[handed_out.index] if n in side else x for n, x in zip(step.inputs, xs, strict=True)]
                y = self._run(step, xs, start, to)
            if record is not None:
                record(step.name, y)
            values[step.name] = y
            for name in step.done_with:
                del values[name]
        return values[self.spec.output]

    def module_of(self, name: str) -> nn.Module:
        """The module behind an operation's name."""
        return self._module_of[name]

    def layer_modules(self) -> Iterable[tuple[str, nn.Module]]:
        """Every operation that has a module, in the order they run."""
        return self._module_of.items()

    def reset_parameters(self, lateral: float = 1.0) -> None:
        """Initialise every layer anew, each block of a nested layer by its own fan-in.

        Args:
            lateral: factor, in [0, 1], on the weights from narrower blocks to wider ones; 1 starts all alike. A dense
                network has none.

        Raises:
            SlicingError: when lateral lies outside [0, 1].
        """
        for _, module in self.layer_modules():
            if isinstance(module, Mixing):
                module.reset_parameters(lateral)
                continue
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()

    def _entering(
        self, inputs: Sequence[Tensor | None], start: int, to: int, queries: Queries | None = None
    ) -> dict[str, Tensor]:
        return self.inputs.entering(inputs, start, to, queries, self._like)

    def _mix(
        self,
        step: Step,
        xs: Sequence[Tensor],
        start: int,
        to: int,
        prefixes: Prefixes | None,
        queries: Queries | None,
    ) -> Tensor:
        layer, x = self.module_of(step.name), xs[0]
        assert isinstance(layer, Mixing)
        blocks = None if prefixes is None else prefixes.weights(step.name, layer, start, to)
        if step.kind == "mix":
            parts: Sequence[Tensor] = (x,)
            if prefixes is not None and layer.reads.sliced:
                parts = prefixes.extend(step.inputs[0], x, layer.reads, start, to)
            out = None
            first, stop = span(layer.gives, start, to)
            if prefixes is not None and step.name in self._owned:
                out = prefixes.room(x, stop - first, step.name in self._prefixes, to)
            if len(xs) == 1:
                return layer(parts, start, to, blocks, out)
            if queries is None:
                return layer(parts, start, to, blocks, out) + xs[1]
            if out is None:
                return layer(parts, start, to, blocks) + xs[1][queries.index]
            addend = xs[1] if layer.bias is None else xs[1] + layer.bias[first:stop]
            return layer(parts, start, to, blocks, torch.index_select(addend, 0, queries.index, out=out), added=True)
        grows = start < 0 or layer.reads.sliced
        share = layer((x,), start, to, blocks) if grows else None
        total = share if prefixes is None else prefixes.accumulate(step.name, share)
        assert total is not None
        return layer.finish_head(total, to)

    def _recur(
        self,
        step: Step,
        x: Tensor,
        start: int,
        to: int,
        prefixes: Prefixes | None,
        carried: Carried | None,
        masked: bool = False,
    ) -> Tensor:
        layer = self.module_of(step.name)
        assert isinstance(layer, SlicedRecurrent)
        state = None if carried is None else carried.begin.get(step.name)
        if masked:
            y, end = layer.every_rate(x, state)
        else:
            if prefixes is not None and layer.reads.sliced:
                (x,) = prefixes.extend(step.inputs[0], x, layer.reads, start, to)
            known = None if prefixes is None or start < 0 else prefixes.known(step.name)
            new, end = layer(x, start, to, known, state)
            if prefixes is not None:
                prefixes.extend(step.name, new, layer.gives, start, to)
            y = new
        if carried is not None:
            carried.end[step.name] = end
        return y

    def _run(self, step: Step, xs: list[Tensor], start: int, to: int) -> Tensor:
        if step.kind == "add":
            return xs[0] + xs[1]
        if step.kind == "mul":
            return xs[0] * xs[1]
        module = self.module_of(step.name)
        if step.kind == "plain":
            return module(xs[0])
        return module(xs if step.kind == "cat" else xs[0], start, to)

    def _build(self, node: Node, head: bool) -> tuple[nn.Module | None, Layout]:
        reads = [self.layouts[name] for name in node.inputs]
        first, config = reads[0], dict(node.config)
        if node.op == "relu" and node.inputs[0] in self._rectified_in_place:
            return nn.ReLU(inplace=True), first
        if node.op in UNITWISE:
            if "pool2d" in node.op and first.sliced and first.axis == -1:
                raise SlicingError(
                    f"{node.name}: {node.op} behind a dense layer or an embedding would mix its units, which lie "
                    "last; only behind a convolution can it be sliced"
                )
            return unitwise_module(node), first
        if node.op == "flatten":
            return nn.Flatten(1), _flattened(node, first, config)
        if node.op in ("squeeze", "softmax"):
            if first.sliced:
                raise SlicingError(
                    f"{node.name}: {node.op} over units that grow with the rate can't be sliced; put it behind the head"
                )
            build = _Squeeze if node.op == "squeeze" else nn.Softmax
            return build(**config), first
        if node.op in ("add", "mul"):
            return None, _aligned(node, reads)
        if node.op == "cat":
            return self._build_cat(node, reads)
        if node.op == "last_step":
            return _LastStep(), first
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
            gives = self._out(node, config["out_features"], head, axis=-1)
            if any(layout.branches != gives.branches for layout in reads[1:]) or (head and len(reads) > 1):
                raise SlicingError(f"{node.name}: what is added to a dense layer's result must have its units")
            if not reads_linear.widths[0] and (config["bias"] or node.name not in self._addends):
                raise SlicingError(
                    f"{node.name}: reads nothing at rate {self.rates[0]}, because its inputs are of later rates; "
                    "concatenate them with others before the first dense layer"
                )
            return SlicedLinear(reads_linear, gives, config["bias"], self.connectivity, self.rescale), gives
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
        if config.get("sliced", True):
            gives = Layout.of(widths(self.rates, config["embedding_dim"], 1, node.name), axis=-1)
            gives = gives.since(self.inputs.first.get(node.inputs[0], 0))
        return SlicedEmbedding(config["num_embeddings"], gives, config["padding_idx"]), gives

    def _build_conv(self, node: Node, reads: Layout, head: bool, config: dict) -> tuple[nn.Module, Layout]:
        out, groups = config.pop("out_channels"), config.pop("groups")
        if groups > 1:
            grouped = SlicedGroupedConv2d(reads, out, groups, **config, rates=self.rates, name=node.name)
            return grouped, grouped.gives
        gives = self._out(node, out, head, axis=1)
        return SlicedConv2d(replace(reads, axis=1), gives, **config, connectivity=self.connectivity), gives

    def _build_recurrent(self, node: Node, first: Layout) -> tuple[nn.Module, Layout]:
        if first.sliced and first.axis != -1:
            raise SlicingError(
                f"{node.name}: a recurrent layer reads units that lie last, not a convolution's channels"
            )
        reads = replace(first.resolve(node.config["input_size"], node.name), axis=-1)
        gives = self._out(node, node.config["hidden_size"], False, axis=-1)
        options: dict[str, Any] = {"connectivity": self.connectivity, "rescale": self.rescale}
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

    def _out(self, node: Node, units: int, head: bool, axis: int) -> Layout:
        if head:
            return Layout.fixed(units, len(self.rates), axis)
        return Layout.of(widths(self.rates, units, 1, node.name), axis)

    def _dense_results(self) -> tuple[set[str], set[str]]:
        """Dense layers whose results end inside the pass, and those whose results become a prefix as they are."""

        def read_by(kind: Kind) -> set[str]:
            read = {step.inputs[0] for step in self.steps if step.kind == kind}
            rectified = {node.inputs[0] for node in self.spec.nodes if node.op == "relu" and node.name in read}
            return (read | rectified & self._rectified_in_place) & dense

        dense = {node.name for node in self.spec.nodes if node.op == "linear"}
        return read_by("head") | read_by("mix"), read_by("mix")

    def _behind_heads(self) -> set[str]:
        behind: set[str] = set()
        for step in self.steps:
            if step.kind == "head" or any(name in behind for name in step.inputs):
                behind.add(step.name)
        return behind

    def _steps(self, heads: set[str]) -> Iterable[Step]:
        last_use = {name: i for i, node in enumerate(self.spec.nodes) for name in node.inputs}
        for i, node in enumerate(self.spec.nodes):
            done = tuple(
                name for name in dict.fromkeys(node.inputs) if last_use[name] == i and name != self.spec.output
            )
            meets = len({source in self.inputs.query_side for source in node.inputs}) == 2
            yield Step(node.name, self._kind(node, heads), node.inputs, meets, done)

    def _kind(self, node: Node, heads: set[str]) -> Kind:
        if node.op in ("add", "mul", "cat"):
            return node.op  # type: ignore[return-value]
        if node.op in UNITWISE or node.op in ("flatten", "squeeze", "softmax", "last_step"):
            return "plain"
        if node.op in RECURRENT:
            return "recur"
        if isinstance(self.module_of(node.name), Mixing):
            return "head" if node.name in heads else "mix"
        return "slice"


class _Squeeze(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(self.dim)


class _LastStep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


def _read_by_rectifier_alone(spec: Spec) -> set[str]:
    """Results of weighted layers that nothing but a rectifier reads, so that it may work in place."""
    readers: dict[str, list[str]] = {}
    for node in spec.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node.op)
    owned = {node.name for node in spec.nodes if node.op in ("linear", "conv2d", "group_norm")}
    return {name for name, ops in readers.items() if ops == ["relu"] and name in owned and name != spec.output}


def _flattened(node: Node, layout: Layout, config: Mapping[str, int | None]) -> Layout:
    positions = config.get("positions")
    if positions is None:
        return replace(layout, pending=True, flat=True)
    return replace(layout.times(positions, node.name), flat=True)


def _aligned(node: Node, reads: Sequence[Layout]) -> Layout:
    first, second = reads
    if first.sliced != second.sliced or (first.sliced and first.branches != second.branches):
        raise SlicingError(
            f"{node.name}: can't {node.op} activations whose units are not aligned: {_described(first)} and "
            f"{_described(second)}"
        )
    return first if not first.pending else second


def _described(layout: Layout) -> str:
    if not layout.sliced:
        return "one of the same width at every rate"
    return f"units {' + '.join(str(list(branch)) for branch in layout.branches)}"


def _running_totals(module: nn.Module, x: Tensor, last: int) -> list[Tensor]:
    """An additive head's scores at every rate, from its whole input."""
    assert isinstance(module, Mixing)
    totals: list[Tensor] = []
    for k in range(last + 1):
        first, stop = module.column_span(k - 1, k)
        if totals and first == stop:
            totals.append(totals[-1])
            continue
        share = module((x.narrow(module.reads.axis, first, stop - first),), k - 1, k)
        totals.append(totals[-1] + share if totals else share)
    return [module.finish_head(total, k) for k, total in enumerate(totals)]


def _attach(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a dotted path, making plain containers on the way, so that parameters keep torch's names."""
    *parents, leaf = path.split(".")
    for parent in parents:
        if not hasattr(root, parent):
            root.add_module(parent, nn.Module())
        root = getattr(root, parent)
    if hasattr(root, leaf):
        raise SlicingError(f"the name {path!r} is taken twice in the graph")
    root.add_module(leaf, module)

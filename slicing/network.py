"""The sliced network: one set of weights, a scorer at every rate, one code path for one-shot and incremental passes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from slicing.all_rates import scores_of_all
from slicing.connectivity import Connectivity, Firsts, firsts_of, joined
from slicing.conv import SlicedConv2d, SlicedGroupedConv2d
from slicing.errors import SlicingError
from slicing.graph import behind_heads, last_readings, read_by_rectifier_alone, readers_of
from slicing.inputs import Inputs, Queries
from slicing.layers import SlicedConcat, SlicedEmbedding, SlicedGroupNorm
from slicing.layout import Layout, concatenated, span
from slicing.linear import SlicedLinear
from slicing.mixing import Mixing
from slicing.packed import PackedLayer
from slicing.rates import check_rates, rate_index, widths
from slicing.recurrent import Carried, SlicedGRU, SlicedLSTM, SlicedRecurrent, SlicedRNN
from slicing.reuse import Reuse, begin, kept
from slicing.spec import RECURRENT, UNITWISE, Node, Spec, heads_of, mixes, unitwise_module

Kind = Literal["mix", "head", "recur", "slice", "plain", "cat", "add", "mul"]
SAME_TENSOR = ("identity", "dropout", "dropout2d", "flatten")  # operations that may hand on the tensor they read


class Prefixes(Protocol):
    """What an incremental pass remembers between two rates; see :mod:`slicing.cache`."""

    @property
    def reuse(self) -> Reuse:
        """What a step takes over of the steps before."""

    def extend(self, edge: str, new: Tensor, axis: int, start: int, keep: bool) -> Sequence[Tensor]:
        """Append new units to an activation's prefix (at ``start=-1`` begin it) and return it, in parts side by side.

        ``keep``: a later step takes it over.
        """

    def recall(self, edge: str, keep: bool) -> Tensor:
        """An activation as an earlier step left it, in one part."""

    def room(self, x: Tensor, units: int, keep: bool) -> Tensor | None:
        """Where a dense layer that reads x puts its new units; ``keep`` when they become a prefix; None: anywhere."""

    def accumulate(self, head: str, share: Tensor | None, start: int) -> Tensor:
        """Add a share to an additive head's sum (at ``start=-1`` begin it) and return the sum."""

    def weights(self, name: str, layer: Mixing, start: int, to: int) -> PackedLayer:
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
        firsts: its segments: its own and those of all that it depends on.
        trunk: computed once for all rates.
        cached: an incremental pass keeps its result, because what reads it reads more than its new units.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    meets: bool
    done_with: tuple[str, ...]
    firsts: Firsts
    trunk: bool
    cached: bool


class SlicedNetwork(nn.Module):
    """A network of which any of ``rates`` can be run (section 3.1).

    Call it as ``network(x, rate=0.5)``; without a rate it is the whole network. The rate belongs to the call: nothing
    is remembered, so calls from several threads do not disturb each other. Make one with :func:`slicing.convert`.

    Attributes:
        spec: the architecture.
        rates: the valid slice rates, rising, the last one 1.0.
        inputs: what is known of its inputs: see :class:`slicing.inputs.Inputs`.
        connectivity: what a unit reads, see :class:`slicing.Connectivity`.
        rescale: whether dense layers rescale where their fan-in changes with the rate (section 3.5.1).
    """

    def __init__(
        self,
        spec: Spec,
        rates: Iterable[float],
        connectivity: str = "nested",
        rescale: bool | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(rescale, bool | None):
            raise SlicingError(f"rescale must be True, False or None, got {rescale!r}")
        spec.check()
        self.spec = spec
        self.rates = check_rates(rates)
        self.connectivity = Connectivity(connectivity)
        self.rescale = self.connectivity.recomputes if rescale is None else rescale
        self.layers = nn.Module()
        self.inputs = Inputs(spec, self.rates)
        self.layouts = self.inputs.layouts()
        heads = heads_of(spec)
        self.connectivity.check_layers(
            [node.name for node in spec.nodes if _may_differ(node) and node.name not in heads]
        )
        self._addends = {node.inputs[1] for node in spec.nodes if node.op == "linear" and len(node.inputs) == 2}
        self._rectified_in_place = read_by_rectifier_alone(spec) - heads  # a head's sum is kept
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
        self.steps = self._steps(heads)
        self._owned, self._prefixes = self._dense_results()
        self._passes: dict[tuple[Reuse, int, int], Sequence[tuple[Step, int, bool]]] = {}

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

    def forward_all(
        self, *inputs: Tensor, positions: Sequence[int] | None = None, carried: Carried | None = None
    ) -> Tensor:
        """Several rates' scores in as few passes as the connectivity allows.

        One pass gives all rates of a segment: one in all when nested, a pass per rate when dense. Layers with longer
        segments than those behind them, such as a trunk, run once for all that read them. Where a segment has several
        rates the weights are masked, because this is meant for training, where one large product per layer beats
        several small ones; inference never does that.

        Args:
            inputs: (N, ...) each.
            positions: which rates, by their rising positions in ``rates``; None: all K.
            carried: recurrent states, as in :meth:`forward`; those at the end are the widest rate's.

        Returns:
            (rates asked for, N, C), in their order.
        """
        wanted = range(len(self.rates)) if positions is None else positions
        return scores_of_all(self, self._entering(inputs, -1, wanted[-1]), wanted, carried)

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

        An operation whose segment begins between the two is run anew, and then all its units are new.

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
        reuse: Reuse = "never" if prefixes is None else prefixes.reuse
        values = self._entering(inputs, start, to, queries)
        # Prefixes, where the values are but their new units; of inputs in tiers the units that are in already.
        whole: dict[str, Sequence[Tensor]] = {}
        if start >= 0 and self.inputs.tiered:
            whole = {name: (x,) for name, x in self._entering(inputs, -1, to, queries).items()}
        for step, at, later in self._moves(reuse, start, to):
            if step.trunk and at >= 0:  # computed before
                if step.cached:
                    assert prefixes is not None
                    values[step.name] = prefixes.recall(step.name, later)
                continue
            xs = [values[name] for name in step.inputs]
            read = whole.get(step.inputs[0])
            if at < 0 <= start or step.kind == "recur":
                xs = [self._whole(name, x, whole) for name, x in zip(step.inputs, xs, strict=True)]
            handed_out = queries if step.meets else None
            if step.kind in ("mix", "head"):
                y = self._mix(step, xs, read, at, to, prefixes, handed_out, later)
            elif step.kind == "recur":
                known = prefixes.recall(step.name, True) if prefixes is not None and at >= 0 else None
                y = self.recur(step, xs[0], at, to, known, carried)
            else:
                if handed_out is not None:
                    side = self.inputs.query_side
                    xs = [x[handed_out.index] if n in side else x for n, x in zip(step.inputs, xs, strict=True)]
                y = self.run(step, xs, at, to)
            if record is not None:
                record(step.name, y)
            values[step.name] = y
            if prefixes is not None and step.cached:
                whole[step.name] = prefixes.extend(step.name, y, self.layouts[step.name].axis, at, later)
            for name in step.done_with:
                del values[name]
                whole.pop(name, None)
        return values[self.spec.output]

    def run(self, step: Step, xs: list[Tensor], start: int, to: int) -> Tensor:
        """One operation that does not mix units, on its inputs' new units."""
        if step.kind == "add":
            return xs[0] + xs[1]
        if step.kind == "mul":
            return xs[0] * xs[1]
        module = self.module_of(step.name)
        if step.kind == "plain":
            return module(xs[0])
        return module(xs if step.kind == "cat" else xs[0], start, to)

    def recur(
        self,
        step: Step,
        x: Tensor,
        start: int,
        to: int,
        known: Tensor | None,
        carried: Carried | None,
        at_once: bool = False,
    ) -> Tensor:
        """A recurrent layer's new units, from its whole input, the units ``known`` and the states before."""
        layer = self.module_of(step.name)
        assert isinstance(layer, SlicedRecurrent)
        state = None if carried is None else carried.begin.get(step.name)
        y, end = layer.at_once(x, to, state) if at_once else layer(x, start, to, known, state)
        assert isinstance(y, Tensor)
        if carried is not None:
            carried.end[step.name] = end
        return y

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

    def _moves(self, reuse: Reuse, start: int, to: int) -> Sequence[tuple[Step, int, bool]]:
        """The steps of a pass, where each begins, and whether a later pass takes its result over; worked out once."""
        key = (reuse, start, to)
        if key not in self._passes:
            self._passes[key] = tuple(
                (step, begin(reuse, step.firsts, start, to), kept(reuse, step.firsts, to)) for step in self.steps
            )
        return self._passes[key]

    def _mix(
        self,
        step: Step,
        xs: Sequence[Tensor],
        whole: Sequence[Tensor] | None,
        start: int,
        to: int,
        prefixes: Prefixes | None,
        queries: Queries | None,
        later: bool,
    ) -> Tensor:
        """One layer that mixes units; ``whole`` is its input's prefix, where x is but its new units."""
        layer = self._module_of[step.name]
        assert isinstance(layer, Mixing)
        parts = (xs[0],) if whole is None or step.kind == "head" else whole
        if step.kind == "head":
            grows = start < 0 or layer.reads.sliced
            if prefixes is None:
                return layer.finish_head(layer(xs[0], start, to), to)
            share = prefixes.weights(step.name, layer, start, to)(parts) if grows else None
            return layer.finish_head(prefixes.accumulate(step.name, share, start), to)
        if prefixes is None:
            (x,) = parts
            y = layer(x, start, to)
            return y if len(xs) == 1 else y + _handed_out(xs[1], queries)
        packed, out = prefixes.weights(step.name, layer, start, to), None
        if step.name in self._owned:
            first, stop = span(layer.gives, start, to)
            out = prefixes.room(xs[0], stop - first, later and step.name in self._prefixes)
        if len(xs) == 1:
            return packed(parts, out)
        if queries is None or out is None:
            return packed(parts, out) + _handed_out(xs[1], queries)
        addend = xs[1] if layer.bias is None else xs[1] + layer.bias[first:stop]
        return packed(parts, out, torch.index_select(addend, 0, queries.index, out=out))

    def _whole(self, name: str, new: Tensor, whole: Mapping[str, Sequence[Tensor]]) -> Tensor:
        """All units of an activation, of which this pass may have computed new ones alone."""
        parts = whole.get(name, (new,))
        return parts[0] if len(parts) == 1 else torch.cat(list(parts), self.layouts[name].axis)

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
            gives = self._out(node, config["out_features"], head, first, axis=-1)
            if any(layout.branches != gives.branches for layout in reads[1:]) or (head and len(reads) > 1):
                raise SlicingError(f"{node.name}: what is added to a dense layer's result must have its units")
            if not reads_linear.widths[0] and (config["bias"] or node.name not in self._addends):
                raise SlicingError(
                    f"{node.name}: reads nothing at rate {self.rates[0]}, because its inputs are of later rates; "
                    "concatenate them with others before the first dense layer"
                )
            return SlicedLinear(reads_linear, gives, config["bias"], self._own(node), self.rescale, head), gives
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
        return SlicedConv2d(replace(reads, axis=1), gives, **config, firsts=self._own(node), head=head), gives

    def _build_recurrent(self, node: Node, first: Layout) -> tuple[nn.Module, Layout]:
        if first.sliced and first.axis != -1:
            raise SlicingError(
                f"{node.name}: a recurrent layer reads units that lie last, not a convolution's channels"
            )
        reads = replace(first.resolve(node.config["input_size"], node.name), axis=-1)
        gives = self._out(node, node.config["hidden_size"], False, reads, axis=-1)
        options: dict[str, Any] = {"firsts": self._own(node), "rescale": self.rescale}
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

    def _own(self, node: Node) -> Firsts:
        """The segments of a layer that mixes units by its own rule, whatever it reads."""
        return firsts_of(self.connectivity.rule_of(node.name), self.rates)

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

    def _steps(self, heads: set[str]) -> tuple[Step, ...]:
        kinds = {node.name: self._kind(node, heads) for node in self.spec.nodes}
        firsts = self._firsts(heads, kinds)
        trunk = self._trunk(heads, kinds)
        readers = readers_of(self.spec)

        def cached(name: str) -> bool:
            if kinds[name] == "recur" and name not in trunk:  # its wider units read its narrower ones, one step late
                return True
            if name not in readers:
                return False
            if name in trunk:
                return any(reader.name not in trunk for reader in readers[name])
            return self.layouts[name].sliced and any(
                (kinds[reader.name] in ("mix", "recur") and reader.inputs[0] == name)
                or firsts[reader.name] != firsts[name]
                for reader in readers[name]
            )

        side = self.inputs.query_side
        return tuple(
            Step(
                name=node.name,
                kind=kinds[node.name],
                inputs=node.inputs,
                meets=len({source in side for source in node.inputs}) == 2,
                done_with=done,
                firsts=firsts[node.name],
                trunk=node.name in trunk,
                cached=cached(node.name),
            )
            for node, done in zip(self.spec.nodes, last_readings(self.spec), strict=True)
        )

    def _firsts(self, heads: set[str], kinds: Mapping[str, Kind]) -> dict[str, Firsts]:
        """Each operation's segments: its own, cut wherever those of something it reads are."""
        nested = firsts_of("nested", self.rates)
        firsts = dict.fromkeys(self.spec.inputs, nested)
        behind = behind_heads(self.spec, heads)
        for node in self.spec.nodes:
            if node.name in behind:  # other scores at every rate
                firsts[node.name] = firsts_of("dense", self.rates)
                continue
            own = self._own(node) if kinds[node.name] in ("mix", "recur") else nested
            firsts[node.name] = joined([own, *(firsts[name] for name in node.inputs)])
        return firsts

    def _trunk(self, heads: set[str], kinds: Mapping[str, Kind]) -> set[str]:
        """What is computed once for all rates: unsliced layers, and unsliced operations on their results.

        What is done to a raw input before any layer, and looking ids up, costs nothing worth keeping.
        """
        trunk: set[str] = set()
        scores = heads | behind_heads(self.spec, heads)
        for node in self.spec.nodes:
            layer = kinds[node.name] in ("mix", "recur", "slice") and node.op != "embedding"
            if node.name not in scores and not self.layouts[node.name].sliced and (layer or trunk & set(node.inputs)):
                trunk.add(node.name)
        return trunk

    def _dense_results(self) -> tuple[set[str], set[str]]:
        """Dense layers whose results end inside the pass, and those whose results become a prefix as they are."""
        rectified = {node.inputs[0]: node.name for node in self.spec.nodes if node.op == "relu"}
        readers = readers_of(self.spec)
        steps = {step.name: step for step in self.steps}
        owned, prefixes = set(), set()
        for node in self.spec.nodes:
            if node.op != "linear" or steps[node.name].trunk:
                continue
            name = rectified[node.name] if node.name in self._rectified_in_place else node.name
            read_by = readers.get(name, [])
            if any(reader.op in SAME_TENSOR for reader in read_by):  # kept under another name, maybe for longer
                continue
            if any(steps[reader.name].kind in ("mix", "head") for reader in read_by):
                owned.add(node.name)
                if steps[name].cached:
                    prefixes.add(node.name)
        return owned, prefixes

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


def _handed_out(x: Tensor, queries: Queries | None) -> Tensor:
    """A row per candidate, of what has a row per query."""
    return x if queries is None else x[queries.index]


class _Squeeze(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return x.squeeze(self.dim)


class _LastStep(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1]


def _may_differ(node: Node) -> bool:
    """Whether a rule for this operation would mean anything."""
    return mixes(node) or node.op == "embedding" or node.op in RECURRENT


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

"""The sliced network: one set of weights, a scorer at every rate, one code path for one-shot and incremental passes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from slicing.all_rates import scores_of_all
from slicing.build import Builder, ruled_layers
from slicing.connectivity import Connectivity
from slicing.errors import SlicingError
from slicing.inputs import Inputs, Queries
from slicing.layout import span
from slicing.mixing import Mixing
from slicing.packed import PackedLayer
from slicing.rates import check_rates, rate_index
from slicing.recurrent import Carried, SlicedRecurrent
from slicing.reuse import Reuse, begin, kept
from slicing.spec import Spec
from slicing.steps import Step, StepBuilder


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
        self.connectivity = Connectivity(connectivity).spelled_out(ruled_layers(spec))
        self.rescale = self.connectivity.recomputes if rescale is None else rescale
        self.layers = nn.Module()
        self.inputs = Inputs(spec, self.rates)
        builder = Builder(spec, self.rates, self.connectivity, self.rescale, self.inputs)
        self._module_of = builder.modules()  # a submodule's path takes longer to follow than a small layer
        for name, module in self._module_of.items():
            _attach(self.layers, name, module)
        self.layouts = builder.layouts
        if self.layouts[spec.output].sliced:
            raise SlicingError(
                f"the network's output {spec.output!r} would grow with the rate: it must end in a dense layer or a "
                "convolution (the head), whose outputs are the scores"
            )
        self.steps = StepBuilder(spec, self.rates, self.inputs, self.layouts, self._module_of, builder.own).steps()
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
        self,
        *inputs: Tensor,
        positions: Sequence[int] | None = None,
        carried: Carried | None = None,
        queries: Queries | None = None,
    ) -> Tensor:
        """Several rates' scores in as few passes as the connectivity allows.

        One pass gives all rates of a segment: one in all when nested, a pass per rate when dense. Layers with longer
        segments than those behind them, such as a trunk, run once for all that read them. Where a segment has several
        rates the weights are masked, because this is meant for training, where one large product per layer beats
        several small ones.

        Args:
            inputs: (N, ...) each; query inputs (Q, ...) where there are ``queries``.
            positions: which rates, by their rising positions in ``rates``; None: all K.
            carried: recurrent states, as in :meth:`forward`; those at the end are the widest rate's.
            queries: of the candidates: what depends on the query inputs alone then runs once per query.

        Returns:
            (rates asked for, N, C), in their order.
        """
        wanted = range(len(self.rates)) if positions is None else positions
        return scores_of_all(self, self._entering(inputs, -1, wanted[-1], queries), wanted, carried, queries)

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

    def reset_parameters(self, head: float = 1.0) -> None:
        """Initialise every layer anew, each block of a nested layer by its own fan-in.

        Args:
            head: factor, in [0, 1], on a head's weights; 0 starts all scores equal.

        Raises:
            SlicingError: when it lies outside [0, 1].
        """
        for _, module in self.layer_modules():
            if isinstance(module, Mixing):
                module.reset_parameters(head)
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
        if step.ends_inside:
            first, stop = span(layer.gives, start, to)
            out = prefixes.room(xs[0], stop - first, later and step.becomes_prefix)
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


def _handed_out(x: Tensor, queries: Queries | None) -> Tensor:
    """A row per candidate, of what has a row per query."""
    return x if queries is None else x[queries.index]


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

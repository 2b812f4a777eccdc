"""The order in which a network runs: for each operation what it reads, which segments it has, what is kept of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from slicing.connectivity import Firsts, firsts_of, joined
from slicing.graph import behind_heads, last_readings, read_by_rectifier_alone, readers_of
from slicing.inputs import Inputs
from slicing.layout import Layout
from slicing.mixing import Mixing
from slicing.spec import RECURRENT, UNITWISE, Node, Spec, heads_of

Kind = Literal["mix", "head", "recur", "slice", "plain", "cat", "add", "mul"]
SAME_TENSOR = ("identity", "dropout", "dropout2d", "flatten")  # operations that may hand on the tensor they read


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
        ends_inside: a dense layer's result that nothing outside the pass holds, but for the cache.
        becomes_prefix: such a result that the cache keeps as it lies there.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    meets: bool
    done_with: tuple[str, ...]
    firsts: Firsts
    trunk: bool
    cached: bool
    ends_inside: bool
    becomes_prefix: bool


class StepBuilder:
    """Works out the steps of one network.

    Args:
        spec: the architecture.
        rates: the valid slice rates.
        inputs: of the network.
        layouts: of every activation.
        modules: every layer by its node's name.
        own: the segments of a layer that mixes units by its own rule, whatever it reads.
    """

    def __init__(
        self,
        spec: Spec,
        rates: Sequence[float],
        inputs: Inputs,
        layouts: Mapping[str, Layout],
        modules: Mapping[str, nn.Module],
        own: Callable[[Node], Firsts],
    ) -> None:
        self.spec = spec
        self._rates, self._layouts, self._modules, self._own = rates, layouts, modules, own
        self._query_side = inputs.query_side
        self._heads, self._readers = heads_of(spec), readers_of(spec)
        self._kinds = {node.name: self._kind(node) for node in spec.nodes}

    def steps(self) -> tuple[Step, ...]:
        """In the graph's order."""
        firsts, trunk = self._firsts(), self._trunk()
        cached = {node.name for node in self.spec.nodes if self._cached(node.name, firsts, trunk)}
        inside, prefixes = self._dense_results(cached, trunk)
        side = self._query_side
        return tuple(
            Step(
                name=node.name,
                kind=self._kinds[node.name],
                inputs=node.inputs,
                meets=len({source in side for source in node.inputs}) == 2,
                done_with=done,
                firsts=firsts[node.name],
                trunk=node.name in trunk,
                cached=node.name in cached,
                ends_inside=node.name in inside,
                becomes_prefix=node.name in prefixes,
            )
            for node, done in zip(self.spec.nodes, last_readings(self.spec), strict=True)
        )

    def _cached(self, name: str, firsts: Mapping[str, Firsts], trunk: set[str]) -> bool:
        if self._kinds[name] == "recur" and name not in trunk:  # its wider units read its narrower ones, one step late
            return True
        readers = self._readers.get(name, [])
        if name in trunk:
            return any(reader.name not in trunk for reader in readers)
        return self._layouts[name].sliced and any(
            (self._kinds[reader.name] in ("mix", "recur") and reader.inputs[0] == name)
            or firsts[reader.name] != firsts[name]
            for reader in readers
        )

    def _firsts(self) -> dict[str, Firsts]:
        """Each operation's segments: its own, cut wherever those of something it reads are."""
        nested = firsts_of("nested", self._rates)
        firsts = dict.fromkeys(self.spec.inputs, nested)
        behind = behind_heads(self.spec, self._heads)
        for node in self.spec.nodes:
            if node.name in behind:  # other scores at every rate
                firsts[node.name] = firsts_of("dense", self._rates)
                continue
            own = self._own(node) if self._kinds[node.name] in ("mix", "recur") else nested
            firsts[node.name] = joined([own, *(firsts[name] for name in node.inputs)])
        return firsts

    def _trunk(self) -> set[str]:
        """What is computed once for all rates: unsliced layers, and unsliced operations on their results.

        What is done to a raw input before any layer, and looking ids up, costs nothing worth keeping.
        """
        trunk: set[str] = set()
        scores = self._heads | behind_heads(self.spec, self._heads)
        for node in self.spec.nodes:
            layer = self._kinds[node.name] in ("mix", "recur", "slice") and node.op != "embedding"
            if node.name not in scores and not self._layouts[node.name].sliced and (layer or trunk & set(node.inputs)):
                trunk.add(node.name)
        return trunk

    def _dense_results(self, cached: set[str], trunk: set[str]) -> tuple[set[str], set[str]]:
        """Dense layers whose results end inside the pass, and those whose results become a prefix as they are."""
        in_place = read_by_rectifier_alone(self.spec) - self._heads
        inside, prefixes = set(), set()
        for node in self.spec.nodes:
            if node.op != "linear" or node.name in trunk:
                continue
            # A rectifier that works in place hands on the layer's own memory.
            name = self._readers[node.name][0].name if node.name in in_place else node.name
            read_by = self._readers.get(name, [])
            if any(reader.op in SAME_TENSOR for reader in read_by):  # kept under another name, maybe for longer
                continue
            if any(self._kinds[reader.name] in ("mix", "head") for reader in read_by):
                inside.add(node.name)
                if name in cached:
                    prefixes.add(node.name)
        return inside, prefixes

    def _kind(self, node: Node) -> Kind:
        if node.op in ("add", "mul", "cat"):
            return node.op  # type: ignore[return-value]
        if node.op in UNITWISE or node.op in ("flatten", "squeeze", "softmax", "last_step"):
            return "plain"
        if node.op in RECURRENT:
            return "recur"
        if isinstance(self._modules[node.name], Mixing):
            return "head" if node.name in self._heads else "mix"
        return "slice"

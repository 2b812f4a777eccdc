"""What is known of a network's inputs: from which rate on each is read, and which are constant within a query.

An input of a later *tier* has no units below its first rate, as a wider layer's units have none below theirs: it enters
in block order, and a narrower rate neither reads nor needs it. A *query input* is the same for every candidate of a
query, so whatever depends on query inputs alone can be computed once per query: its values have a row per query until
they meet a candidate's own, and are handed out to the candidates there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from slicing.errors import SlicingError
from slicing.layout import Layout
from slicing.rates import rate_index
from slicing.spec import Node, Spec, heads_of


@dataclass(frozen=True)
class Queries:
    """The queries of the candidates of one pass.

    Attributes:
        index: int64 (N,), each candidate's row among the query inputs' rows.
        numbers: int64 (Q,): what the caller calls the query of each of these rows; several rows may be of one query.
    """

    index: Tensor
    numbers: Tensor

    @classmethod
    def of(cls, numbers: Tensor) -> "Queries":
        """From each candidate's query, int64 (N,) numbers of at least 0."""
        count = int(numbers.max()) + 1 if numbers.numel() else 0
        present = torch.zeros(count, dtype=torch.bool, device=numbers.device)
        present[numbers] = True
        place = present.cumsum(0) - 1
        return cls(place[numbers], present.nonzero()[:, 0])

    def to(self, device: torch.device) -> "Queries":
        """The same, held there."""
        return Queries(self.index.to(device), self.numbers.to(device))

    def __len__(self) -> int:
        return self.numbers.shape[0]


class Inputs:
    """The inputs of a network of these rates.

    Attributes:
        names: in the order of the call.
        first: position of the first rate that reads each.
        tiered: whether some rate does not read all of them.
        query_side: the query inputs, and every operation that depends on them alone.

    Raises:
        SlicingError: for a rate the network does not have, when the first rate reads nothing, or when the scores would
            depend on the query alone.
    """

    def __init__(self, spec: Spec, rates: Sequence[float]) -> None:
        self.names, self._spec, self._rates = spec.inputs, spec, rates
        given = spec.input_rates or (None,) * len(spec.inputs)
        self.first = {
            name: 0 if rate is None else rate_index(rates, rate) for name, rate in zip(spec.inputs, given, strict=True)
        }
        self.tiered = any(self.first.values())
        if min(self.first.values(), default=0):
            raise SlicingError(f"no input is read at the first rate {rates[0]}; leave one without a rate of its own")
        self.query_side = _depending_on(spec, spec.query_inputs)
        if spec.output in self.query_side:
            raise SlicingError(
                f"the scores depend on the query inputs {list(spec.query_inputs)} alone, so they are the same for all "
                "candidates; leave out of query_inputs what differs between candidates"
            )
        self._looked_up = frozenset(node.inputs[0] for node in spec.nodes if node.op == "embedding")

    def layouts(self) -> dict[str, Layout]:
        """The layout of each.

        Raises:
            SlicingError: when one with a rate of its own is neither looked up nor (N, features) of known size.
        """
        # One unit of unknown size: the layer that reads an input tells how many features it has.
        count = len(self._rates)
        unit = Layout.fixed(1, count)
        found = {}
        for name, size in zip(self.names, self._spec.input_features or (None,) * len(self.names), strict=True):
            found[name] = replace(unit, pending=True) if size is None else unit.times(size, name)
            if self.first[name] and name not in self._looked_up:
                if size is None:
                    raise SlicingError(
                        f"input {name!r} is read from rate {self._rates[self.first[name]]} on, so its size must be "
                        "known; pass input_shape"
                    )
                found[name] = Layout.of((size,) * count, axis=-1).since(self.first[name])
        return found

    def check(self, given: Sequence[Tensor | None]) -> None:
        """Refuse another number of inputs, and what is no tensor."""
        if len(given) != len(self.names):
            raise SlicingError(f"the network takes {len(self.names)} inputs {list(self.names)}, got {len(given)}")
        for name, x in zip(self.names, given, strict=True):
            if isinstance(x, PackedSequence):
                raise SlicingError(
                    f"a network takes sequences padded to one length, (N, T, ...), got a PackedSequence as {name!r}; "
                    "pad it with pad_packed_sequence(x, batch_first=True) and leave out the scores behind each end, "
                    "or give it to a recurrent layer, which takes it as it is"
                )
            if x is not None and not isinstance(x, Tensor):
                raise SlicingError(f"input {name!r} must be a tensor, got a {type(x).__name__}; convert it")

    def entering(
        self, given: Sequence[Tensor | None], start: int, to: int, queries: Queries | None, like: Callable[[], Tensor]
    ) -> dict[str, Tensor]:
        """What of each flows into a pass: new units alone, so none of a tier that is in already, or not yet.

        Args:
            given: (N, ...) each, query inputs (Q, ...) where there are ``queries``; None for one that is not read.
            start, to: positions of the rates.
            queries: of the candidates.
            like: gives a tensor of the type that features without units shall have; called where there are some.

        Raises:
            SlicingError: when their number is wrong, one is no tensor, or one that is read is missing.
        """
        self.check(given)
        values = {}
        for name, x in zip(self.names, given, strict=True):
            first = self.first[name]
            if x is None and first <= to:
                raise SlicingError(
                    f"rate {self._rates[to]} reads the input {name!r}, which was not given; give it before"
                )
            # Of ids that are in already the embedding's new columns are wanted.
            if x is not None and first <= to and (start < first or not first or name in self._looked_up):
                values[name] = x
        for name in self.names:
            if name not in values:
                rows = self._rows(name, values, queries)
                ids = name in self._looked_up
                values[name] = like().new_zeros(rows, dtype=torch.int64) if ids else like().new_empty(rows, 0)
        return values

    def _rows(self, name: str, values: Mapping[str, Tensor], queries: Queries | None) -> int:
        if queries is None:
            return next(values[each].shape[0] for each in self.names if not self.first[each])
        return len(queries) if name in self.query_side else queries.index.shape[0]


def declared(spec: Spec, input_rates: Mapping[str, float], query_inputs: Collection[str]) -> Spec:
    """A graph with what is known of its inputs.

    Where what depends on query inputs alone is added to a dense layer's result, and nothing else reads that result, the
    addition becomes part of the layer: its product then starts from the query's row, as otherwise from the bias.

    Args:
        spec: a graph without such knowledge.
        input_rates: the first rate of inputs that not every rate reads.
        query_inputs: inputs that are constant within a query.

    Raises:
        SlicingError: for a name that is no input's.
    """
    strange = [name for name in (*input_rates, *query_inputs) if name not in spec.inputs]
    if strange:
        raise SlicingError(f"{strange[0]!r} is not one of the network's inputs {list(spec.inputs)}; name one of them")
    rates = tuple(input_rates.get(name) for name in spec.inputs) if input_rates else ()
    known = replace(spec, input_rates=rates, query_inputs=tuple(name for name in spec.inputs if name in query_inputs))
    return _with_addends(known)


def _depending_on(spec: Spec, inputs: Collection[str]) -> frozenset[str]:
    found = set(inputs)
    for node in spec.nodes:
        if all(name in found for name in node.inputs):
            found.add(node.name)
    return frozenset(found)


def _with_addends(spec: Spec) -> Spec:
    side, heads = _depending_on(spec, spec.query_inputs), heads_of(spec)
    readers: dict[str, int] = {}
    for node in spec.nodes:
        for name in node.inputs:
            readers[name] = readers.get(name, 0) + 1
    nodes: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for node in spec.nodes:
        inputs = tuple(renamed.get(name, name) for name in node.inputs)
        nodes[node.name] = replace(node, inputs=inputs)
        if node.op != "add" or [name in side for name in inputs].count(True) != 1:
            continue
        query, own = sorted(inputs, key=lambda name: name not in side)
        layer = nodes.get(own)
        if layer is None or own in heads or readers[own] > 1:
            continue
        if layer.op == "linear" and len(layer.inputs) == 1:
            del nodes[own], nodes[node.name]
            nodes[own] = replace(layer, inputs=(*layer.inputs, query))  # behind both, where the addition was
            renamed[node.name] = own
    return replace(spec, nodes=tuple(nodes.values()))

"""FLOPs, parameters and cache size of a sliced network, per rate and per increment, by arithmetic.

Convention: one multiply-add counts as one, as in the paper's tables; ``torch.utils.flop_counter`` counts two. Counted
are dense layers, convolutions and the products of recurrent layers, as both of them do; normalisation, activations and
pooling are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from slicing.conv import SlicedGroupedConv2d
from slicing.errors import SlicingError
from slicing.mixing import Mixing
from slicing.network import SlicedNetwork
from slicing.rates import rate_index
from slicing.recurrent import SlicedRecurrent
from slicing.reuse import Reuse, begin, kept

Shapes = Sequence[int] | Sequence[Sequence[int]]


@dataclass(frozen=True)
class Cost:
    """What one candidate costs, from its input's shape.

    Layers that depend on query inputs alone run once per query where a session is told the queries. Their part counts
    with a ``share``: queries per candidate, in (0, 1]; 1, the default, is a candidate by itself.

    Attributes:
        sizes: for each operation, how many numbers it computes per candidate at full width.
    """

    network: SlicedNetwork
    sizes: Mapping[str, int]
    _flops: dict[tuple[int, int, Reuse], tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)
    _cached: dict[tuple[int, Reuse], tuple[int, int]] = field(default_factory=dict, compare=False, repr=False)

    def flops(self, to: int, start: int = -1, reuse: Reuse = "auto") -> int:
        """Multiply-adds per candidate between two rates' positions; ``start=-1`` is from scratch.

        ``auto`` takes over all that is exact: where a segment begins, a whole pass but for what outlasts it, such as a
        trunk. ``always`` takes over everything (section 3.4), ``never`` nothing.
        """
        return sum(self._flops_of(start, to, reuse))

    def query_flops(self, to: int, start: int = -1, reuse: Reuse = "auto") -> int:
        """Those of them in layers that depend on the query alone."""
        return self._flops_of(start, to, reuse)[1]

    def flops_shared(self, to: int, start: int, share: float, reuse: Reuse = "auto") -> float:
        """Multiply-adds per candidate when there are ``share`` queries per candidate."""
        own, query = self._flops_of(start, to, reuse)
        return own + query * share if query else own

    def cached_values(self, to: int, share: float = 1, reuse: Reuse = "auto") -> float:
        """Numbers per candidate that an incremental pass keeps of its activations, and choosing survivors copies."""
        if (to, reuse) not in self._cached:
            self._cached[to, reuse] = self._count_cached(to, reuse)
        own, query = self._cached[to, reuse]
        return own + query * share if query else own

    def _flops_of(self, start: int, to: int, reuse: Reuse) -> tuple[int, int]:
        key = (start, to, reuse)
        if key not in self._flops:
            self._flops[key] = self._count(*key)
        return self._flops[key]

    def _count(self, start: int, to: int, reuse: Reuse) -> tuple[int, int]:
        totals = {False: 0, True: 0}
        for step in self.network.steps:
            layer = self.network.module_of(step.name) if step.kind in ("mix", "head", "recur", "slice") else None
            at = begin(reuse, step.firsts, start, to)
            if isinstance(layer, Mixing | SlicedGroupedConv2d | SlicedRecurrent) and not (step.trunk and at >= 0):
                positions = self.sizes[step.name] // layer.gives.widths[-1]
                totals[step.name in self.network.inputs.query_side] += layer.macs(at, to) * positions
        return totals[False], totals[True]

    def _count_cached(self, to: int, reuse: Reuse) -> tuple[int, int]:
        totals = {False: 0, True: 0}
        for step in self.network.steps:
            if step.cached and kept(reuse, step.firsts, to):
                widths = self.network.layouts[step.name].widths
                values = self.sizes[step.name] * widths[to] // widths[-1]
                totals[step.name in self.network.inputs.query_side] += values
        return totals[False], totals[True]

    def held_values(self, to: int, reuse: Reuse = "auto") -> int:
        """Numbers per candidate by itself that an incremental pass holds at a rate, its inputs not counted.

        Besides the activations that a later step takes over, each head's sum.
        """
        sums = sum(self.sizes[step.name] for step in self.network.steps if step.kind == "head")
        return sums + int(self.cached_values(to, reuse=reuse))

    def largest_activation(self) -> int:
        """Numbers per candidate in the largest activation at full width."""
        return max(self.sizes.values())


def cost(network: SlicedNetwork, input_shape: Shapes) -> Cost:
    """Measure a network's operations on tensors without memory.

    Args:
        network: any sliced network.
        input_shape: shape of one candidate without the batch, such as ``(3, 32, 32)``; for several inputs, a sequence
            of shapes.

    Raises:
        SlicingError: when the network can't take inputs of that shape.
    """
    shapes = candidate_shapes(len(network.spec.inputs), input_shape)
    with torch.device("meta"):
        shadow = SlicedNetwork(network.spec, network.rates, network.connectivity, network.rescale)
        looked_up = {node.inputs[0] for node in network.spec.nodes if node.op == "embedding"}
        inputs = [
            torch.zeros(1, *shape, dtype=torch.long if name in looked_up else torch.float32)
            for name, shape in zip(network.spec.inputs, shapes, strict=True)
        ]
    sizes = {name: x.numel() for name, x in zip(network.spec.inputs, inputs, strict=True)}

    def record(name: str, result: Tensor) -> None:
        sizes[name] = result.numel()

    shadow.eval()
    try:
        with torch.no_grad():
            shadow.advance(inputs, -1, len(network.rates) - 1, record=record)
    except (RuntimeError, IndexError, ValueError) as error:
        raise SlicingError(f"the network can't take an input of shape {input_shape}: {error}") from error
    return Cost(network, sizes)


def flops(
    network: SlicedNetwork,
    input_shape: Shapes,
    rate: float | None = None,
    from_rate: float | None = None,
    reuse: Reuse = "auto",
) -> int:
    """Multiply-adds per candidate at a rate, or of the step from a narrower one.

    Args:
        network: any sliced network.
        input_shape: shape of one candidate without the batch.
        rate: the rate to reach; None is the whole network.
        from_rate: the rate reached before; None is from scratch.
        reuse: what the step takes over of that, see :meth:`Cost.flops`.
    """
    start = -1 if from_rate is None else rate_index(network.rates, from_rate)
    to = rate_index(network.rates, rate)
    if start >= to:
        raise SlicingError(f"an increment must lead to a wider rate, got from {from_rate} to {rate}")
    return cost(network, input_shape).flops(to, start, reuse)


def cache_bytes(network: SlicedNetwork, input_shape: Shapes, rate: float | None = None, reuse: Reuse = "auto") -> int:
    """Bytes per candidate that an incremental pass holds at a rate for the steps to come, its inputs not counted."""
    values = cost(network, input_shape).held_values(rate_index(network.rates, rate), reuse)
    return values * next(network.parameters()).element_size()


def parameter_count(network: SlicedNetwork, rate: float | None = None) -> int:
    """Parameters that the r-net uses: there are none above the block diagonal of a nested layer."""
    to = rate_index(network.rates, rate)
    total = 0
    for _, layer in network.layer_modules():
        count = getattr(layer, "parameter_count", None)
        if count is not None:
            total += count(to)
    return total


def candidate_shapes(count: int, input_shape: Shapes) -> list[tuple[int, ...]]:
    """The shape of each of ``count`` inputs, from one shape or a sequence of them.

    Raises:
        SlicingError: when the shapes are not as many as the inputs.
    """
    nested = [tuple(shape) for shape in input_shape if isinstance(shape, Sequence)]
    if count == 1 and not nested:
        return [tuple(int(size) for size in input_shape)]  # type: ignore[arg-type]
    if len(nested) != count:
        raise SlicingError(
            f"the network has {count} inputs, so input_shape must give {count} shapes, got {input_shape}"
        )
    return nested

"""Every rate's scores at once, in as few passes as the segments allow: what joint training runs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from slicing.connectivity import segments
from slicing.inputs import Queries
from slicing.layout import Layout
from slicing.mixing import Mixing
from slicing.recurrent import Carried

if TYPE_CHECKING:
    from slicing.network import SlicedNetwork
    from slicing.steps import Step

Held = dict[int, tuple[Tensor, int]]  # for each rate's position, an activation that holds its units, and of which rate


def scores_of_all(
    network: "SlicedNetwork",
    inputs: Mapping[str, Tensor],
    positions: Sequence[int],
    carried: Carried | None = None,
    queries: Queries | None = None,
) -> Tensor:
    """The scores at several rates.

    Each operation runs once for each of its segments, at the widest rate asked for there: the narrower ones of the
    segment are prefixes of that.

    Args:
        network: any sliced network.
        inputs: (N, ...) each, by name; query inputs (Q, ...) where there are ``queries``.
        positions: of the rates, rising.
        carried: recurrent states.
        queries: of the candidates; what depends on them alone then runs once per query.

    Returns:
        (len(positions), N, C).
    """
    values: dict[str, Held] = {name: dict.fromkeys(positions, (x, positions[-1])) for name, x in inputs.items()}
    for step in network.steps:
        held: Held = {}
        for segment in segments(step.firsts, positions):
            to = segment[-1]
            xs = [_units(*values[name][to], to, network.layouts[name]) for name in step.inputs]
            if queries is not None and step.meets:
                side = network.inputs.query_side
                xs = [x[queries.index] if name in side else x for name, x in zip(step.inputs, xs, strict=True)]
            held.update(_computed(network, step, xs, segment, carried))
        values[step.name] = held
        for name in step.done_with:
            del values[name]
    return torch.stack([values[network.spec.output][k][0] for k in positions])


def _computed(
    network: "SlicedNetwork", step: "Step", xs: list[Tensor], segment: Sequence[int], carried: Carried | None
) -> Held:
    to = segment[-1]
    if step.kind == "head":
        totals = _running_totals(network.module_of(step.name), xs[0], segment)
        return {k: (total, k) for k, total in zip(segment, totals, strict=True)}
    if step.kind == "mix":
        layer = network.module_of(step.name)
        assert isinstance(layer, Mixing)
        y = layer.at_once(xs[0], to)
        for addend in xs[1:]:
            y = y + addend
    elif step.kind == "recur":
        y = network.recur(step, xs[0], -1, to, None, carried, at_once=True)
    else:
        y = network.run(step, xs, -1, to)
    return dict.fromkeys(segment, (y, to))


def _units(x: Tensor, held: int, to: int, layout: Layout) -> Tensor:
    """The units at ``to`` of an activation that holds those of a wider rate."""
    if layout.widths[held] == layout.widths[to]:
        return x
    return x.narrow(layout.axis, 0, x.shape[layout.axis] * layout.widths[to] // layout.widths[held])


def _running_totals(module: nn.Module, x: Tensor, segment: Sequence[int]) -> list[Tensor]:
    """An additive head's scores at the rates of one segment, from its input at the widest of them."""
    assert isinstance(module, Mixing)
    totals: list[Tensor] = []
    before = -1
    for k in segment:
        first, stop = module.column_span(before, k)
        if totals and first == stop:
            totals.append(totals[-1])
        else:
            share = module(x.narrow(module.reads.axis, first, stop - first), before, k)
            totals.append(totals[-1] + share if totals else share)
        before = k
    return [module.finish_head(total, k) for k, total in zip(segment, totals, strict=True)]

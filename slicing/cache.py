"""What an incremental pass remembers of a chunk of candidates: like a decoder's key-value cache, along the width.

Kept are the input prefix of each layer that mixes units, what is computed once for all rates, and each additive head's
running sum, each as long as a later step takes it over. Choosing survivors
copies the prefixes and nothing else.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from slicing.inputs import Queries
from slicing.memory import Memory, Space
from slicing.mixing import Mixing
from slicing.packed import PackedLayer
from slicing.reuse import Reuse

if TYPE_CHECKING:
    from slicing.network import SlicedNetwork

Packing = Callable[[str, Mixing, int, int], PackedLayer]


class Prefix(Protocol):
    """The first units of one activation, for a chunk of candidates, in one or more parts."""

    def extend(self, new: Tensor) -> None:
        """Append new units."""

    def parts(self) -> Sequence[Tensor]:
        """The units so far, side by side."""

    def gathered(self, chosen: Sequence[tuple["Prefix", Tensor]], space: Space) -> "Prefix":
        """The prefix of the survivors of several chunks: of each chunk its prefix and the rows kept."""


class BlockPrefix:
    """A prefix behind a dense layer: the blocks as they were computed, (n, new units) each.

    A widening moves nothing: a matrix product over several parts is a sum of products. Choosing survivors copies
    whole rows of blocks.
    """

    def __init__(self, blocks: list[Tensor]) -> None:
        self.blocks = blocks

    def extend(self, new: Tensor) -> None:
        """Append new units, (n, new units)."""
        self.blocks.append(new)

    def parts(self) -> Sequence[Tensor]:
        """(n, units) of each block."""
        return self.blocks

    def gathered(self, chosen: Sequence[tuple[Prefix, Tensor]], space: Space) -> "BlockPrefix":
        """The survivors' rows, in one block: one product reads it faster than several."""
        if len(chosen) == 1 and len(self.blocks) == 1:
            return BlockPrefix([_gathered([(self.blocks[0], chosen[0][1])], space)])
        sizes = [block.shape[1] for block in self.blocks]
        merged = space.empty(sum([rows.shape[0] for _, rows in chosen]), sum(sizes), self.blocks[0])
        top = 0
        for prefix, rows in chosen:
            count, left = rows.shape[0], 0
            place = merged if len(chosen) == 1 else merged.narrow(0, top, count)
            for block, size in zip(prefix.parts(), sizes, strict=True):
                torch.index_select(block, 0, rows, out=place.narrow(1, left, size))
                left += size
            top += count
        return BlockPrefix([merged])


class PackedPrefix:
    """A prefix of any other shape, in one part with the units last in memory: convolutions want channels packed.

    Each widening copies it into a tensor of the new width, which the convolution reads as it is (channels last).
    """

    def __init__(self, packed: Tensor | None, axis: int) -> None:
        self.packed, self.axis = packed, axis

    def extend(self, new: Tensor) -> None:
        """Append new units along the activation's axis."""
        last = new.movedim(self.axis, -1)
        self.packed = last.contiguous() if self.packed is None else torch.cat([self.packed, last], -1)

    def parts(self) -> Sequence[Tensor]:
        """The activation, a view of what is stored."""
        assert self.packed is not None
        return (self.packed.movedim(-1, self.axis),)

    def gathered(self, chosen: Sequence[tuple[Prefix, Tensor]], space: Space) -> "PackedPrefix":
        """The survivors' activations."""
        packed = [(prefix.parts()[0].movedim(self.axis, -1), rows) for prefix, rows in chosen]
        return PackedPrefix(_gathered(packed, space), self.axis)


class Chunk:
    """A few candidates on their way through the rates; see :class:`slicing.network.Prefixes`.

    Args:
        network: whose prefixes they are.
        count: candidates.
        inputs: (count, ...) each; query inputs with a row per query of the chunk where it is told them; None for one
            that is not there yet.
        queries: of the candidates.
        packed: gives a layer's packed weight blocks.
        reuse: what a step takes over of the steps before.
        memory: of the session.
    """

    def __init__(
        self,
        network: "SlicedNetwork",
        count: int,
        inputs: Sequence[Tensor | None],
        queries: Queries | None,
        packed: Packing,
        reuse: Reuse,
        memory: Memory,
    ) -> None:
        self.network, self.count, self.inputs, self.queries = network, count, list(inputs), queries
        self.packed, self.reuse, self.memory = packed, reuse, memory
        self.prefixes: dict[str, Prefix] = {}
        self.sums: dict[str, Tensor] = {}
        self._kept_until = memory.space.mark()

    def __len__(self) -> int:
        return self.count

    def forget(self) -> None:
        """Drop what the passes before left: the next one starts anew."""
        self.prefixes, self.sums = {}, {}

    def advance(self, start: int, to: int) -> Tensor:
        """Scores at ``to``; what was computed at ``start`` is taken from here, and what is new is kept here."""
        self._kept_until = self.memory.space.mark()
        scores = self.network.advance(self.inputs, start, to, self, queries=self.queries)
        self.memory.space.release(self._kept_until)
        return scores

    def room(self, x: Tensor, units: int, keep: bool) -> Tensor | None:
        """Where a dense layer that reads x puts its new units; ``keep`` when they become a prefix; None: anywhere."""
        if x.dim() != 2 or torch.is_autocast_enabled(x.device.type):
            return None
        space = self.memory.space
        room = space.empty(x.shape[0], units, x)
        if keep:
            self._kept_until = space.mark()
        return room

    def extend(self, edge: str, new: Tensor, axis: int, start: int, keep: bool) -> Sequence[Tensor]:
        """Append new units to an activation's prefix (at ``start=-1`` begin it) and return it, in parts side by side.

        ``keep``: a later step takes it over.
        """
        if start < 0 and not keep:
            self.prefixes.pop(edge, None)
            return (new,)
        if start < 0:
            self.prefixes[edge] = BlockPrefix([]) if new.dim() == 2 else PackedPrefix(None, axis)
        prefix = self.prefixes[edge] if keep else self.prefixes.pop(edge)
        prefix.extend(new)
        return prefix.parts()

    def recall(self, edge: str, keep: bool) -> Tensor:
        """An activation as an earlier step left it, in one part."""
        prefix = self.prefixes[edge] if keep else self.prefixes.pop(edge)
        (whole,) = prefix.parts()
        return whole

    def accumulate(self, head: str, share: Tensor | None, start: int) -> Tensor:
        """Add a share to an additive head's sum (at ``start=-1`` begin it) and return the sum."""
        if share is not None:
            self.sums[head] = share if start < 0 else self.sums[head] + share
        return self.sums[head]

    def weights(self, name: str, layer: Mixing, start: int, to: int) -> PackedLayer:
        """The layer's packed weight blocks."""
        return self.packed(name, layer, start, to)

    @staticmethod
    def gathered(parts: Sequence[tuple["Chunk", Tensor]]) -> "Chunk":
        """A chunk of the survivors of several chunks, in their order, in their memory's current space."""
        first = parts[0][0]
        space, network = first.memory.space, first.network
        own = [rows for _, rows in parts]
        queries, asked = _queries_of(parts)
        new = Chunk(network, sum(map(len, own)), (), queries, first.packed, first.reuse, first.memory)

        def rows_of(name: str) -> Sequence[Tensor]:
            return own if queries is None or name not in network.inputs.query_side else asked

        for i, name in enumerate(network.inputs.names):
            there = [x for x in (chunk.inputs[i] for chunk, _ in parts) if x is not None]
            new.inputs.append(_gathered(list(zip(there, rows_of(name), strict=True)), space) if there else None)
        for edge, prefix in first.prefixes.items():
            prefixes = [chunk.prefixes[edge] for chunk, _ in parts]
            new.prefixes[edge] = prefix.gathered(list(zip(prefixes, rows_of(edge), strict=True)), space)
        for head in first.sums:
            sums = [chunk.sums[head] for chunk, _ in parts]
            new.sums[head] = _gathered(list(zip(sums, rows_of(head), strict=True)), space)
        return new


def _queries_of(parts: Sequence[tuple[Chunk, Tensor]]) -> tuple[Queries | None, list[Tensor]]:
    """The queries of the survivors of several chunks, and which of each chunk's queries have any.

    A query that two chunks share has a row of each: two equal rows are less trouble than one.
    """
    indices, numbers, asked, above = [], [], [], 0
    for chunk, rows in parts:
        if chunk.queries is None:
            return None, []
        left = Queries.of(chunk.queries.index[rows])
        indices.append(left.index + above)
        numbers.append(chunk.queries.numbers[left.numbers])
        asked.append(left.numbers)
        above += len(left)
    return Queries(torch.cat(indices), torch.cat(numbers)), asked


def _gathered(parts: Sequence[tuple[Tensor, Tensor]], space: Space) -> Tensor:
    """Chosen rows of several tensors, one below the other, each copied once."""
    first, rows = parts[0]
    shape = first.shape[1:]
    result = space.empty(sum([rows.shape[0] for _, rows in parts]), prod(shape), first)
    if len(shape) != 1:
        result = result.view(result.shape[0], *shape)
    if len(parts) == 1:
        return torch.index_select(first, 0, rows, out=result)
    at = 0
    for tensor, rows in parts:
        torch.index_select(tensor, 0, rows, out=result.narrow(0, at, rows.shape[0]))
        at += rows.shape[0]
    return result

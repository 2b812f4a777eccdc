"""What an incremental pass remembers of a chunk of candidates: like a decoder's key-value cache, along the width.

Kept are the input prefix of each layer that mixes units, and each additive head's running sum. Units lie last in
memory (N, ..., units), so that a survivor is one contiguous piece and choosing survivors copies the prefix, never the
room behind it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slicing.layers import Mixing
from slicing.layout import Layout

Packed = Callable[[str, Mixing, int, int], Sequence[Tensor]]


class Prefix:
    """The first units of one activation, for a chunk of candidates.

    Behind a dense layer the buffer has room for every unit, because a matrix product reads a strided prefix in place.
    A convolution wants its channels packed, so there each widening copies into a buffer of the new width.
    """

    def __init__(self, buffer: Tensor, used: int) -> None:
        self.buffer, self.used = buffer, used

    @classmethod
    def first(cls, new: Tensor, layout: Layout) -> "Prefix":
        """The prefix that a first pass has computed; ``new`` has its units last."""
        if layout.axis == 1:
            return cls(new, new.shape[-1])
        buffer = new.new_empty(*new.shape[:-1], layout.widths[-1])
        buffer[..., : new.shape[-1]] = new
        return cls(buffer, new.shape[-1])

    def extend(self, new: Tensor) -> None:
        """Append new units (last axis), unless they were written in place."""
        wider = self.used + new.shape[-1]
        if wider <= self.buffer.shape[-1] and new.data_ptr() == self.buffer[..., self.used :].data_ptr():
            self.used = wider
            return
        if wider > self.buffer.shape[-1]:
            self.buffer = torch.cat([self.view(), new], -1)
        else:
            self.buffer[..., self.used : wider] = new
        self.used = wider

    def view(self) -> Tensor:
        """The units in use, (n, ..., units)."""
        return self.buffer[..., : self.used]

    @staticmethod
    def gathered(parts: Sequence[tuple["Prefix", Tensor]]) -> "Prefix":
        """The survivors of several chunks, packed: for each chunk its prefix and the rows kept."""
        first = parts[0][0]
        count = sum(len(rows) for _, rows in parts)
        buffer = first.buffer.new_empty(count, *first.buffer.shape[1:])
        at = 0
        for prefix, rows in parts:
            torch.index_select(prefix.view(), 0, rows, out=buffer[at : at + len(rows), ..., : prefix.used])
            at += len(rows)
        return Prefix(buffer, first.used)


class Chunk:
    """A few candidates on their way through the rates; see :class:`slicing.network.Prefixes`."""

    def __init__(self, inputs: Sequence[Tensor], packed: Packed, last: int) -> None:
        self.inputs = tuple(inputs)
        self.packed, self.last = packed, last
        self.prefixes: dict[str, Prefix] = {}
        self.sums: dict[str, Tensor] = {}
        self._extended: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.inputs[0])

    def begin(self, anew: bool) -> None:
        """Start a pass: nothing is extended yet; one that starts anew needs nothing of the passes before."""
        self._extended = {}
        if anew:
            self.prefixes, self.sums = {}, {}

    def room(self, edge: str, layout: Layout, like: Tensor, start: int, to: int) -> Tensor | None:
        """Where a dense layer may write an activation's new units, (n, new units); None when nobody will read them."""
        if start < 0 and to == self.last:
            return None
        prefix = self.prefixes.get(edge)
        if prefix is None:
            prefix = self.prefixes[edge] = Prefix(like.new_empty(len(like), layout.widths[-1]), 0)
        return prefix.buffer[:, prefix.used : layout.widths[to]]

    def extend(self, edge: str, new: Tensor, layout: Layout, start: int, to: int) -> Tensor:
        """Append new units to an activation's prefix, once a pass, and return the whole prefix."""
        if edge in self._extended:  # two layers read it, a residual block's for instance
            return self._extended[edge]
        if start < 0 and to == self.last:  # nobody widens from here
            return new
        last_axis = _units_last(new) if layout.axis == 1 else new
        prefix = self.prefixes.get(edge)
        if prefix is None:
            prefix = self.prefixes[edge] = Prefix.first(last_axis, layout)
        else:
            prefix.extend(last_axis)
        whole = _units_second(prefix.view()) if layout.axis == 1 else prefix.view()
        self._extended[edge] = whole
        if to == self.last:
            del self.prefixes[edge]
        return whole

    def accumulate(self, head: str, share: Tensor | None) -> Tensor:
        """Add a share to an additive head's sum and return the sum."""
        if share is not None:
            known = self.sums.get(head)
            self.sums[head] = share if known is None else known + share
        return self.sums[head]

    def weights(self, name: str, layer: Mixing, start: int, to: int) -> Sequence[Tensor]:
        """The layer's packed weight blocks."""
        return self.packed(name, layer, start, to)

    @staticmethod
    def gathered(parts: Sequence[tuple["Chunk", Tensor]]) -> "Chunk":
        """A chunk of the survivors of several chunks, in their order."""
        first = parts[0][0]
        inputs = [torch.cat([chunk.inputs[i][rows] for chunk, rows in parts]) for i in range(len(first.inputs))]
        new = Chunk(inputs, first.packed, first.last)
        for edge in first.prefixes:
            new.prefixes[edge] = Prefix.gathered([(chunk.prefixes[edge], rows) for chunk, rows in parts])
        for head in first.sums:
            new.sums[head] = torch.cat([chunk.sums[head][rows] for chunk, rows in parts])
        return new


def _units_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous()


def _units_second(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)

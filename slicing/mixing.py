"""Sliced layers whose units read other units: dense layers and convolutions.

They are called as ``layer(parts, start, to)`` and read the whole input prefix at ``to``; the result holds the new units
alone (see :mod:`slicing.layers`). What a unit reads at a rate follows from the rate's segment (see
:class:`slicing.connectivity.Connectivity`): the segment's first rate is one dense block, and from there on the weight
is block lower triangular, so that inside a segment no result changes when the network is widened.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slicing.connectivity import Firsts
from slicing.errors import SlicingError
from slicing.layout import Layout
from slicing.packed import PackedLayer, Product, check_units


class Block(NamedTuple):
    """One product of a layer: rows ``first`` to ``stop`` of its weight, which read the first ``columns`` inputs.

    ``scale`` makes up for inputs that these units read at full width and not yet here (section 3.5.1).
    """

    first: int
    stop: int
    columns: int
    scale: float


def joined(blocks: Sequence[Block], lanes: int) -> list[list[Block]]:
    """Which neighbouring blocks become one product, with zeros for what the first ones do not read.

    Args:
        blocks: of one layer.
        lanes: rows that a vector unit computes at once, asked for or not. Blocks are joined where, counted in
            whole vectors, the one product takes no more than its parts. 1 joins none.

    Returns:
        The blocks in their order, those of one product together.
    """
    groups: list[list[Block]] = []
    for block in blocks:
        if lanes > 1 and groups and groups[-1][0].scale == block.scale:
            before = groups[-1][0]._replace(stop=groups[-1][-1].stop, columns=groups[-1][-1].columns)
            whole = block._replace(first=before.first)
            if _vectors(whole, lanes) <= _vectors(before, lanes) + _vectors(block, lanes):
                groups[-1].append(block)
                continue
        groups.append([block])
    return groups


def _vectors(block: Block, lanes: int) -> int:
    return -(-(block.stop - block.first) // lanes) * block.columns


class Mixing(nn.Module):
    """What :class:`slicing.linear.SlicedLinear` and :class:`slicing.conv.SlicedConv2d` share.

    Attributes:
        weight: (out, in, ...); entries that no segment uses, those above a nested layer's block diagonal, are zero and
            stay zero.
        bias: (out,) or None.
        firsts: for each rate's position that of the first rate of its segment.
        head: an additive head: every output unit at every rate, as a sum over input blocks.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        kernel: Sequence[int],
        bias: bool,
        firsts: Firsts | None,
        rescale: bool,
        head: bool,
    ) -> None:
        """Args: firsts: None is one segment, nested; a head has no use for it. rescale: see :class:`SlicedLinear`."""
        super().__init__()
        self.reads, self.gives, self.head, self.rescale = reads, gives, head, rescale
        self.firsts = (0,) * len(gives.widths) if firsts is None else firsts
        self._blocks: dict[tuple[int, int], list[Block]] = {}
        out, into = gives.widths[-1], reads.widths[-1]
        self.weight = nn.Parameter(torch.empty(out, into, *kernel))
        self.bias = nn.Parameter(torch.empty(out)) if bias else None
        for first in set(self.firsts):
            self.register_buffer(_mask_name(first), self._mask(first), persistent=False)
        self.reset_parameters()

    @property
    def mask(self) -> Tensor | None:
        """One where a weight is used at full width and zero elsewhere, (out, in, ...); None: all are used."""
        mask: Tensor | None = getattr(self, _mask_name(self.firsts[-1]))
        return mask

    def blocks(self, start: int, to: int) -> list[Block]:
        """The products that lead from ``start`` to ``to``.

        Where a segment begins between them, the old units are left as they are although they would read more now
        (section 3.4); an exact pass begins at ``start=-1`` there.
        """
        if (start, to) not in self._blocks:
            self._blocks[start, to] = self._products(start, to)
        return self._blocks[start, to]

    def _products(self, start: int, to: int) -> list[Block]:
        rows, columns = self.gives.widths, self.reads.widths
        if self.head:
            return [Block(0, rows[to], columns[to], self.scale(to))]
        blocks: list[Block] = []
        done = rows[start] if start >= 0 else 0
        for k in range(self.firsts[to], to + 1):
            if rows[k] <= done:
                continue
            if blocks and blocks[-1].columns == columns[k]:  # same columns (an unsliced input): one product
                blocks[-1] = blocks[-1]._replace(stop=rows[k])
            else:
                blocks.append(Block(done, rows[k], columns[k], self.scale(k)))
            done = rows[k]
        return blocks

    def column_span(self, start: int, to: int) -> tuple[int, int]:
        """The new input columns of an additive head between two rates: none, past the first, of an unsliced input."""
        return (self.reads.widths[start] if start >= 0 else 0), self.reads.widths[to]

    def scale(self, k: int) -> float:
        """Output rescaling of the units that read the inputs of rate k: what they read at full width over that.

        M / round(rM) in a head, and in a dense layer (section 3.5.1); 1.0 where the layer does not rescale, and where
        the units read no more at full width.
        """
        if not self.rescale or not self.reads.widths[k]:
            return 1.0
        widest = len(self.firsts) - 1 if self.head else max(k, self.firsts[-1])
        return self.reads.widths[widest] / self.reads.widths[k]

    def forward(self, x: Tensor, start: int, to: int) -> Tensor:
        """The units between two rates, from the weights as they are, so that gradients flow; see :meth:`pack`.

        Args:
            x: the input prefix at ``to``; for an additive head the new input units alone.
            start: position of the rate reached before, or -1.
            to: position of the rate to reach.

        Returns:
            The new units; for an additive head the new units' share of the sum, without scale and bias.

        Raises:
            SlicingError: when the input prefix does not have the units of that rate.
        """
        if self.head:
            return self.product(x, self._head_block(start, to), None, 1.0)
        check_units(x.shape[self.reads.axis], self.reads.widths[to])
        rows = [
            self.product(x.narrow(self.reads.axis, 0, m), self.weight[a:b, :m], self._bias(a, b), scale)
            for a, b, m, scale in self.blocks(start, to)
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows, self.gives.axis)

    def at_once(self, x: Tensor, to: int) -> Tensor:
        """All units at ``to`` in one product, for training: the masked weight gives the gradient its shape, too.

        Several where they are rescaled differently.
        """
        mask: Tensor | None = getattr(self, _mask_name(self.firsts[to]))
        blocks = self.blocks(-1, to)
        if mask is None or len(blocks) == 1 or any(block.scale != 1.0 for block in blocks):
            return self(x, -1, to)
        out, into = self.gives.widths[to], self.reads.widths[to]
        return self.product(x, self.weight[:out, :into] * mask[:out, :into], self._bias(0, out), 1.0)

    @torch.no_grad()
    def whole_weight(self, to: int) -> Tensor:
        """The r-net's weight, rescaled, zero where a unit does not read: (units at ``to``, inputs at ``to``, ...)."""
        whole = self.weight.new_zeros(self.gives.widths[to], self.reads.widths[to], *self.weight.shape[2:])
        for a, b, m, scale in self.blocks(-1, to):
            whole[a:b, :m] = self.weight[a:b, :m] * scale
        return whole

    @torch.no_grad()
    def pack(self, start: int, to: int, lanes: int = 1) -> PackedLayer:
        """Copies of the weight blocks that lead from ``start`` to ``to``, ready to run; they do not learn.

        Args:
            start: position of the rate reached before, or -1.
            to: position of the rate to reach.
            lanes: blocks are joined as :func:`joined` says; 1 joins none.
        """
        if self.head:
            first, last = self.column_span(start, to)
            products = [self.packed(self._head_block(start, to), None, 1.0)]
            return PackedLayer(products, last - first, self.reads.axis, self.gives.axis)
        products = []
        for blocks in joined(self.blocks(start, to), lanes):
            first, stop, columns = blocks[0].first, blocks[-1].stop, blocks[-1].columns
            weight = self.weight.new_zeros(stop - first, columns, *self.weight.shape[2:])
            for a, b, m, _ in blocks:
                weight[a - first : b - first, :m] = self.weight[a:b, :m]
            products.append(self.packed(weight, self._bias(first, stop), blocks[0].scale))
        return PackedLayer(products, self.reads.widths[to], self.reads.axis, self.gives.axis)

    def finish_head(self, total: Tensor, to: int) -> Tensor:
        """Scores from the sum of an additive head's shares up to ``to``: rescaled, bias added."""
        scale = self.scale(to)
        total = total if scale == 1.0 else total * scale
        if self.bias is None:
            return total
        return total + (self.bias if self.gives.axis == -1 else self.bias[:, None, None])

    def macs(self, start: int, to: int) -> int:
        """Multiply-adds per output position of :meth:`forward`."""
        taps = self.weight[0, 0].numel()
        if self.head:
            first, last = self.column_span(start, to)
            return self.gives.widths[to] * (last - first) * taps
        return sum((b - a) * m for a, b, m, _ in self.blocks(start, to)) * taps

    def parameter_count(self, to: int) -> int:
        """Weights and biases that the r-net uses; a nested layer has none above the block diagonal."""
        taps = self.weight[0, 0].numel()
        weights = sum((b - a) * m for a, b, m, _ in self.blocks(-1, to)) * taps
        return weights + (self.gives.widths[to] if self.bias is not None else 0)

    def masks(self) -> list[tuple[nn.Parameter, Tensor]]:
        """The weight and its mask at full width, zero where the weight is; nothing where it has none."""
        return [] if self.mask is None else [(self.weight, self.mask)]

    @torch.no_grad()
    def reset_parameters(self, head: float = 1.0) -> None:
        """He initialisation for rectifiers, each block by the fan-in its units have at full width.

        Args:
            head: factor, in [0, 1], on a head's weights. At 0 all scores start equal.

        Raises:
            SlicingError: when it lies outside [0, 1].
        """
        if not 0 <= head <= 1:
            raise SlicingError(f"head must lie in [0, 1], got {head}; 1 is the usual size, 0 starts all scores equal")
        taps = self.weight[0, 0].numel()
        self.weight.zero_()
        for a, b, m, _ in self.blocks(-1, len(self.gives.widths) - 1):
            gain = head if self.head else 2.0**0.5
            self.weight[a:b, :m].normal_(0.0, gain / max(1, m * taps) ** 0.5)
        if self.bias is not None:
            self.bias.zero_()

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """``scale * weight x + bias`` for one block."""
        raise NotImplementedError

    def packed(self, weight: Tensor, bias: Tensor | None, scale: float) -> Product:
        """The same, with copies laid out for the product."""
        raise NotImplementedError

    def _bias(self, first: int, stop: int) -> Tensor | None:
        return None if self.bias is None else self.bias[first:stop]

    def _head_block(self, start: int, to: int) -> Tensor:
        first, last = self.column_span(start, to)
        return self.weight[:, first:last]

    def _mask(self, first: int) -> Tensor | None:
        """One where a segment uses a weight, zero elsewhere; None where it uses all."""
        last = max(k for k, begins in enumerate(self.firsts) if begins == first)
        blocks = self.blocks(-1, last)
        if len(blocks) == 1:
            return None
        rows, columns = self.weight.shape[:2]
        mask = torch.zeros(rows, columns)
        for a, b, m, _ in blocks:
            mask[a:b, :m] = 1.0
        return mask.reshape(rows, columns, *(1,) * (self.weight.dim() - 2))


def _mask_name(first: int) -> str:
    return f"mask_{first}"

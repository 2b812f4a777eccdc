"""Sliced layers: each computes only its units between two rates, from the sliced part of its weight.

Every layer is called as ``layer(x, start, to)``: ``start`` is the position (in the network's rates) of the rate whose
units are there already, -1 when nothing is, and ``to`` that of the rate to reach. The result holds the *new* units
alone. A layer that mixes units (dense, convolution) reads the whole input prefix at ``to``; every other layer works
unit by unit and reads new units alone. A one-shot pass is ``start=-1``; nothing else distinguishes it from widening.

Connectivity: a ``dense`` unit reads every active unit (the paper, section 3.1); a ``nested`` unit of block k reads
blocks <= k, so that the weight is block lower triangular and no result ever changes when the network is widened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.layout import Layout
from slicing.rates import check_widths

Connectivity = Literal["nested", "dense"]
Block = tuple[int, int, int]  # rows from, rows to, columns read


@dataclass(frozen=True)
class Packed:
    """One weight block and its part of the bias, ready for a product."""

    weight: Tensor
    bias: Tensor | None


class Mixing(nn.Module):
    """A layer whose units read other units: what :class:`SlicedLinear` and :class:`SlicedConv2d` share.

    Attributes:
        weight: (out, in, ...); entries above the block diagonal of a nested layer are zero and stay zero.
        bias: (out,) or None.
        head: an additive head: every output unit at every rate, as a sum over input blocks.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    mask: Tensor | None

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        kernel: Sequence[int],
        bias: bool,
        connectivity: Connectivity,
        rescale: bool,
    ) -> None:
        super().__init__()
        self.reads, self.gives = reads, gives
        self._blocks: dict[tuple[int, int], list[Block]] = {}
        self.connectivity = connectivity
        self.head = not gives.sliced
        # A nested unit's fan-in does not depend on the rate, so there is nothing to compensate, except in the head.
        self.rescale = rescale and (self.head or connectivity == "dense")
        out, into = gives.widths[-1], reads.widths[-1]
        self.weight = nn.Parameter(torch.empty(out, into, *kernel))
        self.bias = nn.Parameter(torch.empty(out)) if bias else None
        self.register_buffer(
            "mask", self._mask() if connectivity == "nested" and not self.head else None, persistent=False
        )
        self.reset_parameters()

    def blocks(self, start: int, to: int) -> list[Block]:
        """The products that lead from ``start`` to ``to``: (first row, last row + 1, columns read)."""
        if (start, to) not in self._blocks:
            self._blocks[start, to] = self._products(start, to)
        return self._blocks[start, to]

    def _products(self, start: int, to: int) -> list[Block]:
        if self.head:
            return [(0, self.gives.widths[to], self.reads.widths[to])]
        rows, columns = self.gives.widths, self.reads.widths
        if self.connectivity == "dense":
            return [(rows[start] if start >= 0 else 0, rows[to], columns[to])]
        blocks: list[Block] = []
        for k in range(start + 1, to + 1):
            first = rows[k - 1] if k else 0
            if blocks and blocks[-1][2] == columns[k]:  # same columns (an unsliced input): one product
                blocks[-1] = (blocks[-1][0], rows[k], columns[k])
            else:
                blocks.append((first, rows[k], columns[k]))
        return blocks

    def column_span(self, start: int, to: int) -> tuple[int, int]:
        """The new input columns of an additive head between two rates: none, past the first, of an unsliced input."""
        return (self.reads.widths[start] if start >= 0 else 0), self.reads.widths[to]

    def scale(self, to: int) -> float:
        """Output rescaling M / round(rM) (section 3.5.1), 1.0 where the layer does not rescale."""
        return self.reads.widths[-1] / self.reads.widths[to] if self.rescale and self.reads.widths[to] else 1.0

    def forward(
        self,
        parts: Sequence[Tensor],
        start: int,
        to: int,
        blocks: Sequence[Packed] | None = None,
        out: Tensor | None = None,
        added: bool = False,
    ) -> Tensor:
        """The units between two rates.

        Args:
            parts: the input prefix at ``to``, in parts side by side; for an additive head the new input units alone.
            start: position of the rate reached before, or -1.
            to: position of the rate to reach.
            blocks: the weight blocks, packed once by :meth:`pack` (None: sliced here, so that gradients flow).
            out: where a dense layer shall put the new units, (N, new units).
            added: what ``out`` holds takes the place of the bias.

        Returns:
            The new units; for an additive head the new units' share of the sum, without scale and bias.

        Raises:
            SlicingError: when the input prefix does not have the units of that rate.
        """
        if self.head:
            weight = blocks[0].weight if blocks else self._head_block(start, to)
            return self.product(parts, weight, None, 1.0)
        found, wanted = sum([part.shape[self.reads.axis] for part in parts]), self.reads.widths[to]
        if found != wanted:  # reading its first columns would hide it
            raise SlicingError(f"a layer that reads {wanted} units at this rate got {found}; check the input's shape")
        scale = self.scale(to)
        spans = self.blocks(start, to)
        packed = blocks or [Packed(self.weight[a:b, :m], self._bias(a, b)) for a, b, m in spans]
        rows = []
        for (a, b, m), block in zip(spans, packed, strict=True):
            place = out if out is None or len(spans) == 1 else out[:, a - spans[0][0] : b - spans[0][0]]
            bias = place if added else block.bias
            rows.append(self.product(self._first(parts, m), block.weight, bias, scale, place))
        if len(rows) == 1:
            return rows[0]
        return torch.cat(rows, self.gives.axis) if out is None else out

    def every_rate(self, x: Tensor) -> Tensor:
        """All units in one product, for training: the masked weight gives the gradient its shape, too."""
        weight = self.weight if self.mask is None else self.weight * self.mask
        return self.product((x,), weight, self.bias, 1.0)

    @torch.no_grad()
    def pack(self, start: int, to: int) -> list[Packed]:
        """Copies of the weight blocks that lead from ``start`` to ``to``, laid out for the product."""
        if self.head:
            return [Packed(self._packed(self._head_block(start, to)), None)]
        return [
            Packed(self._packed(self.weight[a:b, :m]), _copied(self._bias(a, b))) for a, b, m in self.blocks(start, to)
        ]

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
        return sum((b - a) * m for a, b, m in self.blocks(start, to)) * taps

    def parameter_count(self, to: int) -> int:
        """Weights and biases of the r-net; a nested layer has none above the block diagonal."""
        taps = self.weight[0, 0].numel()
        weights = sum((b - a) * m for a, b, m in self.blocks(-1, to)) * taps
        return weights + (self.gives.widths[to] if self.bias is not None else 0)

    def masks(self) -> list[tuple[nn.Parameter, Tensor]]:
        """The weight and its mask, zero where the weight is; nothing where it has none."""
        return [] if self.mask is None else [(self.weight, self.mask)]

    @torch.no_grad()
    def reset_parameters(self, lateral: float = 1.0) -> None:
        """He initialisation for rectifiers, each block by the fan-in its units really have.

        Args:
            lateral: factor, in [0, 1], on the weights by which a nested block's units read narrower blocks. Below 1
                the blocks start apart, so that a wide one learns features of its own (``docs/nesting.md``).

        Raises:
            SlicingError: when lateral lies outside [0, 1].
        """
        if not 0 <= lateral <= 1:
            raise SlicingError(f"lateral must lie in [0, 1], got {lateral}; 1 starts all weights alike, try 0.1")
        taps = self.weight[0, 0].numel()
        self.weight.zero_()
        narrower = 0
        for a, b, m in self.blocks(-1, len(self.gives.widths) - 1):
            gain = 1.0 if self.head else 2.0
            self.weight[a:b, :m].normal_(0.0, (gain / max(1, m * taps)) ** 0.5)
            self.weight[a:b, :narrower] *= lateral
            narrower = m
        if self.bias is not None:
            self.bias.zero_()

    def product(
        self,
        parts: Sequence[Tensor],
        weight: Tensor,
        bias: Tensor | None,
        scale: float,
        out: Tensor | None = None,
    ) -> Tensor:
        """``scale * weight x + bias`` for one block, x in parts side by side; into ``out`` where given."""
        raise NotImplementedError

    def _first(self, parts: Sequence[Tensor], columns: int) -> list[Tensor]:
        """The first ``columns`` units of the parts."""
        first: list[Tensor] = []
        for part in parts:
            size = part.shape[self.reads.axis]
            if columns >= size:
                first.append(part)
            elif columns > 0:
                first.append(part.narrow(self.reads.axis, 0, columns))
            columns -= size
        return first or [parts[0].narrow(self.reads.axis, 0, 0)]

    def _bias(self, first: int, stop: int) -> Tensor | None:
        return None if self.bias is None else self.bias[first:stop]

    def _packed(self, block: Tensor) -> Tensor:
        return block.contiguous()

    def _head_block(self, start: int, to: int) -> Tensor:
        first, last = self.column_span(start, to)
        return self.weight[:, first:last]

    def _mask(self) -> Tensor | None:
        blocks = self.blocks(-1, len(self.gives.widths) - 1)
        if len(blocks) == 1:
            return None
        rows, columns = self.weight.shape[:2]
        mask = torch.zeros(rows, columns)
        for a, b, m in blocks:
            mask[a:b, :m] = 1.0
        return mask.reshape(rows, columns, *(1,) * (self.weight.dim() - 2))


class SlicedLinear(Mixing):
    """A sliced dense layer, ``y = s W x + b`` (Equations 1 to 3), with s = M/round(rM) where it rescales.

    Rescaling compensates a fan-in that changes with the rate (section 3.5.1). In a nested layer a unit's fan-in never
    changes, so there is nothing to compensate, except in the head.
    """

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        bias: bool = True,
        connectivity: Connectivity = "nested",
        rescale: bool = False,
    ) -> None:
        super().__init__(reads, gives, (), bias, connectivity, rescale)

    def product(
        self,
        parts: Sequence[Tensor],
        weight: Tensor,
        bias: Tensor | None,
        scale: float,
        out: Tensor | None = None,
    ) -> Tensor:
        """``scale * x weight^T + bias``; x (..., in) in parts along the last axis, weight (out, in)."""
        if len(parts) == 1 and out is None:
            y = F.linear(parts[0], weight, bias if scale == 1.0 else None)
            if scale == 1.0:
                return y
            return y * scale if bias is None else torch.add(bias, y, alpha=scale)
        columns = weight.t()
        at = parts[0].shape[1]
        first = columns.narrow(0, 0, at)
        if bias is None:
            y = torch.mm(parts[0], first, out=out).mul_(scale)
        else:
            y = torch.addmm(bias, parts[0], first, alpha=scale, out=out)
        for part in parts[1:]:
            y.addmm_(part, columns.narrow(0, at, part.shape[1]), alpha=scale)
            at += part.shape[1]
        return y

    def _packed(self, block: Tensor) -> Tensor:
        # Input units along the rows, as the product wants it: a third faster for a block of 128 units.
        return block.t().contiguous().t()


class SlicedConv2d(Mixing):
    """A sliced 2-d convolution (Equation 5) that mixes channels (``groups=1``). It never rescales (section 3.5.1)."""

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] | str = (0, 0),
        dilation: Sequence[int] = (1, 1),
        bias: bool = True,
        connectivity: Connectivity = "nested",
    ) -> None:
        super().__init__(reads, gives, kernel_size, bias, connectivity, rescale=False)
        self.stride, self.dilation = tuple(stride), tuple(dilation)
        self.padding = padding if isinstance(padding, str) else tuple(padding)

    def product(
        self,
        parts: Sequence[Tensor],
        weight: Tensor,
        bias: Tensor | None,
        scale: float,
        out: Tensor | None = None,
    ) -> Tensor:
        """Convolution of one block; x (N, in, H, W) in one part, weight (out, in, kh, kw)."""
        (x,) = parts
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)

    def _packed(self, block: Tensor) -> Tensor:
        return block.contiguous(memory_format=torch.channels_last)


class SlicedGroupedConv2d(nn.Module):
    """A grouped convolution (depthwise: one channel a group): exact in either connectivity, group by group.

    Raises:
        SlicingError: when a rate would split a group.
    """

    def __init__(
        self,
        reads: Layout,
        out_channels: int,
        groups: int,
        kernel_size: Sequence[int],
        stride: Sequence[int] = (1, 1),
        padding: Sequence[int] | str = (0, 0),
        dilation: Sequence[int] = (1, 1),
        bias: bool = True,
        *,
        rates: Sequence[float],
        name: str = "conv",
    ) -> None:
        super().__init__()
        into = reads.widths[-1]
        self.per_group, self.out_per_group = into // groups, out_channels // groups
        if reads.sliced:
            check_widths(reads.widths, into, self.per_group, name, rates)
            _keep_groups_whole(reads, self.per_group, name)
        if len(reads.branches) > 1 and self.out_per_group != self.per_group:
            raise SlicingError(
                f"{name}: a grouped convolution that changes the channel count can't follow a concatenation"
            )
        factor = self.out_per_group
        branches = tuple(tuple(w // self.per_group * factor for w in branch) for branch in reads.branches)
        self.reads, self.gives = reads, Layout(branches, reads.sliced)
        self.stride, self.dilation = tuple(stride), tuple(dilation)
        self.padding = padding if isinstance(padding, str) else tuple(padding)
        self.weight = nn.Parameter(torch.empty(out_channels, self.per_group, *kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """He initialisation for rectifiers."""
        self.weight.normal_(0.0, (2.0 / self.weight[0].numel()) ** 0.5)
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor, start: int, to: int) -> Tensor:
        """The new channels from the new input channels; x (N, new in, H, W)."""
        first, last = span(self.gives, start, to)
        bias = None if self.bias is None else self.bias[first:last]
        groups = (last - first) // self.out_per_group
        return F.conv2d(x, self.weight[first:last], bias, self.stride, self.padding, self.dilation, groups)

    def macs(self, start: int, to: int) -> int:
        """Multiply-adds per output position of :meth:`forward`."""
        first, last = span(self.gives, start, to)
        return (last - first) * self.weight[0].numel()

    def parameter_count(self, to: int) -> int:
        """Weights and biases of the r-net."""
        return self.gives.widths[to] * (self.weight[0].numel() + (self.bias is not None))


class SlicedGroupNorm(nn.Module):
    """Group normalisation (Equation 7), sliced in whole groups: a group's statistics never depend on the rate.

    Raises:
        SlicingError: when a rate would split a group (a ragged last group), with the legal widths.
    """

    def __init__(
        self,
        reads: Layout,
        groups: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        rates: Sequence[float],
        name: str = "norm",
    ) -> None:
        super().__init__()
        channels = reads.widths[-1]
        self.group_size = channels // groups
        if reads.sliced:
            check_widths(reads.widths, channels, self.group_size, name, rates)
            _keep_groups_whole(reads, self.group_size, name)
        self.reads = self.gives = reads
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def reset_parameters(self) -> None:
        """Scale one, shift zero."""
        if self.weight is not None and self.bias is not None:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, start: int, to: int) -> Tensor:
        """Normalise the new channels; x (N, new channels, ...)."""
        first, last = span(self.reads, start, to)
        weight = None if self.weight is None else self.weight[first:last]
        bias = None if self.bias is None else self.bias[first:last]
        return F.group_norm(x, (last - first) // self.group_size, weight, bias, self.eps)

    def parameter_count(self, to: int) -> int:
        """Scales and shifts of the r-net."""
        return 0 if self.weight is None else 2 * self.reads.widths[to]


class SlicedEmbedding(nn.Module):
    """An embedding table of which a narrow network reads the first columns. ids (N, ...) give (N, ..., units)."""

    def __init__(self, rows: int, gives: Layout, padding_idx: int | None = None) -> None:
        super().__init__()
        self.gives = gives
        self.padding_idx = padding_idx
        self.weight = nn.Parameter(torch.empty(rows, gives.widths[-1]))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal(0, 1), as torch does; the padding row stays zero."""
        nn.init.normal_(self.weight)
        if self.padding_idx is not None:
            with torch.no_grad():
                self.weight[self.padding_idx].zero_()

    def forward(self, ids: Tensor, start: int, to: int) -> Tensor:
        """The new columns of each id's row."""
        first, last = span(self.gives, start, to)
        return F.embedding(ids, self.weight[:, first:last], self.padding_idx)

    def parameter_count(self, to: int) -> int:
        """Entries of the r-net's table."""
        return self.weight.shape[0] * self.gives.widths[to]


class SlicedConcat(nn.Module):
    """Concatenation along the units, in block order (see :mod:`slicing.layout`).

    Args:
        reads: the branches.
        gives: their concatenation.
        dim: the dimension that the plain network concatenates along.
        name: the layer's name, for the error.
    """

    def __init__(self, reads: Sequence[Layout], gives: Layout, dim: int = 1, name: str = "cat") -> None:
        super().__init__()
        self.reads, self.gives, self.dim, self.name = list(reads), gives, dim, name

    def forward(self, xs: Sequence[Tensor], start: int, to: int) -> Tensor:
        """New units of every branch, interleaved block by block.

        Raises:
            SlicingError: when the units of these activations lie on another dimension than ``dim``.
        """
        if not self.gives.sliced:
            return torch.cat(list(xs), self.dim)
        axis = self.gives.axis
        if (self.dim - axis) % xs[0].dim():
            raise SlicingError(
                f"{self.name}: concatenates along dim {self.dim}, but in activations of shape {tuple(xs[0].shape)} the "
                f"units lie on dim {axis}; only a concatenation of units can be sliced"
            )
        pieces: list[Tensor] = []
        taken = [0] * len(xs)
        for k in range(start + 1, to + 1):
            for i, (x, layout) in enumerate(zip(xs, self.reads, strict=True)):
                size = layout.widths[k] - (layout.widths[k - 1] if k else 0)
                pieces.append(x.narrow(axis, taken[i], size))
                taken[i] += size
        return torch.cat(pieces, axis)


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


def span(layout: Layout, start: int, to: int) -> tuple[int, int]:
    """The units that are new between two rates; all of them where the layout does not grow."""
    if not layout.sliced or start < 0:
        return 0, layout.widths[to]
    return layout.widths[start], layout.widths[to]


def _keep_groups_whole(reads: Layout, group: int, name: str) -> None:
    """In a concatenation every piece must hold whole groups: else interleaving would tear a group apart."""
    if any(units % group for branch in reads.branches for units in branch):
        raise SlicingError(
            f"{name}: groups of {group} channels straddle the blocks of the concatenation it follows "
            f"(widths {[list(branch) for branch in reads.branches]}); choose rates that give multiples of {group} "
            "in every branch"
        )

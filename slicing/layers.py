"""Sliced layers that work unit by unit: each computes only its units between two rates.

Every layer is called as ``layer(x, start, to)``: ``start`` is the position (in the network's rates) of the rate whose
units are there already, -1 when nothing is, and ``to`` that of the rate to reach. The result holds the *new* units
alone, and so does ``x``. A one-shot pass is ``start=-1``; nothing else distinguishes it from widening. Layers that mix
units read the whole input prefix at ``to``: see :mod:`slicing.mixing`.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.layout import Layout, keep_groups_whole, span
from slicing.rates import check_widths


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
            keep_groups_whole(reads, self.group_size, name)
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

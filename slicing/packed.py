"""Weight blocks laid out for the product: what inference runs, again and again.

Everything that depends on the rates alone, and on how many units each part of the input has, is worked out once: the
products of a cascade's later stages are small, and between two of them the arithmetic waits for Python.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from slicing.errors import SlicingError

Parts = Sequence[Tensor]  # one activation, its units side by side in parts


class Product(Protocol):
    """One block: ``scale * weight x + bias`` of the first inputs."""

    rows: int

    def __call__(self, parts: Parts, out: Tensor | None, addend: Tensor | None) -> Tensor:
        """The block's units, into ``out`` where given; ``addend`` in place of the bias."""


class DenseProduct:
    """``scale * x weight^T + bias`` of a dense layer; x (..., in).

    Args:
        weight: (out, in), the first ``in`` units are read.
        bias: (out,) or None.
        scale: of what is read.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, scale: float) -> None:
        # Input units along the rows, as the product wants it: a third faster for a block of 128 units.
        self.columns = weight.t().contiguous()
        self.bias = None if bias is None else bias.clone()
        self.rows, self.scale = weight.shape[0], scale
        self._cuts: dict[tuple[int, ...], list[tuple[int | None, Tensor]]] = {}

    def __call__(self, parts: Parts, out: Tensor | None, addend: Tensor | None) -> Tensor:
        """See :class:`Product`."""
        bias = self.bias if addend is None else addend
        if out is None and len(parts) == 1:
            x, weight = parts[0], self.columns.t()
            if x.shape[-1] > weight.shape[1]:
                x = x[..., : weight.shape[1]]
            if self.scale == 1.0:
                return F.linear(x, weight, bias)
            y = F.linear(x, weight)
            return y * self.scale if bias is None else torch.add(bias, y, alpha=self.scale)
        sizes = tuple([part.shape[1] for part in parts])
        terms = self._cuts.get(sizes)
        if terms is None:
            terms = self._cuts[sizes] = self._cut(sizes)
        total: Tensor | None = None
        for (narrowed, columns), part in zip(terms, parts, strict=False):
            x = part if narrowed is None else part.narrow(1, 0, narrowed)
            if total is not None:
                total.addmm_(x, columns, alpha=self.scale)
            elif bias is not None:
                total = torch.addmm(bias, x, columns, alpha=self.scale, out=out)
            else:
                total = torch.mm(x, columns, out=out)
                if self.scale != 1.0:
                    total.mul_(self.scale)
        assert total is not None
        return total

    def _cut(self, sizes: Sequence[int]) -> list[tuple[int | None, Tensor]]:
        """Of each part that is read: how many units, None for all, and the weights for them."""
        found: list[tuple[int | None, Tensor]] = []
        at, stop = 0, self.columns.shape[0]
        for size in sizes:
            if found and at == stop:
                break
            taken = min(size, stop - at)
            found.append((None if taken == size else taken, self.columns.narrow(0, at, taken)))
            at += taken
        return found


class ConvProduct:
    """A convolution's block; x (N, in, H, W) in one part.

    Args:
        weight: (out, in, kh, kw), the first ``in`` channels are read.
        bias: (out,) or None.
        options: stride, padding and dilation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, options: Sequence[Any]) -> None:
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.clone()
        self.rows, self._options = weight.shape[0], options

    def __call__(self, parts: Parts, out: Tensor | None, addend: Tensor | None) -> Tensor:
        """See :class:`Product`."""
        (x,) = parts
        channels = self.weight.shape[1]
        return F.conv2d(
            x if x.shape[1] == channels else x.narrow(1, 0, channels), self.weight, self.bias, *self._options
        )


class PackedLayer:
    """A layer's blocks between two rates.

    Args:
        products: in the order of their rows, at least one.
        wanted: units of the whole input.
        reads, gives: the axes of the units.
    """

    def __init__(self, products: Sequence[Product], wanted: int, reads: int, gives: int) -> None:
        self._products, self._wanted, self._reads, self._gives = products, wanted, reads, gives

    def __call__(self, parts: Parts, out: Tensor | None = None, addend: Tensor | None = None) -> Tensor:
        """The new units.

        Args:
            parts: the input's units, side by side.
            out: where a dense layer shall put them, (N, new units).
            addend: takes the place of the bias, (N, new units).

        Raises:
            SlicingError: when the input does not have the units of the rate.
        """
        found = parts[0].shape[self._reads] if len(parts) == 1 else sum([part.shape[self._reads] for part in parts])
        check_units(found, self._wanted)
        if len(self._products) == 1:
            return self._products[0](parts, out, addend)
        rows, at = [], 0
        for product in self._products:
            place, share = (None if each is None else each.narrow(-1, at, product.rows) for each in (out, addend))
            rows.append(product(parts, place, share))
            at += product.rows
        return torch.cat(rows, self._gives) if out is None else out


def check_units(found: int, wanted: int) -> None:
    """Refuse an input of another width than the rate's: reading its first columns would hide it."""
    if found != wanted:
        raise SlicingError(f"a layer that reads {wanted} units at this rate got {found}; check the input's shape")

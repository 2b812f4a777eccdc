"""Sliced dense layers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from slicing.connectivity import Firsts
from slicing.layout import Layout
from slicing.mixing import Mixing


class SlicedLinear(Mixing):
    """A sliced dense layer, ``y = s W x + b`` (Equations 1 to 3), with s = M/round(rM) where it rescales.

    Rescaling compensates a fan-in that changes with the rate (section 3.5.1). Inside a segment a unit's fan-in never
    changes, so there is nothing to compensate, except in the head.
    """

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        bias: bool = True,
        firsts: Firsts | None = None,
        rescale: bool = False,
        head: bool = False,
    ) -> None:
        super().__init__(reads, gives, (), bias, firsts, rescale, head)

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

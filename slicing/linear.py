"""Sliced dense layers."""

import torch
import torch.nn.functional as F
from torch import Tensor

from slicing.connectivity import Firsts
from slicing.layout import Layout
from slicing.mixing import Mixing
from slicing.packed import DenseProduct, Product


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

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """``scale * x weight^T + bias``; x (..., in), weight (out, in)."""
        if scale == 1.0:
            return F.linear(x, weight, bias)
        y = F.linear(x, weight)
        return y * scale if bias is None else torch.add(bias, y, alpha=scale)

    def packed(self, weight: Tensor, bias: Tensor | None, scale: float) -> Product:
        """The same, with copies laid out for the product."""
        return DenseProduct(weight, bias, scale)

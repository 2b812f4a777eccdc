"""Sliced 2-d convolutions: those that mix channels, and grouped ones, which work channel by channel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slicing.connectivity import Firsts
from slicing.errors import SlicingError
from slicing.layout import Layout, keep_groups_whole, span
from slicing.mixing import Mixing
from slicing.packed import ConvProduct, Product
from slicing.rates import check_widths


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
        firsts: Firsts | None = None,
        head: bool = False,
    ) -> None:
        super().__init__(reads, gives, kernel_size, bias, firsts, rescale=False, head=head)
        self.stride, self.dilation = tuple(stride), tuple(dilation)
        self.padding = padding if isinstance(padding, str) else tuple(padding)

    def product(self, x: Tensor, weight: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """Convolution of one block; x (N, in, H, W)."""
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation)

    def packed(self, weight: Tensor, bias: Tensor | None, scale: float) -> Product:
        """The same, with copies laid out for the product."""
        return ConvProduct(weight, bias, (self.stride, self.padding, self.dilation))


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
            keep_groups_whole(reads, self.per_group, name)
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

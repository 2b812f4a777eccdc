"""What the units of an activation are: how many belong to each rate, and in which order they lie.

Activations of a sliced network lie in *block order*: all units of block 0, then those of block 1, and so on, so that
the r-net's activation is always a prefix. For one layer's output that is the ordinary order. A concatenation of
branches A and B, ordinarily A then B, becomes A0 B0 A1 B1 ...: its columns keep their meaning when sliced, and the
layer that reads it stores its columns in the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from slicing.errors import SlicingError


@dataclass(frozen=True)
class Layout:
    """Units of an activation.

    Attributes:
        branches: for each concatenated branch (one, unless it is a concatenation) the units in use at each rate.
        sliced: whether the width grows with the rate; that of an input or of a head's result does not.
        pending: flattened, and the features per unit are not known yet; the layer that reads it tells.
        axis: the dimension the units lie on: 1 behind convolutions, -1 behind dense layers and embeddings.
        flat: flattened, so that there are no other axes than the batch and the units.
    """

    branches: tuple[tuple[int, ...], ...]
    sliced: bool
    pending: bool = False
    axis: int = 1
    flat: bool = False

    @classmethod
    def of(cls, widths: Sequence[int], axis: int = 1) -> "Layout":
        """The output of one sliced layer with these units at each rate."""
        return cls((tuple(widths),), True, axis=axis)

    @classmethod
    def fixed(cls, units: int, rates: int, axis: int = 1) -> "Layout":
        """An activation of the same width at every one of ``rates`` rates."""
        return cls(((units,) * rates,), False, axis=axis)

    def since(self, first: int) -> "Layout":
        """The layout with no units below the rate at position ``first``."""
        branches = tuple(tuple(units if k >= first else 0 for k, units in enumerate(each)) for each in self.branches)
        return replace(self, branches=branches, sliced=True)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Units in use at each rate, over all branches."""
        return tuple(sum(at) for at in zip(*self.branches, strict=True))

    def times(self, repeat: int, layer: str) -> "Layout":
        """The layout after flattening ``repeat`` positions a unit.

        Raises:
            SlicingError: when the units lie last, so that flattening would put position beside position, and a
                narrow network's units would not be a prefix.
        """
        if repeat > 1 and self.sliced and self.axis == -1:
            raise SlicingError(
                f"{layer}: flattens {repeat} positions whose units lie on the last axis, behind a dense layer or an "
                "embedding; that can't be sliced, give each position a layer of its own"
            )
        branches = tuple(tuple(repeat * units for units in branch) for branch in self.branches)
        return replace(self, branches=branches, pending=False)

    def resolve(self, features: int, layer: str) -> "Layout":
        """The layout as a layer that reads ``features`` features at full width sees it.

        Raises:
            SlicingError: when the features are not those of this layout.
        """
        full = self.widths[-1]
        if self.pending and full and features % full == 0:
            return self.times(features // full, layer)
        if not self.pending and features == full:
            return self
        raise SlicingError(f"{layer}: reads {features} features, but what flows into it has {full} units")

    def plain_positions(self, index: int) -> torch.Tensor | None:
        """For each unit of the r-net, in block order, its place in the ordinary order of the extracted r-net.

        Args:
            index: the rate's position in the network's rates.

        Returns:
            int64 (units at that rate,), or None where both orders are the same.
        """
        if len(self.branches) == 1 or not self.sliced:
            return None
        starts = [0]
        for branch in self.branches:
            starts.append(starts[-1] + branch[index])
        places = []
        for block in range(index + 1):
            for branch, start in zip(self.branches, starts, strict=False):
                before = branch[block - 1] if block else 0
                places.append(torch.arange(start + before, start + branch[block]))
        return torch.cat(places)


def concatenated(layouts: Sequence[Layout]) -> Layout:
    """The layout of a concatenation: branch beside branch, in block order."""
    branches = tuple(branch for layout in layouts for branch in layout.branches)
    known = next((layout for layout in layouts if layout.sliced), layouts[0])  # an input does not tell its axis
    return replace(known, branches=branches)


def span(layout: Layout, start: int, to: int) -> tuple[int, int]:
    """The units that are new between two rates; all of them where the layout does not grow."""
    if not layout.sliced or start < 0:
        return 0, layout.widths[to]
    return layout.widths[start], layout.widths[to]


def keep_groups_whole(reads: Layout, group: int, name: str) -> None:
    """In a concatenation every piece must hold whole groups: else interleaving would tear a group apart."""
    if any(units % group for branch in reads.branches for units in branch):
        raise SlicingError(
            f"{name}: groups of {group} channels straddle the blocks of the concatenation it follows "
            f"(widths {[list(branch) for branch in reads.branches]}); choose rates that give multiples of {group} "
            "in every branch"
        )

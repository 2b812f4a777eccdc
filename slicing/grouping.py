"""Rows of a batch, query by query: the padded form in which ranking losses and metrics work."""

from dataclasses import dataclass

import torch
from torch import Tensor

from slicing.errors import SlicingError


@dataclass(frozen=True)
class Groups:
    """The rows of Q queries, padded to the longest of L candidates.

    Attributes:
        rows: int64 (Q, L), for each query the positions of its rows, in their order; 0 where there is none.
        held: bool (Q, L), whether there is a row.
    """

    rows: Tensor
    held: Tensor

    @classmethod
    def of(cls, queries: Tensor) -> "Groups":
        """Group rows, which may lie in any order.

        Args:
            queries: whole numbers (N,), the query of each row, counted from 0; any number type.
        """
        queries = queries.long()
        counts = torch.bincount(queries)
        order = torch.argsort(queries, stable=True)
        starts = counts.cumsum(0) - counts
        places = torch.arange(int(counts.max()) if len(counts) else 0, device=queries.device)
        held = places < counts[:, None]
        rows = (starts[:, None] + places).masked_fill(~held, 0)
        return cls(order[rows] if len(order) else rows, held)

    def pad(self, values: Tensor, fill: float = 0.0) -> Tensor:
        """Values of rows (N,) as (Q, L), ``fill`` where there is no row."""
        return values[self.rows].masked_fill(~self.held, fill)


def split_target(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Groups]:
    """Scores and labels query by query.

    Args:
        scores: (N, 1).
        target: (N, 2), label and query index within the batch.

    Returns:
        Scores and labels, (Q, L) each in fp32, and their groups.

    Raises:
        SlicingError: for other shapes.
    """
    if scores.dim() != 2 or scores.shape[1] != 1 or target.shape != (len(scores), 2):
        raise SlicingError(
            "a ranking loss takes scores (N, 1) and targets (N, 2) = [label, query index], got shapes "
            f"{tuple(scores.shape)} and {tuple(target.shape)}; give the network one output and the targets both columns"
        )
    groups = Groups.of(target[:, 1])
    return groups.pad(scores[:, 0].float()), groups.pad(target[:, 0].float()), groups


def gains(labels: Tensor) -> Tensor:
    """The exponential gain of relevance labels, ``2^label - 1`` (Burges et al. 2005)."""
    return torch.exp2(labels) - 1.0

"""Batches of whole queries, in a new order every epoch."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slicing.errors import SlicingError


class QueryBatches:
    """Candidates of ranking queries, as :func:`slicing.train` takes them: ``batches(epoch)``.

    Every epoch shuffles the queries with torch's generator (the trainer seeds it from its seed and the epoch) and deals
    them into the same number of batches, equal in queries to within one, so about ``rows`` rows each. A batch is
    ``((inputs of its rows, ...), (rows, 2) = [label, query index within the batch])``, each query's rows together.

    Args:
        inputs: tensors (N, ...), the network's inputs.
        labels: (N,).
        qids: (N,) whole numbers or strings, in any order: a query is the rows that share one.
        rows: wanted in a batch, at least 1; a batch holds one query at least.
        unknown_ids: share of each id input's values (the int64 ones) that become 0, the unknown row, in each epoch, in
            [0, 1): so the row for unknown ids learns, too.
    """

    def __init__(
        self, inputs: tuple[Tensor, ...], labels: np.ndarray, qids: np.ndarray, rows: int, unknown_ids: float = 0.0
    ) -> None:
        if not 0 <= unknown_ids < 1:
            raise SlicingError(f"unknown_ids must lie in [0, 1), got {unknown_ids}; try 0.02")
        if rows < 1:
            raise SlicingError(f"a batch must have at least 1 row, got {rows}; try 512")
        self.inputs, self.unknown_ids = inputs, unknown_ids
        self.labels = torch.from_numpy(np.array(labels, dtype=np.float32))
        order, starts = query_order(qids)
        self._order, self._starts = torch.from_numpy(order), torch.from_numpy(starts)
        self.queries = len(starts) - 1
        self.steps = max(1, min(self.queries, round(len(order) / rows)))
        sizes = np.sort(np.diff(starts))[::-1]
        self.most_rows = int(sizes[: -(-self.queries // self.steps)].sum())

    def __call__(self, epoch: int) -> "Epoch":
        """The batches of one epoch, shuffled when iteration begins."""
        return Epoch(self)

    def batch(self, queries: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The rows of these queries."""
        sizes = self._starts[queries + 1] - self._starts[queries]
        index = torch.repeat_interleave(torch.arange(len(queries)), sizes)
        within = torch.arange(len(index)) - (sizes.cumsum(0) - sizes)[index]
        rows = self._order[self._starts[queries][index] + within]
        chosen = []
        for whole in self.inputs:
            x = whole[rows]
            if self.unknown_ids and x.dtype == torch.int64:
                x = x.masked_fill(torch.rand(x.shape) < self.unknown_ids, 0)
            chosen.append(x)
        return tuple(chosen), torch.stack([self.labels[rows], index.float()], dim=1)


@dataclass(frozen=True)
class Epoch:
    """One pass over the queries."""

    source: QueryBatches

    def __len__(self) -> int:
        return self.source.steps

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], Tensor]]:
        order = torch.randperm(self.source.queries)
        for part in order.tensor_split(self.source.steps):
            yield self.source.batch(part)


def query_order(qids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows sorted by query.

    Args:
        qids: (N,) whole numbers or strings.

    Returns:
        The rows, int64 (N,), those of a query in their order; and where each query starts among them, int64 (Q + 1,).
    """
    _, index = np.unique(np.asarray(qids), return_inverse=True)
    order = np.argsort(index, kind="stable")
    return order, np.concatenate([[0], np.cumsum(np.bincount(index))]).astype(np.int64)

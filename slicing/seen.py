"""The queries that a model was made with, as samples of hashes: enough to notice them in another table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slicing.errors import SlicingError

SAMPLE = 10_000
"""Hashes kept of each part, at most: 80 kB."""


@dataclass(frozen=True)
class Overlap:
    """How many of a table's queries are in a sample, of those that would be if the sampled part had them.

    known: in [0, compared].
    """

    known: int
    compared: int

    def __str__(self) -> str:
        return f"{self.known:,} of {self.compared:,}"


@dataclass(frozen=True)
class Seen:
    """The queries of training and validation.

    Of each part the smallest hashes are kept, so that two tables' samples are of the same queries where these are in
    both: hashes are uniform, whatever the queries.

    Attributes:
        columns: of the table that went into the hashes, besides ids and labels.
        training, validation: int64, rising, at most :data:`SAMPLE`: all hashes, or the smallest.
    """

    columns: tuple[str, ...]
    training: Tensor
    validation: Tensor

    @classmethod
    def of(cls, columns: tuple[str, ...], training: np.ndarray, validation: np.ndarray) -> "Seen":
        """From the hashes of all queries of each part."""
        return cls(columns, *(torch.from_numpy(np.unique(part)[:SAMPLE]) for part in (training, validation)))

    def trained_on(self, hashes: np.ndarray) -> Overlap:
        """How many of the queries with these hashes are training queries."""
        return overlap(self.training, hashes)

    def validated_on(self, hashes: np.ndarray) -> Overlap:
        """How many of the queries with these hashes are validation queries."""
        return overlap(self.validation, hashes)

    def tensors(self) -> dict[str, Tensor]:
        """What a model file stores of it as tensors; ``columns`` is the rest."""
        return {"training": self.training, "validation": self.validation}

    @classmethod
    def rebuild(cls, tensors: Mapping[str, Tensor], columns: Any) -> "Seen":
        """The inverse of :meth:`tensors`.

        Raises:
            SlicingError: when the parts are no samples.
        """
        parts = [tensors.get(name) for name in ("training", "validation")]
        if not isinstance(columns, list) or any(
            part is None or part.dtype != torch.int64 or part.dim() != 1 or bool((part[1:] <= part[:-1]).any())
            for part in parts
        ):
            raise SlicingError("the sample of its queries is incomplete; save the model again")
        return cls(tuple(map(str, columns)), *(part for part in parts if part is not None))


def overlap(sample: Tensor, hashes: np.ndarray) -> Overlap:
    """Compare the hashes of a table's queries with a sample.

    A full sample says nothing of hashes beyond its largest, so these are left out.
    """
    known, here = sample.numpy(), np.unique(hashes)
    if len(known) >= SAMPLE:
        here = here[here <= known[-1]]
    return Overlap(int(np.isin(here, known, assume_unique=True).sum()), len(here))

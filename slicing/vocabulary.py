"""Categorical ids as rows of an embedding table: a vocabulary fitted on training data, stored with the model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slicing.errors import RefusedValue, SlicingError


@dataclass(frozen=True)
class Vocabulary:
    """Known ids, whole numbers or strings, each with a row of its own from 1; row 0 is for every other id.

    Attributes:
        known: int64 or str (V,), rising.
    """

    known: np.ndarray

    @classmethod
    def fit(cls, ids: np.ndarray, min_count: int = 1) -> "Vocabulary":
        """Learn the ids of the training data.

        Args:
            ids: (N,) whole numbers or strings; in an array of objects None and NaN are unknown.
            min_count: an id seen less often counts as unknown, at least 1.

        Raises:
            SlicingError: for ids of another type.
        """
        if isinstance(min_count, bool) or not isinstance(min_count, int) or min_count < 1:
            raise SlicingError(f"min_count must be a whole number of at least 1, got {min_count!r}")
        values, present = _as_ids(ids)
        known, counts = np.unique(values[present], return_counts=True)
        return cls(known[counts >= min_count])

    @property
    def rows(self) -> int:
        """Rows of the embedding table, the unknown one included."""
        return len(self.known) + 1

    def __call__(self, ids: np.ndarray, column: str = "ids") -> Tensor:
        """The row of each id: int64 (N,), 0 for an unknown one. column: their name, for messages.

        Raises:
            RefusedValue: for strings where the vocabulary holds numbers, or the other way round.
        """
        values, present = _as_ids(ids)
        if len(self.known) == 0 or not present.any():
            return torch.zeros(len(values), dtype=torch.int64)
        if (values.dtype.kind == "i") != (self.known.dtype.kind == "i"):
            kinds = ("whole numbers", "strings")
            here, there = (kinds[array.dtype.kind != "i"] for array in (values, self.known))
            raise RefusedValue(column, f"holds {here}", f"in training it held {there}: convert the column")
        place = np.zeros(len(values), dtype=np.int64)
        place[present] = np.searchsorted(self.known, values[present])
        found = present & (place < len(self.known))
        found[found] = self.known[place[found]] == values[found]
        return torch.from_numpy(np.where(found, place + 1, 0))

    def tensors(self) -> dict[str, Tensor]:
        """What a model file stores: the numbers, or the strings' UTF-8 bytes one behind the other and their ends."""
        if self.known.dtype.kind == "i":
            return {"numbers": torch.from_numpy(self.known.astype(np.int64))}
        encoded = [str(word).encode() for word in self.known]
        ends = np.cumsum([len(word) for word in encoded], dtype=np.int64)
        text = np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()
        return {"text": torch.from_numpy(text), "ends": torch.from_numpy(ends)}

    @classmethod
    def rebuild(cls, tensors: Mapping[str, Tensor]) -> "Vocabulary":
        """The inverse of :meth:`tensors`.

        Raises:
            SlicingError: when they do not fit together.
        """
        try:
            if "numbers" in tensors:
                known = tensors["numbers"].numpy()
                if known.dtype != np.int64 or known.ndim != 1:
                    raise ValueError("numbers")
            else:
                text, ends = tensors["text"].numpy().tobytes(), tensors["ends"].tolist()
                if ends != sorted(ends) or (ends[-1] if ends else 0) != len(text) or (ends and ends[0] < 0):
                    raise ValueError("ends")
                words = [text[first:last].decode() for first, last in zip([0, *ends], ends, strict=False)]
                known = np.array(words, dtype=np.str_)
            if len(known) > 1 and not bool((known[1:] > known[:-1]).all()):
                raise ValueError("order")
        except (KeyError, ValueError, TypeError) as error:
            raise SlicingError(f"a vocabulary can't be read ({error!r}); save the model again") from error
        return cls(known)


def _as_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ids as int64 or str (N,), and which of them are there at all."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise SlicingError(f"ids must have shape (N,), got {array.shape}")
    present = np.ones(len(array), dtype=bool)
    if array.dtype.kind in "iu":
        if array.dtype.kind == "u" and len(array) and int(array.max()) > np.iinfo(np.int64).max:
            raise SlicingError(f"ids must fit into 64 bits with a sign, got {int(array.max())}; pass them as strings")
        return array.astype(np.int64), present
    if array.dtype.kind == "U":
        return array, present
    if array.dtype.kind == "O":
        present = np.array([value is not None and value == value for value in array], dtype=bool)  # NaN is not itself
        kinds = {type(value) for value in array[present]}
        if kinds <= {str, np.str_}:
            return np.array([str(v) if p else "" for v, p in zip(array, present, strict=True)], np.str_), present
        if all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds):
            return np.array([int(v) if p else 0 for v, p in zip(array, present, strict=True)], np.int64), present
    raise SlicingError(
        f"categorical ids must be whole numbers or strings, got dtype {array.dtype}; convert the column, or declare it "
        "as numeric"
    )

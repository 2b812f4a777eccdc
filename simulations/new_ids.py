"""Ids that a ranker never saw in training: they share one row of its embedding table, and it says nothing of that."""

from collections.abc import Mapping

import polars as pl

from slicing import Ranker, Vocabulary


class NewIds:
    """Counts them, column by column, over the batches of a table; nulls are not counted, neither as new nor as ids."""

    def __init__(self, ranker: Ranker) -> None:
        known = ranker.vocabularies.items()
        self._known = {name: pl.Series(each.known.tolist(), dtype=_type(each)) for name, each in known}
        self._new = dict.fromkeys(self._known, 0)
        self._ids = dict.fromkeys(self._known, 0)

    def count(self, frame: pl.DataFrame) -> None:
        """Look at a batch: a frame with the ranker's columns of ids, of the type that it learned."""
        for name, known in self._known.items():
            ids = frame[name].drop_nulls()
            self._ids[name] += len(ids)
            alike = (ids.dtype == pl.String) == (known.dtype == pl.String)  # the ranker refuses any other
            self._new[name] += len(ids) - (int(ids.is_in(known.implode()).sum()) if alike and len(ids) else 0)

    @property
    def shares(self) -> Mapping[str, float]:
        """Of each column that has any, the share of its ids, in (0, 1]."""
        return {name: new / self._ids[name] for name, new in self._new.items() if new}


def _type(vocabulary: Vocabulary) -> pl.DataType:
    return pl.Int64() if vocabulary.known.dtype.kind == "i" else pl.String()

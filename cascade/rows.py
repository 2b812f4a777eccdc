"""A batch of candidates whose columns are gathered when they are asked for, and for whom."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.ids import IdsAt


class Rows:
    """n candidates of a table, in an order of their own.

    table: any number of rows. at: (n,) the row of each candidate; None when they are the table's rows as they stand.
    """

    def __init__(self, table: pl.DataFrame, at: NDArray[np.int64] | None = None) -> None:
        self._table = table
        self._at = at

    def __len__(self) -> int:
        return self._table.height if self._at is None else len(self._at)

    @property
    def columns(self) -> list[str]:
        """The names of the table's columns."""
        return self._table.columns

    @cached_property
    def frame(self) -> pl.DataFrame:
        """All candidates with all columns."""
        return self.read(self.columns)

    def require(self, names: Iterable[str]) -> None:
        """Refuse a table that lacks one of these columns: CascadeError."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise CascadeError(
                f"unable to find column {missing[0]!r}, which a stage reads; valid columns: {self.columns}"
            )

    def read(self, names: Iterable[str], positions: NDArray[np.int64] | None = None) -> pl.DataFrame:
        """(m rows) these columns, each once, for the candidates at m positions, each in [0, n); None for all n.

        Raises CascadeError for a column that the table lacks.
        """
        wanted = list(dict.fromkeys(names))
        self.require(wanted)
        chosen = pl.DataFrame([self._table[name] for name in wanted])
        if self._at is not None:
            positions = self._at if positions is None else self._at[positions]
        return chosen if positions is None or not chosen.width else take(chosen, positions)


def docids_of(rows: Rows, among: NDArray[np.int64] | None = None) -> IdsAt:
    """The docids of candidates, by their positions in `among`, itself (m,) positions of rows; None for all rows."""

    def read(positions: NDArray[np.int64]) -> pl.Series:
        return rows.read(["docid"], positions if among is None else among[positions])["docid"]

    return read


def take(frame: pl.DataFrame, positions: NDArray[np.int64]) -> pl.DataFrame:
    """The rows at some positions, all of at least 0; faster than `frame[positions]`, which looks for negative ones."""
    index = pl.Series(positions.astype(np.uint32 if frame.height <= 1 << 32 else np.uint64))
    if frame.width == 1:  # with nothing to share among threads, waking them would take longer than the work
        return frame.to_series()[index].to_frame()
    return frame[index]

"""Candidates of a ranker on their way from rate to rate, their columns read when a rate first needs them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from slicing.errors import RefusedValue
from slicing.incremental import IncrementalScorer, Session
from slicing.ranker import Ranker, column
from slicing.rates import rate_index
from slicing.tiers import constant_within

Read = Callable[[Sequence[str], np.ndarray | None], Mapping[str, np.ndarray]]


class RankerSession:
    """One batch of candidates.

    A tier's columns are read and transformed for the candidates that are still in when its rate is reached. What is
    constant within a query is transformed, and flows through the network, once per query.

    Args:
        ranker: in eval mode.
        scorer: of the ranker's network.
        read: gives columns (see :meth:`Ranker.inputs`) of the candidates at these rising positions, None being all.
        count: candidates.
        queries: int64 (count,), numbers of at least 0 that say whose query each candidate is of; None: every candidate
            is scored by its own full row.
    """

    def __init__(
        self, ranker: Ranker, scorer: IncrementalScorer, read: Read, count: int, queries: np.ndarray | None
    ) -> None:
        self._ranker, self._scorer, self._read = ranker, scorer, read
        self._count, self._queries = count, queries if ranker.query else None
        self._rows: np.ndarray | None = None  # still in; None is all
        self._reached = -1
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The network's session, there from the first :meth:`widen` on: it has the last one's mode and FLOPs."""
        assert self._session is not None
        return self._session

    def widen(self, rate: float) -> Tensor:
        """Scores (N,) of the candidates still in, at a later rate.

        Raises:
            SlicingError: for a rate that is not wider.
            RefusedValue: for values that the transform refuses, or a column that varies within a query and should not;
                its row is the position among all the candidates.
        """
        to = rate_index(self._ranker.rates, rate)
        new = self._inputs(to)
        if self._session is None:
            queries = None if self._queries is None else torch.from_numpy(self._still(self._queries))
            names = self._ranker.network.inputs.names
            self._session = self._scorer.start(*(new.get(name) for name in names), queries=queries)
        elif new:
            self._session.give(new)
        self._reached = max(to, self._reached)
        return self._session.widen(rate)[:, 0]

    def select(self, rows: np.ndarray) -> None:
        """Keep the candidates at these rising positions among those still in."""
        if self._session is not None:
            self._session.select(torch.from_numpy(rows))
        self._rows = rows if self._rows is None else self._rows[rows]

    def _inputs(self, to: int) -> dict[str, Tensor]:
        """The inputs that the rate reads and no earlier one has read."""
        sources, names = self._ranker.sources, self._ranker.network.inputs.names
        wanted = [i for i, source in enumerate(sources) if self._reached < source.first <= to]
        if not wanted:
            return {}
        columns = self._read([name for i in wanted for name in sources[i].columns], self._rows)
        found = {}
        for i in wanted:
            part, rows = columns, self._still(np.arange(self._count))
            try:
                if sources[i].of_query and self._queries is not None:
                    part = {name: column(columns, name) for name in sources[i].columns}
                    first = self._firsts(part)
                    part, rows = {name: values[first] for name, values in part.items()}, rows[first]
                found[names[i]] = self._ranker.input(i, part)
            except RefusedValue as error:
                raise error if error.row is None else error.at_row(int(rows[error.row])) from error
        return found

    def _firsts(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first row of each query that still has candidates, by rising number; refuses columns that vary in it."""
        assert self._queries is not None
        queries = self._still(self._queries)
        for name, values in columns.items():
            row = constant_within(values, queries)
            if row is not None:
                raise RefusedValue(
                    name,
                    f"is {values[row].tolist()}",
                    "it was declared constant within a query, whose first candidate has another value: mend the table, "
                    "or train without it among the query features",
                    row,
                )
        return np.unique(queries, return_index=True)[1]

    def _still(self, values: np.ndarray) -> np.ndarray:
        return values if self._rows is None else values[self._rows]

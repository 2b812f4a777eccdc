"""Which columns a ranker reads from which rate on, at what cost, and which of its inputs they make up."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from slicing.errors import SlicingError
from slicing.rates import rate_index

MOST_COST = 1e18
"""Of a tier: sums over tables of any length then stay far below what floats hold."""


@dataclass(frozen=True)
class Tier:
    """Columns that are fetched together, by the first slice rate that reads them.

    Attributes:
        rate: one of the network's; a narrower rate neither reads nor needs these columns.
        columns: names of numeric or categorical columns.
        cost: of fetching them all for one candidate, in a unit of the user's choice, in [0, 1e18].

    Raises:
        SlicingError: for a cost that is none.
    """

    rate: float
    columns: tuple[str, ...]
    cost: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.cost, bool) or not isinstance(self.cost, int | float):
            raise SlicingError(f"a tier's cost must be a number, got {self.cost!r}; give what a candidate costs")
        if not 0 <= self.cost <= MOST_COST:
            raise SlicingError(f"a tier's cost must be in [0, {MOST_COST:g}], got {self.cost}; mend it")
        if not self.columns:
            raise SlicingError(f"the tier of rate {self.rate} names no columns; name some, or leave it out")


@dataclass(frozen=True)
class Source:
    """The columns behind one of the network's inputs.

    Attributes:
        columns: numeric columns side by side, or one column of ids.
        first: position of the first rate that reads them.
        of_query: whether they are constant within a query.
        categorical: whether they are ids.
    """

    columns: tuple[str, ...]
    first: int
    of_query: bool
    categorical: bool


def check_tiers(tiers: Sequence[Tier], columns: Collection[str], rates: Sequence[float]) -> None:
    """Refuse tiers that do not fit a network and its columns.

    Raises:
        SlicingError: for a rate the network does not have, a column that is not there, with the nearest name, or one
            in two tiers.
    """
    seen: dict[str, float] = {}
    for tier in tiers:
        rate_index(rates, tier.rate)
        for name in tier.columns:
            if name not in columns:
                near = get_close_matches(name, list(columns), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {list(columns)[:20]}"
                raise SlicingError(f"the tier of rate {tier.rate} names {name!r}, which is no feature; {hint}")
            if name in seen:
                raise SlicingError(f"{name!r} is in the tiers of rates {seen[name]} and {tier.rate}; name it once")
            seen[name] = tier.rate


def sources(
    numeric: Mapping[str, int],
    categorical: Sequence[str],
    tiers: Sequence[Tier],
    query: Collection[str],
    rates: Sequence[float],
) -> tuple[Source, ...]:
    """The network's inputs: numeric columns of one tier and side together, then each column of ids.

    Columns of no tier are read by every rate.
    """
    first = {name: rate_index(rates, tier.rate) for tier in tiers for name in tier.columns}
    groups: dict[tuple[int, bool], list[str]] = {}
    for name in numeric:
        groups.setdefault((first.get(name, 0), name in query), []).append(name)
    found = [Source(tuple(names), k, of_query, False) for (k, of_query), names in sorted(groups.items())]
    found += [Source((name,), first.get(name, 0), name in query, True) for name in categorical]
    return tuple(found)


def feature_costs(tiers: Sequence[Tier], rates: Sequence[float]) -> tuple[float, ...]:
    """What all the columns that each rate reads cost per candidate."""
    return tuple(sum(tier.cost for tier in tiers if rate_index(rates, tier.rate) <= k) for k in range(len(rates)))


def constant_within(values: np.ndarray, queries: np.ndarray) -> int | None:
    """Whether a column is the same in all rows of a query (a missing value equals another).

    Args:
        values: (N,) or (N, features).
        queries: (N,) numbers of at least 0.

    Returns:
        None if it is, else a row that differs from the first one of its query.
    """
    if not len(values):
        return None
    first = np.zeros(int(queries.max()) + 1, dtype=np.int64)
    first[queries[::-1]] = np.arange(len(queries))[::-1]
    other = values[first[queries]]
    differs = values != other
    if values.dtype.kind == "f":
        differs &= ~(np.isnan(values) & np.isnan(other))
    elif values.dtype.kind == "O":
        differs &= ~(_missing(values) & _missing(other))
    rows = np.flatnonzero(differs.reshape(len(values), -1).any(axis=1))
    return int(rows[0]) if len(rows) else None


def _missing(values: np.ndarray) -> np.ndarray:
    return np.array([value is None or value != value for value in values], dtype=bool)


def query_columns(columns: Mapping[str, Any], qids: np.ndarray, wanted: Sequence[str] | str) -> tuple[str, ...]:
    """The columns that are constant within every query.

    Args:
        columns: (N,) or (N, features) each.
        qids: (N,) whole numbers or strings.
        wanted: names, which are checked; or ``auto``: all that are, but for those constant in the whole table, about
            which it says nothing.

    Raises:
        SlicingError: for a name that is not there, a column that varies within a query, or a table that leaves no
            column to tell candidates apart.
    """
    _, queries = np.unique(np.asarray(qids), return_inverse=True)
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    if wanted == "auto":
        one = np.zeros(len(queries), dtype=np.int64)
        found = [
            name
            for name, values in arrays.items()
            if constant_within(values, queries) is None and constant_within(values, one) is not None
        ]
    else:
        found = list(dict.fromkeys(wanted))
        for name in found:
            if name not in arrays:
                near = get_close_matches(name, list(arrays), 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {list(arrays)[:20]}"
                raise SlicingError(f"the query feature {name!r} is no feature; {hint}")
            row = constant_within(arrays[name], queries)
            if row is not None:
                raise SlicingError(
                    f"{name!r} is declared constant within a query, but varies in query {qids[row]!s}; leave it out"
                )
    if len(found) == len(arrays):
        raise SlicingError("every feature is constant within its query, so nothing tells candidates apart; add some")
    return tuple(found)

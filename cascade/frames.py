"""The column contract of candidate tables, and the order in which the engine handles their rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.ids import order_by_ids, repeated, runs_of
from cascade.order import by_group, runs, starts_of
from cascade.rows import Rows

ALIASES: dict[str, tuple[str, ...]] = {
    "qid": ("query_id", "q_id", "request_id"),
    "docid": ("docno", "doc_id", "item_id"),
    "label": ("relevance", "rel"),
    "target": (),
}
"""Canonical column names and the names accepted for them."""

_GLANCE = 1000  # rows looked at first, since those out of order mostly show it soon


@dataclass(frozen=True)
class Candidates:
    """A checked table of n candidates of q queries, seen query by query.

    Mostly in canonical order: by qid, then docid, ascending. It makes everything downstream independent of the order of
    the rows: ties, batches, and what a scorer is given. Otherwise queries, and the candidates of each, come as the rows
    do, and who asks for ties looks at docids. The frame itself stays as it came; `rows` gathers what is asked for.

    frame: the table under canonical column names, rows as given.
    order: (n,) row of each candidate; None when the rows are in this order already.
    sizes: (q,) candidates of each query.
    places: (q,) the place of each query in the order of the qids, from 0.
    canonical: whether the order is the canonical one.
    """

    frame: pl.DataFrame
    order: NDArray[np.int64] | None
    sizes: NDArray[np.int64]
    places: NDArray[np.int64]
    canonical: bool

    def __len__(self) -> int:
        return self.frame.height

    @property
    def starts(self) -> NDArray[np.int64]:
        """(q + 1,) position of each query's first candidate, and n."""
        return starts_of(self.sizes)

    def batch(self, low: int, high: int) -> Rows:
        """The candidates [low, high)."""
        return Rows(self.frame[low:high]) if self.order is None else Rows(self.frame, self.order[low:high])

    def rows(self, low: int, high: int) -> pl.DataFrame:
        """The same with all their columns."""
        return self.batch(low, high).frame

    def columns(self, names: Sequence[str], positions: NDArray[np.int64]) -> pl.DataFrame:
        """Those of the named columns that the table has, for the candidates at some positions."""
        there = [name for name in names if name in self.frame.columns]
        return Rows(self.frame, self.order).read(there, positions)


def prepare(frame: pl.DataFrame, *, target: bool = False, any_order: bool = False) -> Candidates:
    """Check a table of candidates and put its rows in order: by qid, then docid.

    frame: columns `qid` and `docid` (integer or string, no nulls, pairs unique); optionally `label`
    (numeric) and `target` (class index, integer of at least 0, no nulls; required when `target` is true);
    any further column is the scorer's. The aliases of `ALIASES` are renamed. any_order: any order will do that has
    the queries apart, for which docids need not be sorted.

    Raises CascadeError for a missing or ill-typed column, null keys, duplicate pairs.
    """
    if not isinstance(frame, pl.DataFrame):
        remedy = "call .collect() first" if isinstance(frame, pl.LazyFrame) else "build one with polars.DataFrame"
        raise CascadeError(f"candidates must be a polars DataFrame, got {type(frame).__name__}; {remedy}")
    frame = _keys(canonical(frame, required=("qid", "docid", *(("target",) if target else ()))))
    _check_optional(frame)
    if _in_order(frame[:_GLANCE]) and _in_order(frame):
        sizes = frame["qid"].rle().struct.field("len").cast(pl.Int64).to_numpy()
        return Candidates(frame, None, sizes, np.arange(len(sizes)), canonical=True)
    return _by_query(frame) if any_order else _by_query_and_docid(frame)


def canonical(frame: pl.DataFrame, required: tuple[str, ...]) -> pl.DataFrame:
    """Rename aliases to canonical names and check that the required columns are there."""
    renames = {}
    for name, aliases in ALIASES.items():
        present = [alias for alias in aliases if alias in frame.columns]
        if name in frame.columns or not present:
            continue
        if len(present) > 1:
            raise CascadeError(f"both {present[0]!r} and {present[1]!r} could be {name!r}; rename one to {name!r}")
        renames[present[0]] = name
    frame = frame.rename(renames)
    for name in required:
        if name not in frame.columns:
            raise CascadeError(_missing(name, frame.columns))
    return frame


def _missing(name: str, columns: list[str]) -> str:
    names = (name, *ALIASES[name])
    near = [match for known in names for match in difflib.get_close_matches(known, columns, n=1)]
    remedy = f"Did you mean {near[0]!r}? Rename it" if near else "Add it"
    return f"unable to find column {name!r}; valid columns: {columns}. {remedy}"


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    for name in ("qid", "docid"):
        dtype = frame.schema[name]
        if dtype in (pl.Categorical, pl.Enum):  # whose own order need not be that of the strings
            frame = frame.with_columns(pl.col(name).cast(pl.String))
        elif not (dtype.is_integer() or dtype == pl.String or (dtype == pl.Null and not len(frame))):
            raise CascadeError(f"column {name!r} must be integer or string, got {dtype}; cast it first")
        nulls = frame[name].null_count()
        if nulls:
            raise CascadeError(f"column {name!r} must have no nulls, got {nulls}; fill or drop those rows")
    return frame


def _check_optional(frame: pl.DataFrame) -> None:
    if "label" in frame.columns and not frame.schema["label"].is_numeric():
        raise CascadeError(f"column 'label' must be numeric, got {frame.schema['label']}; cast it first")
    if "target" not in frame.columns:
        return
    target = frame["target"]
    if not target.dtype.is_integer():
        raise CascadeError(f"column 'target' must be an integer class index, got {target.dtype}; cast it")
    wrong = frame.filter(pl.col("target").is_null() | (pl.col("target") < 0))
    if len(wrong):
        qid, docid, value = wrong.select("qid", "docid", "target").row(0)
        raise CascadeError(
            f"column 'target' must be a class index of at least 0, got {value} for query {qid!r}, "
            f"candidate {docid!r}; mend or drop that row"
        )


def _in_order(frame: pl.DataFrame) -> bool:
    """Whether the pairs rise strictly, which also proves them unique."""
    qid, docid = pl.col("qid"), pl.col("docid")
    rises = (qid > qid.shift()) | ((qid == qid.shift()) & (docid > docid.shift()))
    return bool(frame.select(rises.all()).item())


def _by_query_and_docid(frame: pl.DataFrame) -> Candidates:
    query, lengths = runs_of(frame["qid"])
    order, again = order_by_ids(query, lengths, frame["docid"])
    _refuse_repeated(frame, again)
    sizes = _sizes(query, lengths)
    return Candidates(frame, order, sizes, np.arange(len(sizes)), canonical=True)


def _by_query(frame: pl.DataFrame) -> Candidates:
    query, lengths = runs_of(frame["qid"])
    order, sizes, docid = None, _sizes(query, lengths), frame["docid"]
    places = np.arange(len(sizes))
    if len(sizes) == len(query):  # each query's rows stand together
        sizes, places = lengths, query
    else:
        order = by_group(np.repeat(query, lengths))
        docid = docid[pl.Series(order)]
    suspects = repeated(sizes, docid)
    if len(suspects):
        groups = np.repeat(places, sizes)[suspects]
        again = suspects[order_by_ids(*runs(groups), docid[pl.Series(suspects)])[1]]
        _refuse_repeated(frame, again if order is None else order[again])
    return Candidates(frame, order, sizes, places, canonical=False)


def _sizes(query: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(q,) how many candidates each query has, from the runs of rows, at least one."""
    sizes = np.zeros(query.max() + 1, dtype=np.int64)
    np.add.at(sizes, query, lengths)
    return sizes


def _refuse_repeated(frame: pl.DataFrame, again: NDArray[np.int64]) -> None:
    """Refuse a table in which the pairs of some rows stand in others too."""
    if len(again):
        qid, docid = frame.select("qid", "docid").row(int(again[0]))
        raise CascadeError(
            f"candidates must be unique within a query: query {qid!r} has candidate {docid!r} more than once "
            f"({len(again)} surplus rows in all); drop them with .unique(['qid', 'docid'])"
        )

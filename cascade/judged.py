"""A run beside its judgements: at which rank of its query each relevant item stands.

That is all the ranking measures read, and there are far fewer such items than rows, so the measures cost little once
this is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.frames import canonical
from cascade.order import order_within, starts_of
from cascade.relevance import aligned

By = Literal["rank", "score"]
Ties = Literal["docid", "trec_eval"]

_WIDEST = 2**62


@dataclass(frozen=True)
class Judged:
    """The items with a positive label of q judged queries.

    queries: (q,) ids, ascending. query, label: (j,) of every such item, in the run or not; query is an index into
    `queries`. found_query, found_place, found_label: (h,) of those in the run, sorted by query, then place (0-based,
    within the query). missing: judged queries of which the run has no candidate. unjudged: queries of the run
    without any judgement.
    """

    queries: pl.Series
    query: NDArray[np.int64]
    label: NDArray[np.float64]
    found_query: NDArray[np.int64]
    found_place: NDArray[np.int64]
    found_label: NDArray[np.float64]
    missing: int
    unjudged: int


def judge(run: pl.DataFrame, judgements: pl.DataFrame | None, by: By | None = None, ties: Ties = "docid") -> Judged:
    """Order a run and find its relevant items.

    run: columns `qid`, `docid` (or their aliases), pairs unique, and `rank` (whole numbers, unique in a query; only
    their order counts) or `score` (finite); rows in any order. judgements: `qid`, `docid`, `label`, pairs unique; a
    null label is no judgement; None takes the run's own `label` column. by: what orders the run; None takes `rank`
    where there is one. ties: between equal scores, `docid` puts the lower docid first, as the engine does;
    `trec_eval` does as that program does: scores are rounded to 32 bits, and of equal ones the docid that is
    *higher* as a string (byte by byte) comes first.

    Raises CascadeError for a missing or ill-typed column, nulls, duplicates, NaN.
    """
    by = _ordering(run, by, ties)
    own = judgements is None
    run = _keys(run, "run", by, *(("label",) if own else ()))
    _refuse_duplicates(run, "run")
    if judgements is None:
        judgements = run.select("qid", "docid", "label")
    else:
        judgements = _keys(judgements, "judgements", "label")
        _refuse_duplicates(judgements, "judgements")
        types = aligned(run.clear(), judgements.select("qid", "docid").clear())[0].schema.items()
        run, judgements = (f.with_columns(pl.col(n).cast(t) for n, t in types) for f in (run, judgements))
    judgements = _labels(judgements)

    queries = judgements["qid"].unique().sort()
    number = _numbered(run["qid"], queries)
    unjudged = run["qid"].filter(pl.Series(number < 0)).n_unique()
    if unjudged:
        run, number = run.filter(pl.Series(number >= 0)), number[number >= 0]
    order, sizes = _order(run, number, len(queries), by, ties)
    relevant = judgements.filter(pl.col("label") > 0)
    relevant_query = _numbered(relevant["qid"], queries)

    labels = np.zeros(len(run))  # row by row, 0 where nothing positive is known
    if own:
        labels[:] = run["label"].cast(pl.Float64).fill_null(0).to_numpy()
    else:
        row, pair = _matched(number, run["docid"], relevant_query, relevant["docid"])
        labels[row] = relevant["label"].to_numpy()[pair]
    labels = labels[order]
    at = np.flatnonzero(labels > 0)
    query = number[order[at]]
    return Judged(
        queries,
        relevant_query,
        relevant["label"].to_numpy(),
        query,
        at - starts_of(sizes)[query],
        labels[at],
        int((sizes == 0).sum()),
        unjudged,
    )


def _numbered(qid: pl.Series, queries: pl.Series) -> NDArray[np.int64]:
    """(n,) the index of each row's query in `queries` (unique, ascending), -1 where it is not there."""
    if _small(qid) and _small(queries):
        values, known = _integers(qid), _integers(queries)
        lowest, width = known[0], known[-1] - known[0] + 1
        if width <= 4 * len(values) + 1024:  # a table of all the numbers between them takes little room
            table = np.full(width + 1, -1)  # the last entry is for what lies outside
            table[known - lowest] = np.arange(len(known))
            values = values - lowest
            values[(values < 0) | (values > width)] = width
            return table[values]
    numbered = pl.DataFrame({"qid": queries, "query": np.arange(len(queries))})
    found = pl.DataFrame({"qid": qid}).join(numbered, on="qid", how="left", maintain_order="left")
    return found["query"].fill_null(-1).to_numpy()


def _matched(
    query: NDArray[np.int64], docid: pl.Series, wanted_query: NDArray[np.int64], wanted: pl.Series
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (i, j) of the pairs (query, docid) that are in both, unique in each, in no order.

    One integer joins faster than a pair: small integers are fused, anything else is hashed to 64 bits and compared
    exactly where the hashes agree.
    """
    left, right = pl.DataFrame({"query": query, "docid": docid}), pl.DataFrame({"query": wanted_query, "docid": wanted})
    if _small(docid) and _small(wanted) and len(query) and len(wanted_query):
        ours, theirs = _integers(docid), _integers(wanted)
        lowest = min(ours.min(), theirs.min())
        width = int(max(ours.max(), theirs.max())) - int(lowest) + 1
        if width * (int(max(query.max(), wanted_query.max())) + 1) < _WIDEST:
            return _joined(
                pl.Series(query * width + (ours - lowest)), pl.Series(wanted_query * width + (theirs - lowest))
            )
    i, j = _joined(left.hash_rows(), right.hash_rows())
    agree = (docid[i] == wanted[j]).to_numpy() & (query[i] == wanted_query[j])
    return i[agree], j[agree]


def _joined(left: pl.Series, right: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions (i, j) of all pairs of equal numbers."""
    both = (
        pl.DataFrame({"key": left}).with_row_index("i").join(pl.DataFrame({"key": right}).with_row_index("j"), on="key")
    )
    return _integers(both["i"]), _integers(both["j"])


def _small(column: pl.Series) -> bool:
    """Whether the numbers are integers that may be added without a thought."""
    if not column.dtype.is_integer() or not len(column):
        return False
    lowest, highest = column.min(), column.max()
    return isinstance(lowest, int) and isinstance(highest, int) and max(-lowest, highest) < _WIDEST


def _ordering(run: pl.DataFrame, by: By | None, ties: Ties) -> By:
    if not isinstance(run, pl.DataFrame):
        remedy = "call .collect() first" if isinstance(run, pl.LazyFrame) else "build one with polars.DataFrame"
        raise CascadeError(f"a run must be a polars DataFrame, got {type(run).__name__}; {remedy}")
    if by not in (None, "rank", "score"):
        raise CascadeError(f"by must be 'rank' or 'score', got {by!r}")
    if ties not in ("docid", "trec_eval"):
        raise CascadeError(f"ties must be 'docid' or 'trec_eval', got {ties!r}")
    if by is None:
        if "rank" not in run.columns and "score" not in run.columns:
            raise CascadeError(f"a run needs a column 'rank' or 'score', got {run.columns}; add or rename one")
        by = "rank" if "rank" in run.columns else "score"
    if ties == "trec_eval" and by == "rank":
        raise CascadeError("ties='trec_eval' orders by score, got a run ordered by its ranks; pass by='score' too")
    return by


def _keys(frame: pl.DataFrame, what: str, *needed: str) -> pl.DataFrame:
    """The columns qid, docid and those needed, checked; an order of its own (Categorical) becomes that of strings."""
    if not isinstance(frame, pl.DataFrame):
        raise CascadeError(f"{what} must be a polars DataFrame, got {type(frame).__name__}; build or collect one")
    try:
        frame = canonical(frame, required=("qid", "docid", *(name for name in needed if name == "label")))
        for name in needed:
            if name not in frame.columns:
                raise CascadeError(f"unable to find column {name!r}; valid columns: {frame.columns}. Add it")
    except CascadeError as error:
        raise CascadeError(f"{what}: {error}") from None
    frame = frame.select("qid", "docid", *needed)
    for name in ("qid", "docid"):
        dtype = frame.schema[name]
        if dtype in (pl.Categorical, pl.Enum):
            frame = frame.with_columns(pl.col(name).cast(pl.String))
        elif not (dtype.is_integer() or dtype == pl.String or (dtype == pl.Null and not len(frame))):
            raise CascadeError(f"{what}: column {name!r} must be integer or string, got {dtype}; cast it first")
    for name in needed:
        dtype = frame.schema[name]
        whole = name == "rank"
        if not (dtype.is_integer() if whole else dtype.is_numeric()) and not (dtype == pl.Null and not len(frame)):
            kind = "integer" if whole else "numeric"
            raise CascadeError(f"{what}: column {name!r} must be {kind}, got {dtype}; cast it first")
    for name in ("qid", "docid", *(name for name in needed if name != "label")):
        nulls = frame[name].null_count()
        if nulls:
            raise CascadeError(f"{what}: column {name!r} must have no nulls, got {nulls}; fill or drop those rows")
    return frame


def _labels(frame: pl.DataFrame) -> pl.DataFrame:
    """The judged pairs, with their labels as floats."""
    frame = frame.with_columns(pl.col("label").cast(pl.Float64)).filter(pl.col("label").is_not_null())
    wrong = frame.filter(~pl.col("label").is_finite())
    if len(wrong):
        qid, docid, label = wrong.select("qid", "docid", "label").row(0)
        raise CascadeError(
            f"labels must be finite, got {label} for query {qid!r}, candidate {docid!r}; mend or drop it"
        )
    return frame


def _refuse_duplicates(frame: pl.DataFrame, what: str) -> None:
    """Rows are compared exactly, but only those whose 64-bit hashes agree: much faster than sorting pairs."""
    keys = frame.select("qid", "docid")
    hashes = keys.hash_rows()
    in_order = np.sort(hashes.to_numpy())
    agree = in_order[1:][in_order[1:] == in_order[:-1]]
    if not len(agree):
        return
    suspects = keys.filter(hashes.is_in(pl.Series(np.unique(agree)).implode()))
    twice = suspects.filter(suspects.is_duplicated())
    if len(twice):
        qid, docid = twice.row(0)
        surplus = len(twice) - twice.n_unique()
        raise CascadeError(
            f"{what}: pairs of query and candidate must be unique, got query {qid!r} with {docid!r} more than once "
            f"({surplus} surplus rows in all); drop them with .unique(['qid', 'docid'])"
        )


def _order(
    run: pl.DataFrame, query: NDArray[np.int64], queries: int, by: By, ties: Ties
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) the rows, query by query, best first, and (queries,) rows of each."""
    sizes = np.bincount(query, minlength=queries)
    value = -run["rank"].cast(pl.Float64).to_numpy() if by == "rank" else run["score"].cast(pl.Float64).to_numpy()
    finite = np.isfinite(value)
    if not finite.all():
        at = int(np.argmin(finite))
        raise CascadeError(f"run: scores must be finite, got {value[at]} for candidate {run['docid'][at]!r}; mend it")
    if ties == "trec_eval":
        value = value.astype(np.float32).astype(np.float64)
    order = np.arange(len(query)) if _sorted(query, value) else order_within(query, value)
    ordered = value[order]
    same = ordered[1:] == ordered[:-1]
    edges = starts_of(sizes)[1:-1]
    same[edges[(edges > 0) & (edges < len(order))] - 1] = False  # neighbours of different queries
    if same.any():
        if by == "rank":
            at = int(order[np.argmax(same)])
            raise CascadeError(
                f"run: ranks must be unique within a query, got rank {int(-value[at])} twice, once for candidate "
                f"{run['docid'][at]!r}; number them, or pass by='score'"
            )
        _settle(order, same, run["docid"], ties)
    return order, sizes


def _sorted(query: NDArray[np.int64], value: NDArray[np.float64]) -> bool:
    later = query[1:] > query[:-1]
    return bool((later | ((query[1:] == query[:-1]) & (value[1:] <= value[:-1]))).all())


def _settle(order: NDArray[np.int64], same: NDArray[np.bool_], docid: pl.Series, ties: Ties) -> None:
    """Order the runs of ties (`same[i]`: places i and i + 1 tie) by docid, in place."""
    at = np.flatnonzero(np.append(same, False) | np.insert(same, 0, False))
    group = np.insert(np.cumsum(~same), 0, 0)[at]
    tied = docid[order[at]]
    falling = ties == "trec_eval"
    frame = pl.DataFrame({"group": group, "docid": tied.cast(pl.String) if falling else tied})
    settled = frame.select(pl.arg_sort_by("group", "docid", descending=[False, falling])).to_series()
    order[at] = order[at][_integers(settled)]


def _integers(column: pl.Series) -> NDArray[np.int64]:
    return column.cast(pl.Int64).to_numpy()

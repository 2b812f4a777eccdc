"""Cutoffs that come from a column of the candidate table, one value per query."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.keep import KeepRule, RankedRule, TopKColumn
from cascade.order import starts_of


def check_columns(rules: Sequence[KeepRule], frame: pl.DataFrame) -> None:
    """Refuse a table that lacks a column some rule reads, or holds what is no cutoff there, before any scoring.

    frame: candidates with `qid`. Raises CascadeError naming the column, and the query where there is one.
    """
    for rule in rules:
        for name in rule.columns if isinstance(rule, RankedRule) else ():
            if name not in frame.columns:
                near = difflib.get_close_matches(name, frame.columns, n=1)
                remedy = f"Did you mean {near[0]!r}?" if near else "Add it, or use a fixed cutoff"
                raise CascadeError(f"unable to find column {name!r}; valid columns: {frame.columns}. {remedy}")
            if not (frame.schema[name].is_integer() or (frame.schema[name] == pl.Null)):
                raise CascadeError(f"column {name!r} must hold whole numbers, got {frame.schema[name]}; cast it first")
            _check_values(name, frame, nulls=isinstance(rule, TopKColumn) and rule.otherwise is not None)


def per_query(rules: Sequence[KeepRule], frame: pl.DataFrame, sizes: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """(queries,) of each column that the rules read, 0 for null.

    frame: whole queries in canonical order, checked. sizes: (queries,) candidates of each.
    """
    names = {name for rule in rules if isinstance(rule, RankedRule) for name in rule.columns}
    first = starts_of(sizes)[:-1]
    return {name: frame[name].cast(pl.Int64).fill_null(0).to_numpy()[first] for name in sorted(names)}


def _check_values(name: str, frame: pl.DataFrame, *, nulls: bool) -> None:
    column = pl.col(name)
    wrong = frame.filter((column < 1) | (pl.lit(not nulls) & column.is_null()))
    if len(wrong):
        qid, value = wrong.select("qid", name).row(0)
        remedy = "" if nulls else ", or give the rule `otherwise` for nulls"
        raise CascadeError(
            f"column {name!r} must hold whole numbers of at least 1, got {value} for query {qid!r}; mend it{remedy}"
        )
    values = frame.group_by("qid").agg(column.n_unique().alias("different")).filter(pl.col("different") > 1)
    if len(values):
        qid = values["qid"].min()
        raise CascadeError(
            f"column {name!r} must be the same for all candidates of a query, got {values.height} queries where it "
            f"is not, such as {qid!r}; mend it"
        )

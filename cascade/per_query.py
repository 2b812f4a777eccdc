"""Cutoffs that come from a column of the candidate table, one value per query."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.keep import KeepRule, RankedRule
from cascade.order import starts_of
from cascade.rows import Rows


def check_columns(rules: Sequence[KeepRule], frame: pl.DataFrame) -> None:
    """Refuse a table that lacks a column some rule reads, or holds what is no cutoff there, before any scoring.

    frame: candidates with `qid`. Raises CascadeError naming the column, and the query where there is one.
    """
    for rule in (rule for rule in rules if isinstance(rule, RankedRule)):
        for name in rule.columns:
            if name not in frame.columns:
                near = difflib.get_close_matches(name, frame.columns, n=1)
                remedy = f"Did you mean {near[0]!r}?" if near else "Add it, or use a fixed cutoff"
                raise CascadeError(f"unable to find column {name!r}; valid columns: {frame.columns}. {remedy}")
            if not (frame.schema[name].is_integer() or (frame.schema[name] == pl.Null)):
                raise CascadeError(f"column {name!r} must hold whole numbers, got {frame.schema[name]}; cast it first")
            _check_values(name, frame, rule)


def per_query(rules: Sequence[KeepRule], rows: Rows, sizes: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """(queries,) of each column that the rules read, 0 for null.

    rows: whole queries, one after the other, checked. sizes: (queries,) candidates of each.
    """
    names = {name for rule in rules if isinstance(rule, RankedRule) for name in rule.columns}
    if not names:
        return {}
    first = rows.read(sorted(names), starts_of(sizes)[:-1])
    return {name: first[name].cast(pl.Int64).fill_null(0).to_numpy() for name in first.columns}


def _check_values(name: str, frame: pl.DataFrame, rule: RankedRule) -> None:
    column = pl.col(name)
    queries = frame.group_by("qid").agg(
        candidates=pl.len().cast(pl.Int64),
        lowest=column.min(),
        null=column.null_count() > 0,
        different=column.n_unique() > 1,
    )
    nulls = name in rule.nullable
    least = pl.Series("least", rule.least(name, queries["candidates"].to_numpy()))
    low = (pl.col("lowest") < pl.col("least")).fill_null(False)
    wrong = queries.with_columns(least).filter(low | pl.lit(not nulls) & pl.col("null")).sort("qid")
    if len(wrong):
        qid, count, lowest, wanted = wrong.select("qid", "candidates", "lowest", "least").row(0)
        value = lowest if lowest is not None and lowest < wanted else None
        remedy = "" if nulls else ", or give the rule `otherwise` for nulls"
        reason = "" if wanted == 1 else f" for {count} candidates"
        raise CascadeError(
            f"column {name!r} must hold whole numbers of at least {wanted:.15g}{reason}, got {value} for query "
            f"{qid!r}; mend it{remedy}"
        )
    differing = queries.filter("different")
    if len(differing):
        raise CascadeError(
            f"column {name!r} must be the same for all candidates of a query, got {differing.height} queries where it "
            f"is not, such as {differing['qid'].min()!r}; mend it"
        )

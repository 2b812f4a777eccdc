"""What is relevant: a set of (qid, docid) pairs, judged apart from what happened to be a candidate."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.frames import canonical


def relevant_pairs(frame: pl.DataFrame, minimum: float = 1) -> pl.DataFrame:
    """The pairs (qid, docid) whose label is at least `minimum`; a null label (not judged) is not relevant.

    frame: qrels or candidates with `qid`, `docid`, `label` (or their aliases). Take qrels where there are
    any: a relevant item that was never a candidate then counts as missed, as it should.
    """
    frame = canonical(frame, required=("qid", "docid", "label"))
    return frame.filter(pl.col("label") >= minimum).select("qid", "docid").unique(maintain_order=True)


def aligned(frame: pl.DataFrame, relevant: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The keys (qid, docid) of the n rows of `frame`, and the unique relevant pairs, with the same types.

    relevant: columns qid and docid (or their aliases). A pair is relevant by being listed, so a table that
    still has its `label` column is refused: see `relevant_pairs`.
    """
    relevant = canonical(relevant, required=("qid", "docid"))
    if "label" in relevant.columns:
        raise CascadeError(
            "relevant must list the relevant pairs alone, got a table with 'label'; use relevant_pairs(table)"
        )
    keys, pairs = frame.select("qid", "docid"), relevant.select("qid", "docid").unique(maintain_order=True)
    types = [(keys.schema[name], pairs.schema[name]) for name in ("qid", "docid")]
    like = all(pl.Null in pair or pair[0].is_integer() == pair[1].is_integer() for pair in types)
    common = pl.concat([keys.clear(), pairs.clear()], how="vertical_relaxed").schema if like else None
    if common is None or any(dtype.is_float() for dtype in common.values()):
        raise CascadeError(
            f"relevant pairs must have the types of the candidates' keys, got {pairs.schema} for "
            f"{keys.schema}; cast them"
        )
    return keys.cast(common), pairs.cast(common)


def is_relevant(frame: pl.DataFrame, relevant: pl.DataFrame) -> NDArray[np.bool_]:
    """(n,) whether each row of `frame` is among the relevant pairs, see `aligned`."""
    keys, pairs = aligned(frame, relevant)
    marked = keys.join(pairs.with_columns(hit=True), on=["qid", "docid"], how="left", maintain_order="left")
    return marked["hit"].fill_null(False).to_numpy()


def count_relevant(relevant: pl.DataFrame) -> int:
    """How many pairs are relevant, candidates or not."""
    return canonical(relevant, required=("qid", "docid")).select("qid", "docid").n_unique()

"""The engine against PyTerrier pipelines over the same given scores: `python -m bench.pyterrier`.

PyTerrier is not among this project's dependencies: `pip install python-terrier` beside it first. Three stages with
cutoffs, written in the three ways its documentation has for scores of one's own. Each pipeline returns the best 10 of a
query, and so does the engine, and besides every candidate, with every stage's score. The engine is told which column
a stage reads, as the pipeline's functions read one, and that the order of candidates makes no difference to it.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from statistics import median
from time import perf_counter
from typing import Any

import polars as pl

from bench.engine import CUTOFFS, candidates, ours
from bench.timing import side_by_side
from cascade import prepare


def pipelines(pt: Any) -> dict[str, tuple[Callable[[int], Any], int]]:
    """How a stage's scores are assigned, and how often each way is timed."""

    def row_by_row(stage: int) -> Any:
        return pt.apply.doc_score(lambda row: row[f"s{stage}"])

    def in_batches(stage: int) -> Any:
        return pt.apply.doc_score(lambda frame: frame[f"s{stage}"], batch_size=65_536)

    def whole_columns(stage: int) -> Any:
        return pt.apply.generic(lambda frame: pt.model.add_ranks(frame.assign(score=frame[f"s{stage}"])))

    return {"row by row": (row_by_row, 3), "in batches": (in_batches, 5), "whole columns": (whole_columns, 7)}


def alone(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = perf_counter()
    function()
    return perf_counter() - began


def main() -> None:
    """Print a line for each way, kind of ids and result; the ratio is PyTerrier's seconds over ours.

    Raises:
        SystemExit: without PyTerrier, or when the two keep different candidates.
    """
    try:
        pt: Any = import_module("pyterrier")
    except ImportError:
        sys.exit("bench.pyterrier needs PyTerrier; run: pip install python-terrier")
    numbered = candidates()
    named = numbered.with_columns(pl.col("qid", "docid").cast(pl.String))
    theirs = named.rename({"docid": "docno"}).to_pandas()
    for ids, frame in (("integer ids", numbered), ("string ids", named)):
        seconds = [alone(partial(prepare, frame, any_order=True)) for _ in range(9)]
        print(f"checking the keys alone, {ids}: engine {median(seconds):.3f} s", flush=True)
    kept = set(ours(named).filter("kept").select("qid", "docid").iter_rows())
    for name, (stage, repeats) in pipelines(pt).items():
        first, second, third = ((stage(k) % cutoff) for k, cutoff in enumerate(CUTOFFS))
        pipeline = first >> second >> third
        found = pipeline(theirs)
        if set(zip(found["qid"], found["docno"], strict=True)) != kept:
            sys.exit(f"{name}: PyTerrier and the engine keep different candidates")
        for ids, frame in (("integer ids", numbered), ("string ids", named)):
            for what, only_kept in (("the best 10", True), ("everybody", False)):
                engine, rival = partial(ours, frame, only_kept), partial(pipeline, theirs)
                timed = side_by_side(name, engine, rival, None, repeats)
                print(
                    f"{name}, {ids}, {what}: engine {timed['ours_seconds']:.3f} s, PyTerrier "
                    f"{timed['rival_seconds']:.3f} s, {timed['rival_seconds'] / timed['ours_seconds']:.1f} times",
                    flush=True,
                )


if __name__ == "__main__":
    main()

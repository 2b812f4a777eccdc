"""What each step from rate to rate costs a ranker, in FLOPs or in milliseconds of this machine."""

from statistics import median
from time import perf_counter

import polars as pl
import torch
from torch import Tensor

from cascade import CascadeError, StageCosts
from simulations.tables import columns_of
from slicing import IncrementalScorer, Ranker
from slicing.incremental import Reuse
from slicing.progress import Progress, open_task

SAMPLE_ROWS = 16_384
"""Candidates on which milliseconds are measured, or fewer where there are fewer."""


def reuse_of(ranker: Ranker) -> Reuse:
    """Nested rankers reuse where that is the cheaper way; a dense one would only approximate, so it recomputes."""
    return "auto" if ranker.network.connectivity == "nested" else "never"


def flop_costs(ranker: Ranker) -> StageCosts:
    """Multiply-adds per candidate, as a run spends them: asked of a session, which knows when it recomputes."""
    inputs = _nothing(ranker)
    scorer = IncrementalScorer(ranker.network, reuse=reuse_of(ranker))
    rates = ranker.rates

    def spent(*path: float) -> float:
        session = scorer.start(*inputs)
        for rate in path:
            session.widen(rate)
        return float(session.flops)

    scratch = tuple(spent(rate) for rate in rates)
    steps = tuple(tuple(spent(start, to) if to > start else 0.0 for to in rates) for start in rates)
    return StageCosts(scratch, steps, "FLOPs")


def measured_costs(
    ranker: Ranker, frame: pl.DataFrame, *, repeats: int = 7, progress: Progress | None = None
) -> StageCosts:
    """Milliseconds per candidate on this machine, now: medians of `repeats` runs after one that warms up.

    From scratch: features transformed and scored. On top of an earlier rate: half of the candidates chosen and
    widened, per candidate chosen. Columns are read and results written in any plan, so that is left out.

    frame: candidates with the ranker's columns, at least 2 rows; the first `SAMPLE_ROWS` are used.
    """
    if len(frame) < 2:
        raise CascadeError(f"measuring needs at least 2 candidates, got {len(frame)}; give a larger table")
    columns = columns_of(frame.head(SAMPLE_ROWS), ranker.columns)
    count = min(len(frame), SAMPLE_ROWS)
    scorer = IncrementalScorer(ranker.network, reuse=reuse_of(ranker))
    half = torch.arange(0, count, 2)
    rates = ranker.rates
    inputs = ranker.inputs(columns)

    def from_scratch(rate: float) -> float:
        began = perf_counter()
        scorer.start(*ranker.inputs(columns)).widen(rate)
        return (perf_counter() - began) / count

    def on_top(start: float, to: float) -> float:
        session = scorer.start(*inputs)
        session.widen(start)
        began = perf_counter()
        session.select(half)
        session.widen(to)
        return (perf_counter() - began) / len(half)

    total = len(rates) * (len(rates) + 1) // 2
    with open_task(progress, "timing", total, "steps") as task:

        def typical(seconds: list[float]) -> float:
            task.advance()
            return 1e3 * median(seconds[1:])

        turns = range(repeats + 1)
        scratch = tuple(typical([from_scratch(rate) for _ in turns]) for rate in rates)
        steps = tuple(
            tuple(typical([on_top(start, to) for _ in turns]) if to > start else 0.0 for to in rates) for start in rates
        )
    return StageCosts(scratch, steps, "ms")


def _nothing(ranker: Ranker) -> tuple[Tensor, ...]:
    """Two candidates of zeros, as the network takes them."""
    numeric = 0 if ranker.transform is None else 1
    return tuple(
        torch.zeros(2, *shape) if i < numeric else torch.zeros(2, *shape, dtype=torch.int64)
        for i, shape in enumerate(ranker.shapes)
    )

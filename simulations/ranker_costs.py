"""What each step from rate to rate costs a ranker: FLOPs, milliseconds of this machine, or the features' cost."""

from collections.abc import Sequence
from statistics import median
from time import perf_counter

import numpy as np
import polars as pl
import torch
from torch import Tensor

from cascade import CascadeError, StageCosts
from simulations.tables import RankerScorer
from slicing import IncrementalScorer, Ranker, cost
from slicing.incremental import begin_at
from slicing.progress import Progress, open_task
from slicing.reuse import Reuse

SAMPLE_ROWS = 16_384
"""Candidates on which milliseconds are measured, or fewer where there are fewer."""


def flop_costs(ranker: Ranker, per_query: float = 1.0, reuse: Reuse = "auto") -> StageCosts:
    """Multiply-adds per candidate, as a run spends them: asked of a session, which knows when it recomputes.

    So a step to where a segment begins costs a whole pass but for what outlasts the segment, such as a trunk.

    per_query: mean candidates a query, over which what runs once per query is shared out, at every stage alike.
    reuse: as `slicing.IncrementalScorer` takes it.
    """
    count = max(1, round(per_query))
    inputs = _nothing(ranker, count)
    queries = torch.zeros(count, dtype=torch.int64) if ranker.query else None
    scorer = IncrementalScorer(ranker.network, reuse=reuse)
    rates = ranker.rates

    def spent(*path: float) -> float:
        session = scorer.start(*inputs, queries=queries)
        for rate in path:
            session.widen(rate)
        return float(session.flops)

    scratch = tuple(spent(rate) for rate in rates)
    steps = tuple(tuple(spent(start, to) if to > start else 0.0 for to in rates) for start in rates)
    return StageCosts(scratch, steps, "FLOPs")


def path_flops(ranker: Ranker, stages: Sequence[int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Multiply-adds of stages run in this order: per candidate, and once per query of what all its candidates share.

    Whether a step takes over what was computed may depend on the queries per candidate at hand. Where it does, both
    numbers are the larger of the two ways', so that nothing costs more; everywhere else they are what a session spends
    on a query whose candidates lie in one of its chunks.
    """
    shapes = ranker.shapes
    costs = cost(ranker.network, shapes if len(shapes) > 1 else shapes[0])
    own, once = [], []
    for before, to in zip((-1, *stages), stages, strict=False):
        # The two ways' costs are linear in the share, so where both of its ends agree everything between does.
        starts = {begin_at(costs, before, to, share) for share in ((0.0, 1.0) if ranker.query else (1.0,))}
        shared = [costs.query_flops(to, start) if ranker.query else 0 for start in starts]
        once.append(float(max(shared)))
        own.append(float(max(costs.flops(to, start) - part for start, part in zip(starts, shared, strict=True))))
    return tuple(own), tuple(once)


def fetching_costs(ranker: Ranker) -> StageCosts:
    """What fetching a candidate's features costs: of a later rate, what the earlier one has not read.

    Raises:
        CascadeError: when the ranker's features cost nothing.
    """
    each = ranker.feature_costs
    if not any(each):
        raise CascadeError("the model's features cost nothing, so they can't be planned with; train it with --tiers")
    return StageCosts(each, tuple(tuple(max(0.0, to - start) for to in each) for start in each), "feature cost")


def measured_costs(
    ranker: Ranker, frame: pl.DataFrame, *, repeats: int = 7, progress: Progress | None = None
) -> StageCosts:
    """Milliseconds per candidate on this machine, now: medians of `repeats` runs after one that warms up.

    From scratch: columns taken from the table, features transformed, and scored. On top of an earlier rate: half of
    the candidates chosen, what the later rate reads more taken and transformed for them, and widened, per candidate
    chosen. Tables are read and results written in any plan, so that is left out.

    frame: candidates with the ranker's columns, at least 2 rows; the first `SAMPLE_ROWS` are used.
    """
    if len(frame) < 2:
        raise CascadeError(f"measuring needs at least 2 candidates, got {len(frame)}; give a larger table")
    sample = frame.head(SAMPLE_ROWS)
    scorer = RankerScorer(ranker)
    half = np.arange(0, len(sample), 2)
    rates = ranker.rates
    stages = range(len(rates))

    def from_scratch(stage: int) -> float:
        began = perf_counter()
        scorer.start(sample).score(stage)
        return (perf_counter() - began) / len(sample)

    def on_top(start: int, to: int) -> float:
        session = scorer.start(sample)
        session.score(start)
        began = perf_counter()
        session.keep(half)
        session.score(to)
        return (perf_counter() - began) / len(half)

    total = len(rates) * (len(rates) + 1) // 2
    with open_task(progress, "timing", total, "steps") as task:

        def typical(seconds: list[float]) -> float:
            task.advance()
            return 1e3 * median(seconds[1:])

        turns = range(repeats + 1)
        scratch = tuple(typical([from_scratch(stage) for _ in turns]) for stage in stages)
        steps = tuple(
            tuple(typical([on_top(start, to) for _ in turns]) if to > start else 0.0 for to in stages)
            for start in stages
        )
    return StageCosts(scratch, steps, "ms")


def _nothing(ranker: Ranker, count: int) -> tuple[Tensor, ...]:
    """Candidates of zeros of one query, as a session takes them."""
    return tuple(
        torch.zeros(1 if source.of_query else count, *shape, dtype=torch.int64 if source.categorical else torch.float32)
        for source, shape in zip(ranker.sources, ranker.shapes, strict=True)
    )

"""How long a stage takes for n candidates, measured: what policies choose a stage by."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from time import perf_counter

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.scorer import Scorer

FRESH = -1
"""The start of a step that begins with nothing scored."""

COLUMNS = ("start", "stage", "candidates", "seconds")


class LatencyTable:
    """Seconds of every step of a scorer, by the number of candidates: fresh at a stage, or from one to a later one.

    Between the measured sizes the time is interpolated, beyond the largest it grows in proportion. A larger batch is
    never quicker: where the measurements say so, the smaller one's time holds.

    Args:
        sizes: rising numbers of candidates, the first 1.
        seconds: for each step (start, stage), start `FRESH` or an earlier stage, a time above 0 for each size.

    Raises:
        CascadeError: for sizes that don't rise from 1, steps of another length, a missing step, a time not above 0.
    """

    def __init__(self, sizes: Sequence[int], seconds: Mapping[tuple[int, int], Sequence[float]]) -> None:
        if not sizes or sizes[0] != 1 or any(a >= b for a, b in pairwise(sizes)):
            raise CascadeError(f"the sizes of a latency table must rise from 1, got {list(sizes)}; measure these")
        self.sizes = tuple(int(size) for size in sizes)
        self.stages = 1 + max((stage for _, stage in seconds), default=-1)
        self._seconds: dict[tuple[int, int], NDArray[np.float64]] = {}
        for step in steps(self.stages):
            times = np.asarray(seconds.get(step, ()), dtype=np.float64)
            if len(times) != len(self.sizes) or not (np.isfinite(times) & (times > 0)).all():
                raise CascadeError(
                    f"step {step} of a latency table must have a time above 0 for each of {len(self.sizes)} sizes, "
                    f"got {times.tolist()}; measure it"
                )
            self._seconds[step] = np.maximum.accumulate(times)
        if not self._seconds:
            raise CascadeError("a latency table needs at least one stage, got none; measure a scorer")

    def seconds(self, stage: int, n: int, start: int = FRESH) -> float:
        """Seconds for n candidates to reach `stage` from `start`."""
        times = self._seconds[start, stage]
        if n <= 0:
            return 0.0
        if n >= self.sizes[-1]:
            return float(times[-1] * n / self.sizes[-1])
        return float(np.interp(n, self.sizes, times))

    def widest(self, n: int, left: float, start: int = FRESH) -> int | None:
        """The last stage after `start` that n candidates reach in `left` seconds; None when there is none."""
        fitting = (s for s in range(self.stages - 1, start, -1) if self.seconds(s, n, start) <= left)
        return next(fitting, None)

    def most(self, stage: int, left: float, limit: int) -> int:
        """The most candidates, up to `limit`, that `stage` scores from nothing in `left` seconds."""
        return max(0, bisect_right(range(limit + 1), left, key=lambda n: self.seconds(stage, n)) - 1)

    def with_headroom(self, share: float) -> LatencyTable:
        """The table of a scorer that much slower: what a policy should plan by where the clock is a real one.

        A batch that is planned to end at the last moment ends after it whenever the machine is a little slower than it
        was when measured.

        Args:
            share: at least 0; 0.25 lets every step take 1.25 times as long as measured.

        Raises:
            CascadeError: for a share out of range.
        """
        check_headroom(share)
        return LatencyTable(self.sizes, {step: list((1 + share) * times) for step, times in self._seconds.items()})

    def frame(self) -> pl.DataFrame:
        """A row per step and size: start (`FRESH` is -1), stage, candidates, seconds."""
        rows = [
            (*step, size, float(time))
            for step, times in self._seconds.items()
            for size, time in zip(self.sizes, times, strict=True)
        ]
        return pl.DataFrame(rows, schema=list(COLUMNS), orient="row")

    @classmethod
    def of_frame(cls, frame: pl.DataFrame) -> LatencyTable:
        """The table that `frame` wrote."""
        missing = [name for name in COLUMNS if name not in frame.columns]
        if missing:
            raise CascadeError(f"a latency table has the columns {', '.join(COLUMNS)}, got none named {missing[0]!r}")
        seconds: dict[tuple[int, int], list[float]] = {}
        ordered = frame.sort("start", "stage", "candidates")
        for start, stage, _, time in ordered.select(COLUMNS).iter_rows():
            seconds.setdefault((start, stage), []).append(time)
        return cls(ordered["candidates"].unique().sort().to_list(), seconds)


def check_headroom(share: float) -> None:
    """Refuse a share that :meth:`LatencyTable.with_headroom` can't take.

    Raises:
        CascadeError: for one that is not a finite number of at least 0.
    """
    if not (math.isfinite(share) and share >= 0):
        raise CascadeError(f"headroom must be a share of at least 0, got {share}; try 0.25")


def steps(stages: int) -> list[tuple[int, int]]:
    """Every (start, stage) of a scorer: each stage fresh, and each pair of an earlier and a later one."""
    return [(start, stage) for stage in range(stages) for start in range(FRESH, stage)]


def measure_latency(
    scorer: Scorer,
    candidates: Callable[[int], pl.DataFrame],
    sizes: Sequence[int],
    *,
    repeats: int = 5,
    clock: Callable[[], float] = perf_counter,
    done: Callable[[], None] = lambda: None,
) -> LatencyTable:
    """Time every step of a scorer at every size; the medians of `repeats` rounds.

    Args:
        scorer: any scorer.
        candidates: a frame of n candidates.
        sizes: rising, the first 1.
        repeats: rounds over all steps, so that a slow spell of the machine hits all of them; a round more comes first
            and does not count.
        clock: seconds.
        done: called after each step of each round.
    """
    if repeats < 1:
        raise CascadeError(f"repeats must be at least 1, got {repeats}; try 5")
    frames = [candidates(size) for size in sizes]
    every = steps(len(scorer.stages))
    times: dict[tuple[int, int], list[list[float]]] = {step: [[] for _ in frames] for step in every}
    for number in range(repeats + 1):
        for start, stage in every:
            for frame, kept in zip(frames, times[start, stage], strict=True):
                taken = _step(scorer, frame, start, stage, clock)
                if number:
                    kept.append(taken)
            done()
    return LatencyTable(sizes, {step: [median(each) for each in kept] for step, kept in times.items()})


def _step(scorer: Scorer, frame: pl.DataFrame, start: int, stage: int, clock: Callable[[], float]) -> float:
    begun = clock()
    session = scorer.start(frame)
    if start != FRESH:
        session.score(start)
        begun = clock()
    session.score(stage)
    return clock() - begun

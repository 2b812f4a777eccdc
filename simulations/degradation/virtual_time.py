"""Serving a trace in virtual time: the batcher's rules, with measured times instead of a network."""

import numpy as np
from numpy.typing import NDArray

from cascade import LatencyTable, Policy
from cascade.latency import FRESH
from cascade.policies import admitted, score_in_time
from cascade.ticks import Ticks
from simulations.degradation.served import SHED, Served


class _Scoring:
    """A batch being scored: each stage takes the table's time for its step."""

    def __init__(self, table: LatencyTable, n: int, begun: float) -> None:
        self._table, self._n, self._at, self.time = table, n, FRESH, begun

    def now(self) -> float:
        return self.time

    def score(self, stage: int) -> None:
        self.time += self._table.seconds(stage, self._n, self._at)
        self._at = stage


def serve_virtually(
    arrived: NDArray[np.float64],
    images: NDArray[np.int64],
    policy: Policy,
    table: LatencyTable,
    latency: float,
    right: NDArray[np.bool_],
) -> Served:
    """Serve requests by the rules of `cascade.Batcher`, one batch at a time; to deliver an answer takes no time.

    Args:
        arrived: rising times of arrival, in seconds.
        images: (requests, candidates) which images each request asks for.
        policy: chooses the stages.
        table: what each step takes.
        latency: T in seconds.
        right: (stages, images) whether a stage classifies an image correctly.
    """
    ticks, (count, candidates) = Ticks(0.0, latency / 2), images.shape
    begun, finished = np.full(count, np.nan), np.full(count, np.nan)
    stages, scored = np.full(count, SHED, dtype=np.int64), np.zeros(count, dtype=np.int64)
    free, first = 0.0, 0
    while first < count:
        start = max(ticks.at_or_after(arrived[first]), arrived[first], free)
        last = int(np.searchsorted(arrived, start, side="right"))
        until = ticks.after(start)
        scored[first:last] = admitted(policy, [candidates] * (last - first), until - start)
        rows = first + np.flatnonzero(scored[first:last])
        n = int(scored[rows].sum())
        if n:
            scoring = _Scoring(table, n, start)
            _, stages[rows] = score_in_time(policy, n, scoring.score, now=scoring.now, begun=start, until=until)
            begun[rows], finished[rows] = start, scoring.time
            free = scoring.time
        first = last
    hits = right[stages[:, np.newaxis], images] & (np.arange(candidates) < scored[:, np.newaxis])
    return Served(arrived, begun, finished, finished, stages, scored / candidates, hits.sum(1) / candidates)

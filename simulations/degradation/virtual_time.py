"""Serving a trace in virtual time: the batcher's rules, with measured times instead of a network."""

import numpy as np
from numpy.typing import NDArray

from cascade import LatencyTable, Policy
from cascade.batcher import admitted
from cascade.latency import FRESH
from cascade.policies import score_in_time
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
    candidates: int,
    policy: Policy,
    table: LatencyTable,
    latency: float,
    right: NDArray[np.float64],
) -> Served:
    """Serve requests by the rules of `cascade.Batcher`, one batch at a time; to deliver an answer takes no time.

    Args:
        arrived: rising times of arrival, in seconds.
        candidates: of each request.
        policy: chooses the stages.
        table: what each step takes.
        latency: T in seconds.
        right: (stages, requests) the share of its candidates that a stage gets right.
    """
    ticks, count = Ticks(0.0, latency / 2), len(arrived)
    begun, finished = np.full(count, np.nan), np.full(count, np.nan)
    stages = np.full(count, SHED, dtype=np.int64)
    free, first = 0.0, 0
    while first < count:
        start = max(ticks.at_or_after(arrived[first]), arrived[first], free)
        last = int(np.searchsorted(arrived, start, side="right"))
        until, n = ticks.after(start), (last - first) * candidates
        taken = admitted([candidates] * (last - first), policy.admit(n, until - start))
        if taken:
            rows, scoring = slice(first, first + taken), _Scoring(table, taken * candidates, start)
            _, stages[rows] = score_in_time(
                policy, taken * candidates, scoring.score, now=scoring.now, begun=start, until=until
            )
            begun[rows], finished[rows] = start, scoring.time
            free = scoring.time
        first = last
    chosen = right[stages, np.arange(count)] if count else np.empty(0)
    return Served(arrived, begun, finished, finished, stages, np.where(stages == SHED, 0.0, chosen))

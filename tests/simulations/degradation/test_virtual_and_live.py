"""The batcher itself, with threads, against virtual time: the same requests, table and policy give the same."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from queue import Queue

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import Always, Answer, Anytime, Batcher, DropExcess, LatencyRule, LatencyTable, Policy, StageInfo
from cascade.latency import FRESH, steps
from cascade.scorer import StageScores
from simulations.degradation.live import served_live
from simulations.degradation.virtual_time import serve_virtually

UNIT = 1 / 1024  # of a second: whole units are exact in floating point
HALF = 32  # T/2 in units
COSTS = (1, 4, 9)  # units a candidate takes at each stage; widening costs the difference
TABLE = LatencyTable(
    (1,),
    {(start, stage): [(COSTS[stage] - (COSTS[start] if start != FRESH else 0)) * UNIT] for start, stage in steps(3)},
)
LABELS = np.array([0, 1, 0, 0, 1, 1, 0])
CLASSES = np.random.default_rng(0).integers(2, size=(3, 7))  # what each stage takes an image for
PATIENCE = 20  # seconds after which a test gives up; none waits for them


class Simulation:
    """A batcher's clock and scorer in one: time goes on while it waits for a tick and while it scores.

    Whenever the batcher's thread looks at the clock, the requests that have come by then are submitted, each at its
    own time; the test submits those alone that find the batcher idle.
    """

    def __init__(self, arrived: Sequence[float], images: np.ndarray, policy: Policy) -> None:
        self.time, self.arrived, self.images = 0.0, arrived, images
        self.futures: list[Future[Answer]] = []
        self.delivered = np.full(len(arrived), np.nan)
        self.stages, self.params_held = [StageInfo(None, 0, 0.0)] * 3, 0
        self._called: Queue[int] = Queue()
        self._test, self._pumping, called = threading.current_thread(), False, 0
        with Batcher(self, policy, 2 * HALF * UNIT, {"docid": pl.Int64}, clock=self) as self.batcher:
            while len(self.futures) < len(arrived):
                self.time = arrived[len(self.futures)]
                self._submit()
                while called < len(self.futures):  # the batcher is idle once every callback has been called
                    called += self._called.get(timeout=PATIENCE)

    def _submit(self) -> None:
        number = len(self.futures)
        future = self.batcher.submit(pl.DataFrame({"docid": self.images[number]}))
        self.futures.append(future)
        future.add_done_callback(lambda _: self._stamp(number))

    def _stamp(self, number: int) -> None:
        self.delivered[number] = self.time
        self._called.put(1)

    def now(self) -> float:
        if threading.current_thread() is not self._test and not self._pumping:
            self._pumping, present = True, self.time
            while len(self.futures) < len(self.arrived) and self.arrived[len(self.futures)] <= present:
                self.time = self.arrived[len(self.futures)]
                self._submit()
            self._pumping, self.time = False, present
        return self.time

    def wait(self, condition: threading.Condition, until: float) -> None:
        self.time = until

    def start(self, candidates: pl.DataFrame) -> "Session":
        return Session(self, candidates["docid"].to_numpy())


class Session:
    """Takes the table's time for each step."""

    def __init__(self, simulation: Simulation, images: np.ndarray) -> None:
        self._simulation, self._images, self._at = simulation, images, FRESH

    def score(self, stage: int) -> StageScores:
        self._simulation.time += TABLE.seconds(stage, len(self._images), self._at)
        self._at = stage
        return StageScores(np.eye(2)[CLASSES[stage, self._images]], 0.0, "fresh")

    def keep(self, survivors: np.ndarray) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("policy", [Always(2), DropExcess(TABLE, 2), LatencyRule(TABLE), Anytime(TABLE)])
@given(arrivals=st.lists(st.integers(0, 300), max_size=40).map(sorted), size=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_the_batcher_does_what_virtual_time_says(policy: Policy, arrivals: list[int], size: int) -> None:
    arrived = np.array(arrivals, dtype=float) * UNIT
    images = np.arange(len(arrivals) * size).reshape(-1, size) % 7
    live = Simulation(arrived.tolist(), images, policy)
    found = served_live(arrived, live.futures, live.delivered, LABELS[images])
    expected = serve_virtually(arrived, images, policy, TABLE, 2 * HALF * UNIT, CLASSES == LABELS)
    for name, values in vars(expected).items():
        assert np.array_equal(vars(found)[name], values, equal_nan=True), name


def test_dropping_written_out() -> None:
    """T/2 is 32 units and a candidate takes 9: of two requests of 4 at one tick 3 candidates are scored, 2 and 1."""
    arrived, images = np.array([0.5, 0.75]) * HALF * UNIT, np.array([[0, 1, 2, 3], [4, 5, 6, 0]])
    live = Simulation(arrived.tolist(), images, DropExcess(TABLE, 2))
    served = served_live(arrived, live.futures, live.delivered, LABELS[images])
    hits = CLASSES[2] == LABELS
    assert served.scored.tolist() == [2 / 4, 1 / 4]
    assert served.right.tolist() == [hits[:2].sum() / 4, hits[4] / 4]
    assert served.finished.tolist() == [(HALF + 27) * UNIT] * 2

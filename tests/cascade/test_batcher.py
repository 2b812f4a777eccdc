"""The batcher in time that the test moves: ticks, bursts, slow and failing scorers, cancellation, shedding, closing."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import Queue
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import (
    Always,
    Answer,
    Batcher,
    CallableScorer,
    CascadeError,
    ClosedError,
    OverloadError,
    Policy,
    StageInfo,
)

SCHEMA = {"docid": pl.Int64}
PATIENCE = 20  # seconds after which a test gives up; none waits for them


class ManualClock:
    """Time stands still until the test moves it."""

    def __init__(self) -> None:
        self.time = 0.0
        self._lock = threading.Lock()
        self._waiting: set[threading.Condition] = set()
        self.awaited: Queue[float] = Queue()

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, until: float) -> None:
        self.awaited.put(until)
        with self._lock:
            self._waiting.add(condition)
            if self.time >= until:
                return
        condition.wait(PATIENCE)

    def move_to(self, time: float) -> None:
        with self._lock:
            self.time = time
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()


def frame(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"docid": ids}, schema=SCHEMA)


def scorer(function: Callable[[pl.DataFrame], Any] | None = None, stages: int = 1) -> CallableScorer:
    """Every stage scores a candidate with its id, unless told otherwise."""
    chosen = function or (lambda candidates: candidates["docid"].to_numpy().astype(float))
    return CallableScorer([chosen] * stages, [StageInfo(None, 0, 0.0)] * stages)


def answers(futures: Sequence[Future[Answer]]) -> list[Answer]:
    return [future.result(PATIENCE) for future in futures]


def test_requests_wait_for_the_next_tick_and_become_one_batch() -> None:
    clock = ManualClock()
    with Batcher(scorer(), Always(0), 2.0, SCHEMA, clock=clock) as batcher:
        clock.move_to(0.25)
        futures = [batcher.submit(frame(1))]
        assert clock.awaited.get(timeout=PATIENCE) == 1.0  # it waits, and for the tick
        clock.move_to(0.75)
        futures.append(batcher.submit(frame(2, 3)))
        clock.move_to(1.0)
        one, two = answers(futures)
        clock.move_to(3.5)
        later = batcher.submit(frame(4))
        clock.move_to(4.5)
        three = later.result(PATIENCE)
    assert (one.submitted, one.begun, one.values.tolist()) == (0.25, 1.0, [1])
    assert (two.submitted, two.begun, two.values.tolist()) == (0.75, 1.0, [2, 3])
    assert three.begun == 4.5  # the clock passed the tick at 4 when it moved


class Recorder(Policy):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, float]] = []

    def first(self, n: int, left: float) -> int:
        self.asked.append((n, left))
        return 0


def test_after_a_slow_batch_the_next_begins_at_once_with_the_time_up_to_the_next_tick() -> None:
    """Ticks at 0, 1, 2, ...: the batch of tick 1 takes 1.75, so that what came meanwhile begins at 2.75."""
    clock, policy = ManualClock(), Recorder()
    scoring, go_on = threading.Event(), threading.Event()

    def slow(candidates: pl.DataFrame) -> np.ndarray:
        if candidates["docid"][0] == 1:
            scoring.set()
            assert go_on.wait(PATIENCE)
        return np.zeros(len(candidates))

    with Batcher(scorer(slow), policy, 2.0, SCHEMA, clock=clock) as batcher:
        clock.move_to(0.5)
        first = batcher.submit(frame(1))
        clock.move_to(1.0)
        assert scoring.wait(PATIENCE)
        clock.move_to(1.5)
        waiting = [batcher.submit(frame(2)), batcher.submit(frame(3, 4))]
        clock.move_to(2.75)
        go_on.set()
        one, *two = answers([first, *waiting])
    assert (one.begun, one.finished) == (1.0, 2.75)
    assert [each.begun for each in two] == [2.75, 2.75]
    assert policy.asked == [(1, 1.0), (3, 0.25)]


def test_a_burst_from_many_threads_is_answered_once_each_with_its_own_scores() -> None:
    clock = ManualClock()
    seen: list[int] = []

    def score(candidates: pl.DataFrame) -> np.ndarray:
        seen.extend(candidates["docid"])
        return candidates["docid"].to_numpy() * 2.0

    with Batcher(scorer(score), Always(0), 1.0, SCHEMA, clock=clock) as batcher, ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda k: batcher.submit(frame(2 * k, 2 * k + 1)), range(500)))
        clock.move_to(10.0)
        got = answers(futures)
    assert [each.values.tolist() for each in got] == [[4 * k, 4 * k + 2] for k in range(500)]
    assert sorted(seen) == list(range(1000))


class Some(Always):
    """Admits so many candidates of each request, as far as it has them."""

    def __init__(self, *admits: int) -> None:
        super().__init__(0)
        self.admits = admits

    def admit(self, sizes: Sequence[int], left: float) -> Sequence[int]:
        return [min(size, admit) for size, admit in zip(sizes, self.admits, strict=True)]


@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.integers(0, 4)), min_size=1))
@settings(max_examples=30, deadline=None)
def test_every_request_is_answered_as_far_as_admitted_and_otherwise_shed(requests: list[tuple[list[int], int]]) -> None:
    clock = ManualClock()
    with Batcher(scorer(), Some(*(admit for _, admit in requests)), 2.0, SCHEMA, clock=clock) as batcher:
        clock.move_to(0.5)
        futures = [batcher.submit(frame(*ids)) for ids, _ in requests]
        clock.move_to(1.0)
    for future, (ids, admit) in zip(futures, requests, strict=True):
        if admit:
            assert future.result(PATIENCE).values.tolist() == ids[:admit]
        else:
            assert isinstance(future.exception(PATIENCE), OverloadError)


def test_what_a_policy_can_not_admit_is_an_error_of_its_batch() -> None:
    class Wrong(Always):
        def admit(self, sizes: Sequence[int], left: float) -> Sequence[int]:
            return {1: [2], 2: [-1], 3: [1, 1]}[sizes[0]]

    with Batcher(scorer(), Wrong(0), 0.01, SCHEMA) as batcher:
        for ids, said in (
            ((1,), "0 to 1 of 1 candidates, got 2"),
            ((1, 2), "got -1"),
            ((1, 2, 3), "each of 1 requests"),
        ):
            with pytest.raises(CascadeError, match=said):
                batcher.submit(frame(*ids)).result(PATIENCE)


def test_an_error_reaches_exactly_its_batch_and_the_batcher_lives_on() -> None:
    def score(candidates: pl.DataFrame) -> np.ndarray:
        if 13 in candidates["docid"]:
            raise ZeroDivisionError("thirteen")
        return candidates["docid"].to_numpy() * 1.0

    clock = ManualClock()
    with Batcher(scorer(score), Always(0), 2.0, SCHEMA, clock=clock) as batcher:
        found = []
        for tick, ids in enumerate([(1, 2), (13, 5), (6,)]):
            clock.move_to(tick + 0.5)
            futures = [batcher.submit(frame(each)) for each in ids]
            clock.move_to(tick + 1.0)
            found.append([future.exception(PATIENCE) for future in futures])
        assert found[0] == [None, None]
        assert all(isinstance(error, ZeroDivisionError) for error in found[1])
        assert found[2] == [None]


def test_a_policy_that_fails_is_an_error_of_its_batch_too() -> None:
    class Broken(Policy):
        def first(self, n: int, left: float) -> int:
            raise KeyError("policy")

    with Batcher(scorer(), Broken(), 0.01, SCHEMA) as batcher:
        assert isinstance(batcher.submit(frame(1)).exception(PATIENCE), KeyError)
        assert isinstance(batcher.submit(frame(1)).exception(PATIENCE), KeyError)


def test_a_score_that_is_not_finite_fails_its_own_request_alone() -> None:
    def score(candidates: pl.DataFrame) -> np.ndarray:
        return np.where(candidates["docid"].to_numpy() == 2, np.nan, 1.0)

    clock = ManualClock()
    with Batcher(scorer(score), Always(0), 2.0, SCHEMA, clock=clock) as batcher:
        clock.move_to(0.5)
        futures = [batcher.submit(frame(1)), batcher.submit(frame(2, 3)), batcher.submit(frame(4))]
    assert futures[0].result(0).values.tolist() == futures[2].result(0).values.tolist() == [1]
    with pytest.raises(CascadeError, match="finite, got nan"):
        futures[1].result(0)


def test_scores_of_another_length_are_an_error() -> None:
    with Batcher(scorer(lambda candidates: np.zeros(7)), Always(0), 0.01, SCHEMA) as batcher:
        future = batcher.submit(frame(1, 2))
    with pytest.raises(CascadeError, match="one row per candidate"):
        future.result(0)


def test_a_cancelled_request_is_not_scored_and_does_not_count() -> None:
    clock, policy = ManualClock(), Recorder()
    with Batcher(scorer(), policy, 2.0, SCHEMA, clock=clock) as batcher:
        clock.move_to(0.5)
        kept, dropped = batcher.submit(frame(1)), batcher.submit(frame(2, 3))
        assert dropped.cancel()
        clock.move_to(1.0)
        assert kept.result(PATIENCE).values.tolist() == [1]
        clock.move_to(1.5)
        alone = batcher.submit(frame(4))
        alone.cancel()
        clock.move_to(2.0)
    with pytest.raises(CancelledError):
        dropped.result(0)
    assert policy.asked == [(1, 1.0)]


def test_a_request_that_is_being_scored_can_not_be_cancelled() -> None:
    scoring, go_on = threading.Event(), threading.Event()

    def score(candidates: pl.DataFrame) -> np.ndarray:
        scoring.set()
        assert go_on.wait(PATIENCE)
        return np.zeros(len(candidates))

    with Batcher(scorer(score), Always(0), 0.01, SCHEMA) as batcher:
        future = batcher.submit(frame(1))
        assert scoring.wait(PATIENCE)
        assert not future.cancel()
        go_on.set()
        assert future.result(PATIENCE).stage == 0


def test_closing_answers_what_was_accepted_without_waiting_for_the_tick() -> None:
    clock = ManualClock()
    batcher = Batcher(scorer(), Always(0), 2.0, SCHEMA, clock=clock)
    clock.move_to(0.5)
    futures = [batcher.submit(frame(k)) for k in range(50)]
    batcher.close()
    assert [future.result(0).values.tolist() for future in futures] == [[k] for k in range(50)]
    with pytest.raises(ClosedError, match="make a new batcher"):
        batcher.submit(frame(1))
    batcher.close()  # a second time does nothing


def test_a_callback_may_close_the_batcher() -> None:
    batcher = Batcher(scorer(), Always(0), 0.01, SCHEMA)
    closed = threading.Event()

    def close(_: Future[Answer]) -> None:
        batcher.close()
        closed.set()

    batcher.submit(frame(1)).add_done_callback(close)
    assert closed.wait(PATIENCE)
    batcher.close()
    with pytest.raises(ClosedError):
        batcher.submit(frame(1))


def test_a_callback_that_exits_or_raises_harms_no_other_request(caplog: pytest.LogCaptureFixture) -> None:
    def leave(_: Future[Answer]) -> None:
        sys.exit("a client's own way out")

    clock = ManualClock()
    with Batcher(scorer(), Always(0), 2.0, SCHEMA, clock=clock) as batcher:
        for start in (0, 5):  # the second batch shows that the thread lives on
            clock.move_to(start + 0.5)
            futures = [batcher.submit(frame(k)) for k in range(6)]
            for future in futures[:4]:
                future.add_done_callback(leave)
            clock.move_to(start + 1.0)
            assert [each.values.tolist() for each in answers(futures)] == [[k] for k in range(6)]
    logged = [record for record in caplog.records if record.name == "cascade.batcher"]
    assert len(logged) == 8
    assert all(record.levelno == logging.ERROR and record.exc_info[0] is SystemExit for record in logged)


def test_a_future_resolved_by_somebody_else_harms_no_other_request() -> None:
    """Before its batch begins, or while that is being scored; one that was only marked as running is answered."""
    scoring, go_on = threading.Event(), threading.Event()

    def score(candidates: pl.DataFrame) -> np.ndarray:
        scoring.set()
        assert go_on.wait(PATIENCE)
        return candidates["docid"].to_numpy() * 1.0

    clock = ManualClock()
    with Batcher(scorer(score), Always(0), 2.0, SCHEMA, clock=clock) as batcher:
        clock.move_to(0.5)
        before, during, running, last = [batcher.submit(frame(k)) for k in range(4)]
        before.set_result(None)
        running.set_running_or_notify_cancel()
        clock.move_to(1.0)
        assert scoring.wait(PATIENCE)
        during.set_exception(KeyError("theirs"))
        go_on.set()
        assert [each.values.tolist() for each in answers([running, last])] == [[2], [3]]
        assert before.result(0) is None
        assert isinstance(during.exception(0), KeyError)
        clock.move_to(1.5)
        later = batcher.submit(frame(4))
        clock.move_to(2.0)
        assert later.result(PATIENCE).values.tolist() == [4]


def test_what_was_shed_is_told_so_even_if_the_scorer_fails_on_the_rest() -> None:
    def score(candidates: pl.DataFrame) -> np.ndarray:
        raise ZeroDivisionError

    clock = ManualClock()
    batcher = Batcher(scorer(score), Some(1, 1, 0, 0), 2.0, SCHEMA, clock=clock)
    clock.move_to(0.5)
    futures = [batcher.submit(frame(k)) for k in range(4)]
    batcher.close()
    assert [type(each.exception(0)) for each in futures] == [ZeroDivisionError] * 2 + [OverloadError] * 2


def test_an_interpreter_that_exits_with_an_open_batcher_answers_first() -> None:
    """The tick is an hour away: only closing answers before it."""
    code = """
import numpy, polars
from cascade import Always, Batcher, CallableScorer, StageInfo
scorer = CallableScorer([lambda frame: frame["docid"].to_numpy() * 2.0], [StageInfo(None, 0, 0.0)])
batcher = Batcher(scorer, Always(0), 7200.0, {"docid": polars.Int64})
for k in (3, 5):
    future = batcher.submit(polars.DataFrame({"docid": [k]}))
    future.add_done_callback(lambda future: print(future.result().values.tolist(), flush=True))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.splitlines() == ["[6.0]", "[10.0]"]
    assert not done.stderr


def test_an_idle_batcher_closes() -> None:
    Batcher(scorer(), Always(0), 1.0, SCHEMA).close()


def test_requests_that_would_fail_their_batch_are_refused() -> None:
    with Batcher(scorer(), Always(0), 1.0, SCHEMA) as batcher:
        with pytest.raises(CascadeError, match="columns"):
            batcher.submit(pl.DataFrame({"docid": ["a"]}))
        with pytest.raises(CascadeError, match="columns"):
            batcher.submit(pl.DataFrame({"other": [1]}))
        with pytest.raises(CascadeError, match="at least one"):
            batcher.submit(frame())


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_that_is_none_is_refused(latency: float) -> None:
    with pytest.raises(CascadeError, match="latency"):
        Batcher(scorer(), Always(0), latency, SCHEMA)


def test_scores_per_class_and_the_stage_come_back() -> None:
    class Twice(Always):
        def widen(self, n: int, scored: Sequence[int], spent: float, left: float) -> int | None:
            return scored[-1] + 1 if scored[-1] < 2 else None

    per_class = scorer(lambda candidates: np.eye(3)[candidates["docid"].to_numpy()], stages=3)
    with Batcher(per_class, Twice(0), 0.01, SCHEMA) as batcher:
        answer = batcher.submit(frame(2, 0)).result(PATIENCE)
    assert answer.values.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert answer.stage == 2

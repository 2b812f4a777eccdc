"""A batcher that scores in the thread that calls it: the same answers, and an interrupt that loses nobody."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from cascade import Always, Answer, Batcher, CallableScorer, CascadeError, ClosedError, StageInfo

SCHEMA = {"docid": pl.Int64}
PATIENCE = 20


def frame(*ids: int) -> pl.DataFrame:
    return pl.DataFrame({"docid": ids}, schema=SCHEMA)


def batcher(score: Callable[[pl.DataFrame], np.ndarray] | None = None) -> Batcher:
    chosen = score or (lambda candidates: candidates["docid"].to_numpy().astype(float))
    scorer = CallableScorer([chosen], [StageInfo(None, 0, 0.0)])
    return Batcher(scorer, Always(0), 0.01, SCHEMA, thread=False)


def test_the_calling_thread_scores_until_another_closes_it() -> None:
    scored_in = []

    def score(candidates: pl.DataFrame) -> np.ndarray:
        scored_in.append(threading.current_thread())
        return candidates["docid"].to_numpy().astype(float)

    def client() -> list[list[float]]:
        with served:
            return [served.submit(frame(k, k + 1)).result(PATIENCE).values.tolist() for k in range(3)]

    served = batcher(score)
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(client)
        served.serve()
    assert answers.result() == [[0, 1], [1, 2], [2, 3]]
    assert set(scored_in) == {threading.current_thread()}


def test_closing_waits_until_the_serving_thread_has_answered() -> None:
    scoring, go_on = threading.Event(), threading.Event()

    def score(candidates: pl.DataFrame) -> np.ndarray:
        scoring.set()
        assert go_on.wait(PATIENCE)
        return candidates["docid"].to_numpy().astype(float)

    served = batcher(score)
    with ThreadPoolExecutor(2) as pool:
        pool.submit(served.serve)
        future = served.submit(frame(7))
        assert scoring.wait(PATIENCE)
        closing = pool.submit(lambda: (served.close(), future.done()))
        go_on.set()
        assert closing.result(PATIENCE)[1]
    assert future.result().values.tolist() == [7]


def test_one_that_nobody_serves_answers_when_it_is_closed() -> None:
    served = batcher()
    future = served.submit(frame(3))
    assert not future.done()
    served.close()
    served.close()
    assert future.result(0).values.tolist() == [3]
    with pytest.raises(ClosedError):
        served.submit(frame(1))
    served.serve()  # nothing is left to do


@pytest.mark.parametrize("own", [True, False])
def test_a_second_thread_is_refused(own: bool) -> None:
    scorer = CallableScorer(
        [lambda candidates: candidates["docid"].to_numpy().astype(float)], [StageInfo(None, 0, 0.0)]
    )
    with Batcher(scorer, Always(0), 0.01, SCHEMA, thread=own) as served, ThreadPoolExecutor(1) as pool:
        if not own:
            pool.submit(served.serve)
            assert served.submit(frame(1)).result(PATIENCE)
        with pytest.raises(CascadeError, match="one thread serves a batcher, got a second beside"):
            served.serve()
        served.close()


def test_an_interrupt_while_scoring_ends_serving_and_what_waits_is_answered_by_closing() -> None:
    interrupted: list[bool] = []
    later: list[Future[Answer]] = []

    def score(candidates: pl.DataFrame) -> np.ndarray:
        if not interrupted:
            interrupted.append(True)
            later.append(served.submit(frame(5)))
            raise KeyboardInterrupt
        return candidates["docid"].to_numpy().astype(float)

    served = batcher(score)
    first = served.submit(frame(4))
    with pytest.raises(KeyboardInterrupt):
        served.serve()
    assert isinstance(first.exception(0), KeyboardInterrupt)
    assert not later[0].done()
    served.close()
    assert later[0].result(0).values.tolist() == [5]


def test_an_interrupt_in_a_callback_ends_serving_after_the_whole_batch_is_answered() -> None:
    def interrupt(_: Future[Answer]) -> None:
        raise KeyboardInterrupt

    served = batcher()
    futures = [served.submit(frame(k)) for k in range(3)]
    futures[0].add_done_callback(interrupt)
    with pytest.raises(KeyboardInterrupt):
        served.serve()
    assert [future.result(0).values.tolist() for future in futures] == [[0], [1], [2]]
    served.close()

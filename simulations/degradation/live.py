"""Serving a trace for real: the batcher, the networks, the clock."""

import gc
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade import Answer, Batcher, OverloadError, Policy, Scorer
from cascade.ticks import SystemClock
from simulations.degradation.served import SHED, Served
from slicing.progress import Task

LEAD = 0.2  # seconds between the batcher's start and the trace's


def serve_live(
    arrived: NDArray[np.float64],
    images: NDArray[np.int64],
    labels: NDArray[np.int64],
    scorer: Scorer,
    policy: Policy,
    latency: float,
    task: Task,
) -> Served:
    """Submit each request when its time has come, and wait for the answers.

    A request counts as arrived when the trace says so: when it is submitted late, because the machine is busy, that
    is part of its latency. So is the delivery: a request is answered when its future's callback is called, which for
    the last of a large batch is long after the first.

    The calling thread scores, because it has trained and measured the networks (see :class:`cascade.Batcher`); requests
    are submitted from another. What is there already is kept from the garbage collector, which else takes up to 0.2
    seconds for it, with everything standing still.

    Args:
        arrived: rising times of arrival, in seconds.
        images: (requests, candidates) which images each request asks for.
        labels: the class of each image.
        scorer: scores the images of a frame's column `docid`.
        policy, latency: of the batcher.
        task: is told of each request submitted.
    """
    frames = [pl.DataFrame({"docid": row}) for row in images]
    futures: list[Future[Answer]] = []
    delivered = np.full(len(frames), np.nan)
    clock = SystemClock()

    def stamp(number: int, _: Future[Answer]) -> None:
        delivered[number] = clock.now()

    def submit() -> None:
        with batcher:  # closes it whatever happens here
            for number, (due, frame) in enumerate(zip(arrived.tolist(), frames, strict=True)):
                wait = start + due - clock.now()
                if wait > 0:
                    time.sleep(wait)
                future = batcher.submit(frame)
                future.add_done_callback(partial(stamp, number))
                futures.append(future)
                task.advance(1)

    batcher = Batcher(scorer, policy, latency, {"docid": pl.Int64}, clock=clock, thread=False)
    gc.collect()
    gc.freeze()
    start = clock.now() + LEAD
    try:
        with ThreadPoolExecutor(1) as client, batcher:
            submitted = client.submit(submit)
            batcher.serve()
    finally:
        gc.unfreeze()
    submitted.result()  # raises what it raised
    # only now has every callback been called: a result is there a little earlier
    return served_live(arrived, futures, delivered - start, labels[images], start)


def served_live(
    arrived: NDArray[np.float64],
    futures: Sequence[Future[Answer]],
    delivered: NDArray[np.float64],
    labels: NDArray[np.int64],
    start: float = 0.0,
) -> Served:
    """What became of requests, from their futures, which are done.

    Args:
        arrived, delivered: of each request, in seconds from the trace's start.
        futures: of the answers.
        labels: (requests, candidates) the classes of the images asked for.
        start: of the trace, on the batcher's clock.
    """
    nan = float("nan")
    rows = [
        (nan, nan, nan, SHED, 0.0, 0.0)
        if answer is None
        else (
            answer.begun - start,
            answer.finished - start,
            own,
            answer.stage,
            len(answer.values) / len(label),
            (answer.values.argmax(1) == label[: len(answer.values)]).sum() / len(label),
        )
        for answer, own, label in zip(map(_answer, futures), delivered, labels, strict=True)
    ]
    columns = [np.asarray(column, dtype=float) for column in zip(*rows, strict=True)] if rows else [np.empty(0)] * 6
    begun, finished, handed, stage, scored, right = columns
    return Served(arrived, begun, finished, handed, stage.astype(np.int64), scored, right)


def _answer(future: Future[Answer]) -> Answer | None:
    try:
        return future.result()
    except OverloadError:
        return None

"""A service with a latency limit: requests in, batches every half limit, a policy that chooses the stage.

Section 4.1 of Cai et al. 2019: within the limit T a request waits at most T/2 for its batch to be closed, and the batch
has the other T/2 to be scored.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.checks import checked_values
from cascade.errors import CascadeError
from cascade.policies import Policy, admitted, score_in_time
from cascade.scorer import Scorer
from cascade.ticks import Clock, SystemClock, Ticks

_LOG = logging.getLogger(__name__)


class OverloadError(CascadeError):
    """A request that the policy shed: not one of its candidates was scored."""


class ClosedError(CascadeError):
    """A request that came after the batcher was closed: it was not accepted."""


@dataclass(frozen=True)
class Answer:
    """What a request's future holds.

    values: (n,) or (n, classes), the scores of the request's first n candidates in their order: of all, unless the
    policy dropped some, and of one at least. stage: that scored them.
    submitted, begun, finished: seconds on the batcher's clock; begun and finished are those of the whole batch.
    """

    values: NDArray[Any]
    stage: int
    submitted: float
    begun: float
    finished: float


@dataclass(frozen=True)
class _Request:
    candidates: pl.DataFrame
    submitted: float
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """Scores requests in batches, in one thread, within a latency limit as far as its policy can hold it.

    Every half limit the requests waiting become a batch. A batch that is still being scored then delays the next,
    which begins as soon as the thread is free and has the time up to the following tick: the policy sees the time
    that is really left. Nothing is dropped unless the policy drops it. Use it as a context manager, or call
    :meth:`close`; one that is still open when the interpreter exits is closed then, and so answers what it accepted.

    The thread is its own, or with ``thread=False`` the one that calls :meth:`serve`: choose the latter where that
    thread has used torch on several cores before, as to measure the scorer. OpenMP on Linux keeps worker threads for
    each thread that asks, and where these are more than there are cores they sleep between operations instead of
    waiting awake: scoring in a second thread then takes half as long again or more.

    Callbacks of the futures run in the thread that scores: keep them quick, a slow one delays every request behind it.
    One that raises, or a future that somebody else resolved, touches no other request: what it raised is logged.

    >>> with Batcher(scorer, LatencyRule(table), 0.2, {"docid": pl.Int64}) as batcher:  # doctest: +SKIP
    ...     future = batcher.submit(pl.DataFrame({"docid": [3, 5]}))
    ...     future.result().values

    Args:
        scorer: any stage scorer; called from one thread only.
        policy: chooses the stage of each batch.
        latency: T, seconds above 0, in which a request shall be answered.
        schema: names and types of the columns of a request; others are refused when submitted, so that they can't
            fail the batch they would be part of.
        clock: tells the time.
        thread: score in a thread of the batcher's own, from now on; False waits for :meth:`serve`.

    Raises:
        CascadeError: for a latency that is not above 0.
    """

    def __init__(
        self,
        scorer: Scorer,
        policy: Policy,
        latency: float,
        schema: pl.Schema | dict[str, Any],
        *,
        clock: Clock | None = None,
        thread: bool = True,
    ) -> None:
        if not (math.isfinite(latency) and latency > 0):
            raise CascadeError(f"latency must be above 0 seconds, got {latency}; try 0.2")
        self.scorer, self.policy, self.schema = scorer, policy, pl.Schema(schema)
        self._clock: Clock = clock or SystemClock()
        self.ticks = Ticks(self._clock.now(), latency / 2)
        self._changed = threading.Condition()
        self._waiting: list[_Request] = []
        self._closed = False
        self._serving: threading.Thread | None = None
        self._done = threading.Event()
        atexit.register(self.close)  # a daemon thread still runs then; without this its requests would be lost
        if thread:
            self._serving = threading.Thread(target=self._run, name="batcher", daemon=True)
            self._serving.start()

    def submit(self, candidates: pl.DataFrame) -> Future[Answer]:
        """Accept a request, from any thread.

        Args:
            candidates: one row or more in the batcher's schema, the most important first: where the policy drops some
                it is the last ones.

        Returns:
            A future of the `Answer`; of the scorer's error, where it failed on the batch; of a `CascadeError` where a
            score of this request is not finite; of `OverloadError` where the policy shed it. It can be cancelled
            until its batch begins.

        Raises:
            ClosedError: after `close`.
            CascadeError: for no candidates, or other columns.
        """
        if candidates.schema != self.schema:
            raise CascadeError(
                f"a request must have the columns {dict(self.schema)}, got {dict(candidates.schema)}; select and cast"
            )
        if candidates.is_empty():
            raise CascadeError("a request must hold at least one candidate, got none; don't submit it")
        with self._changed:
            if self._closed:
                raise ClosedError("the batcher takes requests until it is closed, got one after; make a new batcher")
            request = _Request(candidates, self._clock.now())
            self._waiting.append(request)
            if len(self._waiting) == 1:
                self._changed.notify_all()
        return request.future

    def serve(self) -> None:
        """Score in the calling thread, until another one, or a future's callback, has closed the batcher.

        An interrupt ends it when the batch at hand is answered, by the interrupt where that kept it from being scored;
        :meth:`close` answers what waits then.

        Raises:
            CascadeError: where a thread serves already.
        """
        with self._changed:
            closed = self._closed
            if not closed and self._serving is not None:
                raise CascadeError(f"one thread serves a batcher, got a second beside {self._serving.name!r}; make two")
            if not closed:
                self._serving = threading.current_thread()
        if closed:
            self._done.wait()
            return
        try:
            self._run()
        finally:
            with self._changed:
                self._serving = None

    def close(self) -> None:
        """Accept nothing more, answer at once what was accepted, and return when that is done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            alone = self._serving is None and not self._done.is_set()
            if alone:
                self._serving = threading.current_thread()
        if alone:  # nobody serves
            self._run()
        elif threading.current_thread() is self._serving:  # a future's callback may close it
            return
        self._done.wait()
        atexit.unregister(self.close)  # not before all is answered: a callback's close returns earlier

    def __enter__(self) -> Batcher:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self) -> None:
        while batch := self._next():
            self._answer(batch)
        self._done.set()

    def _next(self) -> list[_Request]:
        """The next batch, once its tick has come; empty when closed and all is answered."""
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait()
            if self._waiting:
                tick = self.ticks.at_or_after(self._waiting[0].submitted)
                while self._clock.now() < tick and not self._closed:
                    self._clock.wait(self._changed, tick)
            batch, self._waiting = self._waiting, []
            return batch

    def _answer(self, batch: Sequence[_Request]) -> None:
        live = [request for request in batch if _to_be_scored(request.future)]
        if not live:
            return
        outcomes: dict[int, Answer | BaseException] = {}
        failure: BaseException | None = None
        try:
            self._score(live, outcomes)
        except BaseException as error:  # whatever it is, it belongs to these requests; the thread lives on
            failure = error
        raised = [failure]
        for k, request in enumerate(live):  # only now: no callback takes the scoring's time
            raised.append(_resolve(request.future, outcomes.get(k, failure)))
        if threading.current_thread() is threading.main_thread():  # the only one that is interrupted from outside
            for each in raised:
                if isinstance(each, KeyboardInterrupt):
                    raise each

    def _score(self, live: Sequence[_Request], outcomes: dict[int, Answer | BaseException]) -> None:
        """Put in `outcomes` what each request's future shall hold, by its place in the batch."""
        begun = self._clock.now()
        until = self.ticks.after(begun)
        sizes = [request.candidates.height for request in live]
        admits = admitted(self.policy, sizes, until - begun)
        kept = [k for k, admit in enumerate(admits) if admit]
        came, scored = sum(sizes), sum(admits)
        for k, admit in enumerate(admits):
            if not admit:
                outcomes[k] = OverloadError(
                    f"{came} candidates came for one batch, more than the policy answers in time ({scored}), and this "
                    f"request was shed; send it again later"
                )
        if not kept:
            return
        bounds = [0, *accumulate(admits[k] for k in kept)]
        session = self.scorer.start(pl.concat([live[k].candidates.head(admits[k]) for k in kept]))
        result, stage = score_in_time(
            self.policy, bounds[-1], session.score, now=self._clock.now, begun=begun, until=until
        )
        values = checked_values(result, stage, bounds[-1])
        finished = self._clock.now()
        for k, (low, high) in zip(kept, pairwise(bounds), strict=True):
            own = values[low:high]
            if np.isfinite(own).all():
                outcomes[k] = Answer(own, stage, live[k].submitted, begun, finished)
            else:
                outcomes[k] = CascadeError(
                    f"stage {stage}: scores must be finite, got {own[~np.isfinite(own)][0]}; mend its features"
                )


def _to_be_scored(future: Future[Answer]) -> bool:
    """Mark a future as running; false for one that was cancelled, or resolved by somebody else."""
    try:
        return future.set_running_or_notify_cancel()
    except Exception:  # concurrent.futures has logged it; one that was only marked as running is still owed an answer
        return not future.done()


def _resolve(future: Future[Answer], outcome: Answer | BaseException | None) -> BaseException | None:
    """Hand over an outcome; what the client's future or its callbacks raise, sys.exit() too, is logged and returned."""
    try:
        if isinstance(outcome, Answer):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
    except BaseException as error:
        _LOG.exception("a request's future or a callback of it failed; the other requests are answered all the same")
        return error
    return None

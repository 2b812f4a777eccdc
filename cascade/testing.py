"""The conformance kit: one function that tests any scorer against the protocol.

    check_scorer(lambda: MyScorer(model), frame)

It raises ConformanceError, which pytest shows as a failure, at the first broken promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.checks import NotFiniteError, checked
from cascade.errors import CascadeError, ConformanceError
from cascade.frames import Candidates, prepare
from cascade.rows import Rows
from cascade.scorer import Scorer, Session, StageInfo, StageScores, begin, is_order_free


@dataclass(frozen=True)
class Conformance:
    """What the kit measured on the way.

    reuse_error: per stage, the largest absolute difference between the scores that build on the stage
    before and those from scratch; 0 up to rounding where reuse is exact.
    """

    reuse_error: tuple[float, ...]


def check_scorer(
    make_scorer: Callable[[], Scorer],
    frame: pl.DataFrame,
    *,
    exact: bool = False,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> Conformance:
    """Test a scorer against the protocol of `cascade.scorer`.

    make_scorer: gives an equal scorer at every call. frame: at least 4 candidates (see
    `cascade.frames.prepare`) with different scores. exact: also require that reuse changes no score. rtol,
    atol: scores a and b agree when |a - b| <= atol + rtol * |b|; the default allows float32 rounding.
    """
    kit = _Kit(make_scorer, prepare(frame), rtol, atol)
    kit.infos()
    kit.scores_and_costs()
    kit.repeats()
    kit.rows_go_with_their_candidates()
    kit.rows_are_read_where_they_are()
    kit.batches_do_not_matter()
    kit.order_is_free_where_it_is_said_to_be()
    kit.keeps_the_survivors()
    kit.keeps_nobody()
    kit.sessions_are_independent()
    return kit.reuse(exact)


class _Kit:
    """Each method tests one promise; `full` holds what a session gives that runs through and drops nobody."""

    def __init__(self, make: Callable[[], Scorer], candidates: Candidates, rtol: float, atol: float) -> None:
        n = len(candidates)
        if n < 4:
            raise CascadeError(f"check_scorer needs at least 4 candidates, got {n}; give it more rows")
        self.make, self.scorer = make, make()
        self.frame = candidates.rows(0, n)
        self.rtol, self.atol = rtol, atol
        self.everyone = np.arange(n)
        self.some = np.unique([1, n // 2, n - 1])  # survivors that are not the first so many
        self.full: list[NDArray[Any]] = []

    @property
    def stages(self) -> range:
        return range(len(self.scorer.stages))

    def infos(self) -> None:
        infos, held = self.scorer.stages, self.scorer.params_held
        _require(len(infos) > 0, "a scorer needs at least one stage, got none")
        for stage, info in enumerate(infos):
            _require(isinstance(info, StageInfo), f"stage {stage}: stages must be StageInfo, got {info!r}")
        whole = isinstance(held, int | np.integer) and not isinstance(held, bool)
        least = max(info.params for info in infos)
        _require(whole and held >= least, f"params_held must be a whole number >= {least}, got {held!r}")

    def scores_and_costs(self) -> None:
        results = self.run(self.scorer, self.frame)
        self.full = [result.values for result in results]
        for stage, result in enumerate(results):
            self.cost(stage, result)
        _require(results[0].mode == "fresh", f"stage 0: nothing is there to reuse, got {results[0].mode!r}")
        spread = max(float(np.ptp(values)) for values in self.full)
        if spread <= 2 * self.atol:
            raise CascadeError(f"check_scorer needs scores that differ, got a spread of {spread}; vary the rows")

    def cost(self, stage: int, result: StageScores) -> None:
        alone = self.scorer.stages[stage].flops
        if result.mode == "reuse":
            text = f"stage {stage}: reuse must cost at most the {alone} from scratch, got {result.flops}"
            _require(result.flops <= alone * (1 + 1e-6), text)
        else:
            text = f"stage {stage}: {result.mode} must cost the stage's own {alone}, got {result.flops}"
            _require(abs(result.flops - alone) <= 1e-6 * alone, text)

    def repeats(self) -> None:
        again = self.run(self.scorer, self.frame)
        self.agree("a second session must give the same scores", again, slice(None))
        other = self.run(self.make(), self.frame)
        self.agree("an equal scorer must give the same scores", other, slice(None))

    def rows_go_with_their_candidates(self) -> None:
        order = np.roll(self.everyone[::-1], 1)
        result = self.run(self.scorer, self.frame[order])
        self.agree("scores must be in the order of the candidates", result, order)

    def rows_are_read_where_they_are(self) -> None:
        if not hasattr(self.scorer, "start_rows"):
            return
        alive = np.roll(self.everyone[::-1], 1)
        session = begin(self.scorer, Rows(self.frame, alive))
        for stage in self.stages:
            text = f"stage {stage}: start_rows must score the rows that it is given, in their order"
            self.close(text, self.call(session, stage, alive), stage, alive)
            session.keep(np.arange(1, len(alive)))
            alive = alive[1:]

    def batches_do_not_matter(self) -> None:
        for rows in (self.some, np.array([0])):
            result = self.run(self.scorer, self.frame[rows])
            self.agree("a score must not depend on the other candidates of the batch", result, rows)

    def order_is_free_where_it_is_said_to_be(self) -> None:
        if not is_order_free(self.scorer):
            return
        for alive in (np.roll(self.everyone[::-1], 1), self.some):
            session = self.scorer.start(self.frame[alive])
            for stage in self.stages:
                values = self.call(session, stage, alive).values
                differ = np.count_nonzero(values != self.full[stage][alive])
                text = f"stage {stage}: of an order-free scorer no bit may change with the other candidates"
                _require(not differ, f"{text}, got {differ} of {values.size} scores that do")
                session.keep(np.arange(1, len(alive)))
                alive = alive[1:]

    def keeps_the_survivors(self) -> None:
        for first in self.stages[:-1]:
            session = self.scorer.start(self.frame)
            alive = self.everyone
            for stage in self.stages:
                result = self.call(session, stage, alive)
                text = f"stage {stage}: keep() must leave the survivors' scores as they are"
                self.close(text, result, stage, alive)
                if stage >= first:  # twice in a row where there are stages enough
                    survivors = self.some if stage == first else np.arange(len(alive))[len(alive) // 2 :]
                    session.keep(survivors)
                    alive = alive[survivors]

    def keeps_nobody(self) -> None:
        session = self.scorer.start(self.frame)
        nobody = np.empty(0, dtype=np.int64)
        self.call(session, 0, self.everyone)
        session.keep(nobody)
        for stage in self.stages[1:]:
            self.call(session, stage, nobody)

    def sessions_are_independent(self) -> None:
        half = len(self.frame) // 2
        parts = [np.arange(half), np.arange(half, len(self.frame))]
        sessions = [self.scorer.start(self.frame[part]) for part in parts]
        for stage in self.stages:
            for i, session in enumerate(sessions):
                text = f"stage {stage}: sessions in turn must give the scores they give one after the other"
                self.close(text, self.call(session, stage, parts[i]), stage, parts[i])
                session.keep(np.arange(1, len(parts[i])))
                parts[i] = parts[i][1:]

    def reuse(self, exact: bool) -> Conformance:
        errors = []
        for stage in self.stages:
            result = self.call(self.scorer.start(self.frame), stage, self.everyone)
            text = f"stage {stage}: a session that begins here has nothing to reuse, got {result.mode!r}"
            _require(result.mode == "fresh", text)
            self.cost(stage, result)
            skipping = self.scorer.start(self.frame)
            self.call(skipping, 0, self.everyone)
            leap = self.call(skipping, stage, self.everyone) if stage else result
            if exact:
                text = f"stage {stage}: exact reuse must equal the scores from scratch"
                self.close(text, result, stage, self.everyone)
                self.close(f"{text} after left-out stages", leap, stage, self.everyone)
            errors.append(float(np.max(np.abs(result.values - self.full[stage]))))
        return Conformance(tuple(errors))

    def run(self, scorer: Scorer, frame: pl.DataFrame) -> list[StageScores]:
        session, everyone = scorer.start(frame), np.arange(frame.height)
        return [self.call(session, stage, everyone) for stage in self.stages]

    def call(self, session: Session, stage: int, alive: NDArray[np.int64]) -> StageScores:
        result = session.score(stage)
        try:
            checked(result, stage, len(alive), np.zeros(len(alive), dtype=np.int64))
        except NotFiniteError as error:
            raise ConformanceError(f"stage {stage}: {error}") from None
        except CascadeError as error:
            raise ConformanceError(str(error)) from None
        copy = np.array(result.values)  # what comes later must not reach back into it
        return StageScores(copy, result.flops, result.mode)

    def agree(self, text: str, results: list[StageScores], rows: slice | NDArray[np.int64]) -> None:
        for stage, result in enumerate(results):
            self.close(f"stage {stage}: {text}", result, stage, rows)

    def close(self, text: str, result: StageScores, stage: int, rows: slice | NDArray[np.int64]) -> None:
        expected = self.full[stage][rows]
        shape = result.values.shape
        _require(shape == expected.shape, f"{text}, got shape {shape} for {expected.shape}")
        if not np.allclose(result.values, expected, rtol=self.rtol, atol=self.atol):
            worst = np.max(np.abs(result.values - expected))
            raise ConformanceError(f"{text}, got a difference of {worst:.3g}")


def _require(holds: Any, text: str) -> None:
    if not holds:
        raise ConformanceError(text)

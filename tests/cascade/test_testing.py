"""The kit must pass what keeps the protocol and catch each promise when it is broken."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cascade.errors import CascadeError, ConformanceError
from cascade.keep import KeepAll
from cascade.pipeline import Cascade
from cascade.rows import Rows
from cascade.scorer import StageInfo, StageScores
from cascade.testing import check_scorer

WIDTHS = (2, 4, 6)
WEIGHTS = np.array([0.3, -1.0, 0.7, 2.0, -0.4, 1.1])


def frame(n: int = 9) -> pl.DataFrame:
    x = np.random.default_rng(3).standard_normal((n, WIDTHS[-1]))
    return pl.DataFrame({"qid": np.zeros(n, dtype=int), "docid": np.arange(n), "x": x})


class Linear:
    """x[:width] . w[:width], widened by adding the new columns' part. A good citizen; subclasses are not."""

    stages: Any = tuple(StageInfo(w / WIDTHS[-1], w, float(w)) for w in WIDTHS)
    params_held: Any = WIDTHS[-1]

    def start(self, candidates: pl.DataFrame) -> "LinearSession":
        return LinearSession(self, candidates["x"].to_numpy())

    def score(self, session: "LinearSession", stage: int) -> StageScores:
        mode: Any = "reuse" if session.width else "fresh"
        return StageScores(session.widen(stage), float(session.spent), mode)

    def keep(self, session: "LinearSession", survivors: NDArray[np.int64]) -> None:
        session.x, session.sum = session.x[survivors], session.sum[survivors]


class LinearSession:
    def __init__(self, scorer: Linear, x: NDArray) -> None:
        self.scorer, self.x = scorer, x
        self.sum, self.width, self.spent = np.zeros(len(x)), 0, 0

    def widen(self, stage: int) -> NDArray:
        new = slice(self.width, WIDTHS[stage])
        self.sum = self.sum + self.x[:, new] @ WEIGHTS[new]
        self.spent, self.width = WIDTHS[stage] - self.width, WIDTHS[stage]
        return self.sum

    def score(self, stage: int) -> StageScores:
        return self.scorer.score(self, stage)

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self.scorer.keep(self, survivors)


def test_a_scorer_that_keeps_the_protocol_passes_and_reuses_exactly() -> None:
    report = check_scorer(Linear, frame(), exact=True)
    assert len(report.reuse_error) == 3
    assert max(report.reuse_error) < 1e-12
    check_scorer(Linear, frame(4), exact=True)
    Cascade(Linear(), [KeepAll()] * 3).run(frame())


def answer(change: Any) -> type[Linear]:
    """A scorer whose every answer is changed: change(values, flops, mode, stage, session) -> StageScores."""

    class Changed(Linear):
        def score(self, session: LinearSession, stage: int) -> StageScores:
            good = super().score(session, stage)
            return change(good.values, good.flops, good.mode, stage, session)

    return Changed


class NoStages(Linear):
    stages = ()


class NotInfo(Linear):
    stages = ((1.0, 2, 2.0),) * 3


class HoldsTooLittle(Linear):
    params_held = WIDTHS[-1] - 1


class ForgetsToCompact(Linear):
    def keep(self, session: LinearSession, survivors: NDArray[np.int64]) -> None:
        pass


class CompactsTheFirstSoMany(Linear):
    def keep(self, session: LinearSession, survivors: NDArray[np.int64]) -> None:
        super().keep(session, np.arange(len(survivors)))


class CompactsTheInputsOnly(Linear):
    def keep(self, session: LinearSession, survivors: NDArray[np.int64]) -> None:
        session.x, session.sum = session.x[survivors], session.sum[: len(survivors)]


class ReversesSurvivors(Linear):
    def keep(self, session: LinearSession, survivors: NDArray[np.int64]) -> None:
        super().keep(session, survivors[::-1])


class CrashesOnNobody(Linear):
    def keep(self, session: LinearSession, survivors: NDArray[np.int64]) -> None:
        super().keep(session, survivors if len(survivors) else np.array([0]))


class SharesItsCache(Linear):
    """All sessions of one scorer write the partial sums to one place."""

    def __init__(self) -> None:
        self.sums: dict[str, NDArray] = {}

    def score(self, session: LinearSession, stage: int) -> StageScores:
        if stage and len(self.sums["last"]) == len(session.x):
            session.sum = self.sums["last"]
        good = super().score(session, stage)
        self.sums["last"] = good.values
        return good


class Drifts(Linear):
    """Every session of a scorer scores a little higher."""

    def __init__(self) -> None:
        self.sessions = 0

    def start(self, candidates: pl.DataFrame) -> LinearSession:
        session = super().start(candidates)
        session.sum = session.sum + 0.01 * self.sessions
        self.sessions += 1
        return session


class RandomAtBirth(Linear):
    births = 0

    def __init__(self) -> None:
        type(self).births += 1
        self.shift = float(type(self).births)

    def score(self, session: LinearSession, stage: int) -> StageScores:
        good = super().score(session, stage)
        return StageScores(good.values + self.shift, good.flops, good.mode)


class CentresItsBatch(Linear):
    def start(self, candidates: pl.DataFrame) -> LinearSession:
        session = super().start(candidates)
        session.x = session.x - session.x.mean(axis=0)
        return session


class SortsItsRows(Linear):
    def start(self, candidates: pl.DataFrame) -> LinearSession:
        return super().start(candidates.sort("docid"))


BROKEN = {
    "at least one stage": NoStages,
    "must be StageInfo": NotInfo,
    "params_held must be a whole number >= 6, got 5": HoldsTooLittle,
    "must have shape": answer(lambda v, f, m, s, _: StageScores(v[:-1], f, m)),
    "must return StageScores": answer(lambda v, f, m, s, _: v),
    "numeric numpy array": answer(lambda v, f, m, s, _: StageScores(v.tolist(), f, m)),
    "stage 1: scores must be finite, got nan": answer(
        lambda v, f, m, s, _: StageScores(np.where(s == 1, np.nan, v), f, m)
    ),
    "mode must be one of": answer(lambda v, f, m, s, _: StageScores(v, f, "cached")),  # type: ignore[arg-type]
    "flops must be a finite number": answer(lambda v, f, m, s, _: StageScores(v, float("inf"), m)),
    "stage 1: reuse must cost at most the 4.0": answer(
        lambda v, f, m, s, _: StageScores(v, f + 2.5 * (m == "reuse"), m)
    ),
    "stage 0: fresh must cost the stage's own 2.0, got 6.0": answer(lambda v, f, m, s, _: StageScores(v, 6.0, m)),
    "stage 1: recompute must cost the stage's own 4.0, got 2.0": answer(
        lambda v, f, m, s, _: StageScores(v, f, "recompute" if m == "reuse" else m)
    ),
    "stage 0: nothing is there to reuse": answer(lambda v, f, m, s, _: StageScores(v, f, "reuse")),
    "a session that begins here has nothing to reuse": answer(
        lambda v, f, m, s, _: StageScores(v, f, "reuse" if s else "fresh")
    ),
    "stage 1: fresh must cost the stage's own 4.0, got 1.0": answer(
        lambda v, f, m, s, _: StageScores(v, 1.0 if s and m == "fresh" else f, m)
    ),
    "a second session must give the same scores": Drifts,
    "an equal scorer must give the same scores": RandomAtBirth,
    "in the order of the candidates": SortsItsRows,
    "must not depend on the other candidates": CentresItsBatch,
    "sessions in turn": SharesItsCache,
}


@pytest.mark.parametrize("text", BROKEN)
def test_each_broken_promise_is_caught_by_its_own_check(text: str) -> None:
    with pytest.raises(ConformanceError, match=text.replace("(", r"\(")):
        check_scorer(BROKEN[text], frame(10))


@pytest.mark.parametrize("broken", [CompactsTheFirstSoMany, CompactsTheInputsOnly, ReversesSurvivors])
def test_a_keep_that_compacts_wrongly_is_caught(broken: type[Linear]) -> None:
    with pytest.raises(ConformanceError, match=r"stage 1: keep\(\) must leave the survivors' scores"):
        check_scorer(broken, frame())


@pytest.mark.parametrize("broken", [ForgetsToCompact, CrashesOnNobody])
def test_a_keep_that_leaves_the_wrong_number_is_caught(broken: type[Linear]) -> None:
    with pytest.raises(ConformanceError, match=r"stage 1: scores of \d candidates must have shape"):
        check_scorer(broken, frame())


def test_approximate_reuse_is_measured_and_refused_only_where_exactness_is_asked_for() -> None:
    shifted = answer(lambda v, f, m, s, _: StageScores(v + 0.25 * (m == "reuse"), f, m))
    assert check_scorer(shifted, frame()).reuse_error == pytest.approx((0.0, 0.25, 0.25))
    with pytest.raises(ConformanceError, match=r"stage 1: exact reuse must equal the scores from scratch"):
        check_scorer(shifted, frame(), exact=True)


def test_wrong_scores_after_left_out_stages_are_caught() -> None:
    class NeedsEveryStage(Linear):
        def score(self, session: LinearSession, stage: int) -> StageScores:
            leap = session.width == WIDTHS[0] and stage == 2
            good = super().score(session, stage)
            return StageScores(good.values + 1.0 * leap, good.flops, good.mode)

    with pytest.raises(ConformanceError, match=r"stage 2: .* after left-out stages"):
        check_scorer(NeedsEveryStage, frame(), exact=True)


def test_rows_read_at_the_wrong_place_are_caught() -> None:
    class OwnOrder(Linear):
        def start_rows(self, rows: Rows) -> LinearSession:
            return self.start(rows.frame.sort("docid"))

    with pytest.raises(ConformanceError, match="stage 0: start_rows must score the rows that it is given"):
        check_scorer(OwnOrder, frame())


def last_bit(change: Any) -> type[Linear]:
    """A scorer that says it is order-free, with the next float for some: change(session, stage) -> (n,) of which."""

    class LastBit(answer(lambda v, f, m, s, session: StageScores(np.where(change(session, s), up(v), v), f, m))):
        order_free = True

    def up(values: NDArray) -> NDArray:
        return np.nextafter(values, np.inf)

    return LastBit


LAST_BITS = {
    "with the place in the batch": lambda session, stage: np.arange(len(session.x)) % 2 == 1,
    "with the size of the batch": lambda session, stage: np.full(len(session.x), stage == 0 and len(session.x) < 9),
    "with the place after keep": lambda session, stage: np.arange(len(session.x)) % 2 == (stage > 0),
    "with the size after keep": lambda session, stage: np.full(len(session.x), stage > 0 and len(session.x) == 8),
}


@pytest.mark.parametrize("how", LAST_BITS)
def test_a_score_whose_last_bit_changes_is_not_order_free(how: str) -> None:
    with pytest.raises(ConformanceError, match=r"of an order-free scorer no bit may change .*, got \d+ of"):
        check_scorer(last_bit(LAST_BITS[how]), frame(9))
    steady = last_bit(lambda session, stage: np.zeros(len(session.x), dtype=bool))
    steady.order_free = False  # a product of matrices, as this one, is not
    check_scorer(steady, frame(9))


def test_a_table_that_cannot_tell_candidates_apart_is_refused() -> None:
    with pytest.raises(CascadeError, match="at least 4 candidates, got 3"):
        check_scorer(Linear, frame(3))
    same = frame().with_columns(x=pl.Series(np.ones((9, 6))))
    with pytest.raises(CascadeError, match=r"scores that differ, got a spread of 0\.0"):
        check_scorer(Linear, same)

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.alone import score_all
from cascade.errors import CascadeError
from cascade.keep import KeepAll, PredictedClass, ScoreAtLeast, ScoreDrop, TopK, TopShare
from cascade.pipeline import Cascade
from cascade.scorer import StageInfo, StageScores

RULES = [KeepAll(), TopK(2), TopShare(0.4), ScoreAtLeast(0.3), ScoreDrop(0.4), PredictedClass()]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]), st.permutations(RULES))
def test_a_stage_alone_keeps_what_a_cascade_of_that_stage_keeps(
    column_scorer: Callable, seed: int, batch: int, rules: list
) -> None:
    rng = np.random.default_rng(seed)
    n, stages = 20, range(len(rules))
    values = {f"s{s}": np.round(rng.random((n, 3) if isinstance(rules[s], PredictedClass) else n), 1) for s in stages}
    frame = pl.DataFrame({"qid": rng.integers(0, 4, n), "docid": rng.permutation(n), "target": rng.integers(0, 3, n)})
    frame = frame.with_columns(pl.Series(name, value) for name, value in values.items())
    everything = score_all(column_scorer([*values]), frame, batch=batch)
    alone = everything.alone(rules)
    for stage in stages:
        single = Cascade(column_scorer([f"s{stage}"]), [rules[stage]]).run(frame).frame.sort("qid", "docid")
        assert alone.frame.equals(single.select("qid", "docid"))
        assert alone.kept[:, stage].tolist() == single["kept"].to_list()
        assert everything.frame[f"score_{stage}"].equals(single["score"].alias(f"score_{stage}"))
    assert [c for c in everything.frame.columns if c.startswith("hit")] == [f"hit_{rules.index(PredictedClass())}"]


def test_from_scratch_starts_a_session_for_every_stage() -> None:
    class Counting:
        """Scores with the number of stages its session has been asked for."""

        stages = (StageInfo(0.5, 1, 1.0), StageInfo(1.0, 2, 2.0))
        params_held = 2

        def start(self, candidates: pl.DataFrame) -> "CountingSession":
            return CountingSession(len(candidates))

    class CountingSession:
        def __init__(self, n: int) -> None:
            self.n, self.asked = n, 0

        def score(self, stage: int) -> StageScores:
            self.asked += 1
            return StageScores(np.full(self.n, self.asked), 1.0, "fresh")

        def keep(self, survivors: np.ndarray) -> None:
            raise AssertionError("nobody is dropped")

    frame = pl.DataFrame({"qid": [1, 1], "docid": [1, 2]})
    assert score_all(Counting(), frame).frame["score_1"].to_list() == [2, 2]
    assert score_all(Counting(), frame, from_scratch=True).frame["score_1"].to_list() == [1, 1]


def test_progress_and_carried_columns(column_scorer: Callable) -> None:
    frame = pl.DataFrame({"qid": [2, 1, 1], "docid": [1, 1, 2], "s0": [0.1, 0.2, 0.3], "label": [1, 0, 2]})
    seen: list[tuple[int, int]] = []
    found = score_all(column_scorer(["s0"]), frame, batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 3), (3, 3)]
    assert found.frame.rows() == [(1, 1, 0.2, 0), (1, 2, 0.3, 2), (2, 1, 0.1, 1)]


def test_bad_scores_rules_and_batches_are_refused(column_scorer: Callable) -> None:
    frame = pl.DataFrame({"qid": [5, 5], "docid": [1, 2], "s0": [0.0, float("nan")], "s1": [0.0, 0.0]})
    with pytest.raises(CascadeError, match="stage 0: scores must be finite, got nan for query 5, candidate 2"):
        score_all(column_scorer(["s1", "s0"][::-1]), frame)
    with pytest.raises(CascadeError, match="one rule per stage, got 2 rules for 1 stages"):
        score_all(column_scorer(["s1"]), frame).alone([KeepAll()] * 2)
    with pytest.raises(CascadeError, match="batch must be"):
        score_all(column_scorer(["s1"]), frame, batch=0)
    with pytest.raises(CascadeError, match="needs one score per class"):
        score_all(column_scorer(["s1"]), frame).alone([PredictedClass()])

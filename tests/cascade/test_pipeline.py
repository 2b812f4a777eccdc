from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cascade.callables import CallableScorer
from cascade.errors import CascadeError
from cascade.keep import KeepAll, PredictedClass, ScoreAtLeast, TopK, TopShare
from cascade.pipeline import Cascade
from cascade.scorer import StageInfo, StageScores

INFO = StageInfo(0.5, 10, 100.0)


def table(*queries: list[float], stages: int = 1) -> pl.DataFrame:
    """Query q has docids 0, 1, ... with the given scores at every stage."""
    rows = [(q, d, s) for q, scores in enumerate(queries) for d, s in enumerate(scores)]
    frame = pl.DataFrame(rows, schema=["qid", "docid", "s0"], orient="row")
    return frame.with_columns(pl.col("s0").alias(f"s{s}") for s in range(stages))


class Scripted:
    """A scorer that returns what it is told to, and notes what it was asked."""

    def __init__(self, *answers: Any, stages: int | None = None) -> None:
        self.answers = answers
        self.stages = [INFO] * (len(answers) if stages is None else stages)
        self.params_held = 10
        self.asked: list[tuple[str, Any]] = []

    def start(self, candidates: pl.DataFrame) -> "Scripted":
        self.asked.append(("start", candidates["docid"].to_list()))
        return self

    def score(self, stage: int) -> Any:
        self.asked.append(("score", stage))
        answer = self.answers[stage]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self.asked.append(("keep", survivors.tolist()))


def fresh(*values: float) -> StageScores:
    return StageScores(np.array(values), 1.0, "fresh")


def test_the_session_is_asked_to_score_keep_and_score_again() -> None:
    scorer = Scripted(fresh(1, 3, 2), fresh(5, 4))
    result = Cascade(scorer, [TopK(2), TopK(1)]).run(table([0.0, 0.0, 0.0]))
    assert scorer.asked == [("start", [0, 1, 2]), ("score", 0), ("keep", [1, 2]), ("score", 1)]
    assert result.frame["docid"].to_list() == [1, 2, 0]
    assert result.frame["kept"].to_list() == [True, False, False]
    assert result.frame["score"].to_list() == [5.0, 4.0, 1.0]


def test_a_session_that_loses_nobody_is_not_made_to_copy() -> None:
    scorer = Scripted(fresh(1, 2), fresh(1, 2))
    Cascade(scorer, [KeepAll(), TopK(1)]).run(table([0.0, 0.0]))
    assert scorer.asked == [("start", [0, 1]), ("score", 0), ("score", 1)]


def test_later_stages_are_not_asked_when_nobody_survives() -> None:
    scorer = Scripted(fresh(1, 2), fresh(1, 2))
    result = Cascade(scorer, [ScoreAtLeast(3), KeepAll()]).run(table([0.0, 0.0]))
    assert scorer.asked == [("start", [0, 1]), ("score", 0)]
    assert result.frame["score_1"].null_count() == 2
    assert result.stages[1].candidates_in == 0
    assert (result.stages[1].flops, result.stages[1].mode) == (None, None)
    assert not result.frame["kept"].any()


def test_the_account_of_each_stage(column_scorer: Callable) -> None:
    rules = [TopK(2), TopK(1)]
    result = Cascade(column_scorer(["s0", "s1"]), rules).run(table([3.0, 2, 1], [1.0], stages=2))
    first, second = result.stages
    assert (first.candidates_in, first.candidates_out, first.flops, first.mode) == (4, 3, 2.0, "fresh")
    assert (second.candidates_in, second.candidates_out, second.flops) == (3, 2, 20.0)
    assert [s.rule for s in result.stages] == rules
    assert 0 <= first.seconds + second.seconds <= result.seconds
    assert result.params_held == 10 + 100


def test_flops_and_mode_of_batches_that_differ_are_weighted_by_their_candidates() -> None:
    class Varying(Scripted):
        def start(self, candidates: pl.DataFrame) -> Any:
            n = len(candidates)
            mode = "reuse" if n == 3 else "recompute"
            return Scripted(StageScores(np.zeros(n), 4.0 if n == 3 else 8.0, mode))

    result = Cascade(Varying(stages=1), [KeepAll()]).run(table([0.0] * 4), batch=3)
    assert result.stages[0].flops == (3 * 4.0 + 1 * 8.0) / 4
    assert result.stages[0].mode == "reuse"


def test_ranked_rules_get_whole_queries_whatever_the_batch() -> None:
    scorer = CallableScorer([lambda f: f["s0"]], [INFO])
    seen: list[int] = []
    frame = table([1.0] * 3, [1.0] * 2, [1.0] * 5, [1.0])
    Cascade(scorer, [TopK(1)]).run(frame, batch=5, progress=lambda done, total: seen.append(done))
    assert seen == [5, 10, 11]  # queries of 3 and 2; of 5; of 1
    seen.clear()
    Cascade(scorer, [KeepAll()]).run(frame, batch=4, progress=lambda done, total: seen.append(done))
    assert seen == [4, 8, 11]


def test_a_scorer_is_given_canonical_rows_whatever_their_order() -> None:
    given: list[list[tuple[int, int]]] = []

    def note(frame: pl.DataFrame) -> pl.Series:
        given.append(frame.select("qid", "docid").rows())
        return frame["s0"]

    frame = table([1.0, 2.0], [1.0, 2.0])
    for rows in (frame, frame.reverse(), frame[[2, 0, 3, 1]]):
        Cascade(CallableScorer([note], [INFO]), [TopK(1)]).run(rows)
    assert given == [[(0, 0), (0, 1), (1, 0), (1, 1)]] * 3


def test_label_and_target_travel_into_the_result(column_scorer: Callable) -> None:
    frame = table([1.0, 2.0]).with_columns(label=pl.Series([0, 1]), target=pl.Series([1, 0]))
    result = Cascade(column_scorer(["s0"]), [TopK(1)]).run(frame).frame
    columns = ["qid", "docid", "rank", "score", "stage", "score_0", "kept", "label", "target"]
    assert result.columns == columns
    assert result["label"].to_list() == [1, 0]


def test_class_scores_rank_by_margin_and_the_lowest_of_equal_classes_is_predicted() -> None:
    scores = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.5, 2.0]])
    frame = table([0.0] * 3).with_columns(target=pl.Series([0, 1, 2]))
    result = Cascade(Scripted(StageScores(scores, 1.0, "fresh")), [PredictedClass()]).run(frame).frame
    assert result.select("docid", "score", "kept").rows() == [
        (2, 2 - 0.5, True),
        (0, 0.0, True),
        (1, 0.0, False),
    ]


def test_what_a_rule_keeps_ranks_above_an_equal_score_that_it_drops_before_a_ranked_stage() -> None:
    # docids 0 and 1 tie at margin 0; only 1 is predicted as its target, so it goes on and 0 ranks last
    scores = np.array([[1.0, 1.0], [1.0, 1.0]])
    frame = table([0.0, 0.0]).with_columns(target=pl.Series([1, 0]))
    scorer = Scripted(StageScores(scores, 1.0, "fresh"), fresh(-9.0))
    result = Cascade(scorer, [PredictedClass(), TopK(1)]).run(frame).frame
    assert result["docid"].to_list() == [1, 0]


@pytest.mark.parametrize("rules", [[TopK(2), TopK(1)], [KeepAll(), KeepAll()]])
def test_an_empty_table_gives_an_empty_result(column_scorer: Callable, rules: list) -> None:
    result = Cascade(column_scorer(["s0", "s1"]), rules).run(table([], stages=2))
    assert result.frame.columns == ["qid", "docid", "rank", "score", "stage", "score_0", "score_1", "kept"]
    assert len(result.frame) == 0
    assert [s.candidates_in for s in result.stages] == [0, 0]


def test_a_single_candidate_survives_every_ranked_rule(column_scorer: Callable) -> None:
    frame = Cascade(column_scorer(["s0", "s1"]), [TopShare(0.01), TopK(1)]).run(table([1.0], stages=2)).frame
    assert frame.select("rank", "stage", "kept").rows() == [(1, 1, True)]


def test_all_equal_scores_are_cut_by_docid(column_scorer: Callable) -> None:
    frame = table([1.0] * 5, stages=2).with_columns(docid=pl.Series(["e", "d", "c", "b", "a"]))
    result = Cascade(column_scorer(["s0", "s1"]), [TopK(3), TopK(1)]).run(frame).frame
    assert result["docid"].to_list() == ["a", "b", "c", "d", "e"]
    assert result["stage"].to_list() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("rule", [TopK(2), KeepAll()])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_refused_naming_stage_query_and_candidate(rule: Any, bad: float) -> None:
    scorer = Scripted(fresh(1, 2, 3), fresh(1, bad))
    text = f"stage 1: scores must be finite, got {bad} for query 'q', candidate 7"
    frame = pl.DataFrame({"qid": ["q"] * 3, "docid": [5, 6, 7]})
    first = TopK(2) if rule == TopK(2) else ScoreAtLeast(2)
    with pytest.raises(CascadeError, match=text):
        Cascade(scorer, [first, rule]).run(frame)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (
            fresh(1, 2),
            r"stage 0: scores of 3 candidates must have shape \(3,\) or \(3, classes\), got \(2,\)",
        ),
        (StageScores(np.zeros((3, 2, 2)), 1.0, "fresh"), r"got \(3, 2, 2\)"),
        (StageScores(np.array(1.0), 1.0, "fresh"), r"got \(\)"),
        (StageScores(np.zeros((3, 1)), 1.0, "fresh"), "at least 2 classes, got 1"),
        (StageScores(np.zeros((3, 2)), 1.0, "fresh"), "'target' must be below the 2 classes, got 2"),
        (StageScores(np.array(["a", "b", "c"]), 1.0, "fresh"), "numeric numpy array, got dtype <U1"),
        (StageScores([1.0, 2.0, 3.0], 1.0, "fresh"), "numeric numpy array, got list"),  # type: ignore[arg-type]
        (np.zeros(3), r"score\(\) must return StageScores, got ndarray"),
        (StageScores(np.zeros(3), -1.0, "fresh"), "flops must be a finite number of at least 0, got -1.0"),
        (
            StageScores(np.zeros(3), float("nan"), "fresh"),
            "flops must be a finite number of at least 0, got nan",
        ),
        (StageScores(np.zeros(3), 1.0, "cached"), "one of fresh, reuse, recompute, got 'cached'"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_answer_of_the_scorer_is_refused_naming_the_stage(answer: Any, text: str) -> None:
    frame = table([0.0] * 3).with_columns(target=pl.Series([0, 1, 2]))
    with pytest.raises(CascadeError, match=text) as caught:
        Cascade(Scripted(answer), [KeepAll()]).run(frame)
    assert str(caught.value).startswith("stage 0: ")


def test_class_scores_need_a_target() -> None:
    with pytest.raises(CascadeError, match="stage 0: scores per class need a 'target' column"):
        Cascade(Scripted(StageScores(np.zeros((1, 2)), 1.0, "fresh")), [KeepAll()]).run(table([0.0]))


def test_an_error_inside_the_scorer_keeps_its_type_and_says_at_which_stage() -> None:
    with pytest.raises(KeyError) as caught:
        Cascade(Scripted(fresh(1, 2), KeyError("x")), [TopK(1), TopK(1)]).run(table([0.0, 0.0]))
    assert caught.value.__notes__ == ["raised by the scorer at stage 1, scoring 1 candidates"]


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ([TopK(1)], "one rule per stage, got 1 rules for 2 stages"),
        ([TopK(1), 10], r"rules must be keep rules such as TopK\(10\), got 10"),
        ([TopK(1), TopK], r"rules must be keep rules such as TopK\(10\), got <class"),
        ([TopK(1), TopK(2)], "cutoffs must never grow"),
    ],
)
def test_rules_that_do_not_fit_are_refused_before_anything_runs(rules: list, text: str) -> None:
    scorer = Scripted(fresh(1), fresh(1))
    with pytest.raises(CascadeError, match=text):
        Cascade(scorer, rules)
    assert scorer.asked == []


def test_a_scorer_without_stages_is_refused() -> None:
    with pytest.raises(CascadeError, match="at least one stage"):
        Cascade(Scripted(), [])


def test_validate_checks_the_table_without_scoring() -> None:
    scorer = Scripted(fresh(1, 2))
    cascade = Cascade(scorer, [PredictedClass()])
    with pytest.raises(CascadeError, match="unable to find column 'target'"):
        cascade.validate(table([0.0, 0.0]))
    cascade.validate(table([0.0, 0.0]).with_columns(target=pl.lit(0)))
    assert scorer.asked == []


@pytest.mark.parametrize("batch", [0, -1, 1.5, True, None])
def test_a_batch_size_that_is_not_a_positive_count_is_refused(batch: Any) -> None:
    with pytest.raises(CascadeError, match="batch must be a whole number of at least 1"):
        Cascade(Scripted(fresh(1)), [KeepAll()]).run(table([0.0]), batch=batch)

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from cascade.callables import CallableScorer, estimator_function
from cascade.errors import CascadeError
from cascade.scorer import StageInfo
from cascade.testing import check_scorer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
FRAME = pl.DataFrame({"qid": np.arange(40) // 10, "docid": np.arange(40), "a": X[:, 0], "b": X[:, 1], "c": X[:, 2]})
INFO = StageInfo(None, 4, 3.0)


@pytest.mark.parametrize(
    ("estimator", "y", "expected"),
    [
        (LogisticRegression(), X[:, 0] > 0, "decision_function"),
        (LogisticRegression(), np.digitize(X[:, 0], [-0.5, 0.5]), "decision_function"),
        (RandomForestClassifier(5, random_state=0), np.digitize(X[:, 0], [-0.5, 0.5]), "predict_proba"),
        (LinearRegression(), X[:, 0] ** 2, "predict"),
    ],
)
def test_an_estimator_scores_as_it_does_by_itself(estimator: object, y: np.ndarray, expected: str) -> None:
    estimator.fit(X, y)  # type: ignore[attr-defined]
    function = estimator_function(estimator, ["a", "b", "c"])
    assert np.array_equal(function(FRAME), getattr(estimator, expected)(X))
    check_scorer(lambda: CallableScorer([function, function], [INFO, INFO]), FRAME, exact=True)


def test_two_class_probabilities_become_the_second_class_score() -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(X, np.where(X[:, 0] > 0, "yes", "no"))
    scores = estimator_function(forest, ["a", "b", "c"])(FRAME)
    assert np.array_equal(scores, forest.predict_proba(X)[:, 1])


def test_class_scores_need_classes_that_target_can_index() -> None:
    names = np.array(["p", "q", "r"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    with pytest.raises(CascadeError, match=r"must have classes 0, 1, 2, ..., got \['p', 'q', 'r'\]"):
        estimator_function(LogisticRegression().fit(X, names), ["a", "b", "c"])


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(CascadeError, match="needs one of decision_function, predict_proba, predict, got object"):
        estimator_function(object(), ["a"])


def test_functions_and_infos_must_pair_up() -> None:
    with pytest.raises(CascadeError, match="got 2 functions and 1 infos"):
        CallableScorer([lambda f: f["a"]] * 2, [INFO])
    with pytest.raises(CascadeError, match="at least one stage"):
        CallableScorer([], [])


def test_independent_models_hold_the_sum_of_their_parameters() -> None:
    scorer = CallableScorer([lambda f: f["a"]] * 2, [INFO, StageInfo(None, 7, 6.0)])
    assert scorer.params_held == 4 + 7


@pytest.mark.parametrize(
    ("rate", "params", "flops", "text"),
    [
        (0.0, 1, 1.0, "rate must be in"),
        (1.5, 1, 1.0, "rate must be in"),
        (None, -1, 1.0, "params must be a whole number of at least 0, got -1"),
        (None, 1, float("nan"), "flops must be a finite number of at least 0, got nan"),
        (None, 1, -1.0, "flops must be a finite number of at least 0, got -1.0"),
    ],
)
def test_impossible_stage_infos_are_refused(rate: float | None, params: int, flops: float, text: str) -> None:
    with pytest.raises(CascadeError, match=text):
        StageInfo(rate, params, flops)

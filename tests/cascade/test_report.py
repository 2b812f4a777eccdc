import json
from collections.abc import Callable

import polars as pl
import pytest

from cascade.alone import score_all
from cascade.errors import CascadeError
from cascade.keep import PredictedClass, ScoreAtLeast, TopK
from cascade.pipeline import Cascade
from cascade.report import system_report

FRAME = pl.DataFrame(
    {"qid": [0, 0, 0, 1, 1], "docid": [1, 2, 3, 1, 2]}
    | {"s0": [3.0, 2.0, 1.0, 1.0, 2.0], "s1": [1.0, 2.0, 3.0, 1.0, 2.0]}
)
RELEVANT = pl.DataFrame({"qid": [0, 0, 1], "docid": [1, 3, 2]})
RULES = [TopK(2), TopK(1)]


def entry(make: Callable, frame: pl.DataFrame = FRAME, **options: object) -> dict:
    scorer = make(["s0", "s1"])
    result = Cascade(scorer, RULES).run(frame)
    return system_report("two", result, score_all(scorer, frame).alone(RULES), RELEVANT, **options)  # type: ignore


def test_every_number_by_hand(column_scorer: Callable) -> None:
    # stage 0 keeps (0,1) (0,2) (1,1) (1,2); stage 1 alone keeps (0,3) (1,2); the cascade keeps (0,2) (1,2)
    found = entry(column_scorer)
    first, second = found["stages"]
    for stage in found["stages"]:
        assert stage.pop("seconds") >= 0
    assert first == {
        "rate": None,
        "params": 10,
        "flops": 2.0,
        "flops_increment": 2.0,
        "feature_cost_increment": 0.0,
        "precision": 2 / 4,
        "recall": 2 / 3,
        "aggregate_recall": 2 / 3,
        "candidates_in": 5,
        "candidates_out": 4,
        "mode": "fresh",
        "rule": "TopK(k=2)",
        "relevant_kept_alone": 2,
        "relevant_kept": 2,
    }
    assert second == first | {
        "params": 100,
        "flops": 20.0,
        "flops_increment": 20.0,
        "precision": 2 / 2,
        "recall": 2 / 3,
        "aggregate_recall": 1 / 3,
        "candidates_in": 4,
        "candidates_out": 2,
        "rule": "TopK(k=1)",
        "relevant_kept": 1,
    }
    assert found["name"] == "two"
    assert found["params_held"] == 110
    assert found["flops_total"] == 5 * 2 + 4 * 20
    assert found["flops_per_kept_item"] == 22
    assert found["inclusion"]["matrix"] == [[1.0, 0.0], [0.0, 1.0]]  # E_0 = {(0,3)}, E_1 = {(0,1)}
    assert found["inclusion"]["errors"] == [1, 1]
    assert (found["candidates"], found["relevant"], found["kept"], found["relevant_kept"]) == (5, 3, 2, 1)
    assert found["mean_recall_by_query"] == (0 / 2 + 1 / 1) / 2
    assert [row["lost"] for row in found["loss_by_stage"]] == [0, 1, 1]
    assert found["seconds_total"] <= found["seconds_run"]


def test_it_is_plain_json(column_scorer: Callable) -> None:
    found = entry(column_scorer)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    empty = entry(column_scorer, FRAME.clear())
    assert json.loads(json.dumps(empty, allow_nan=False)) == empty
    assert empty["stages"][0]["mode"] == "fresh"
    assert empty["stages"][0]["flops_increment"] == 0
    assert empty["flops_per_kept_item"] is None


def test_precision_is_what_the_protocol_means_by_it(column_scorer: Callable) -> None:
    # stage 0 decides 2 relevant and 0 others rightly of 5; stage 1 alone 2 relevant and 2 others
    accuracy = entry(column_scorer, precision="accuracy")
    assert [stage["precision"] for stage in accuracy["stages"]] == [2 / 5, 4 / 5]
    assert accuracy["precision_definition"].startswith("share of the candidates decided rightly")
    with pytest.raises(CascadeError, match="precision must be one of retrieval, accuracy, got 'paper'"):
        entry(column_scorer, precision="paper")


def test_in_the_papers_protocol_precision_is_the_share_classified_as_their_type(
    column_scorer: Callable,
) -> None:
    images = pl.DataFrame({"qid": [0, 0, 1, 1], "docid": [0, 1, 2, 3], "target": [0, 0, 1, 1]}).with_columns(
        s0=pl.Series([[2.0, 1.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]),
        s1=pl.Series([[1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]),
    )
    scorer, rules = column_scorer(["s0", "s1"]), [PredictedClass(), PredictedClass()]
    alone = score_all(scorer, images).alone(rules)
    result = Cascade(scorer, rules).run(images)
    found = system_report("paper", result, alone, images.select("qid", "docid"), precision="accuracy")
    assert [stage["precision"] for stage in found["stages"]] == [3 / 4, 2 / 4]
    assert [stage["recall"] for stage in found["stages"]] == [3 / 4, 2 / 4]
    assert [stage["relevant_kept"] for stage in found["stages"]] == [3, 2]
    assert found["inclusion"]["matrix"] == [[1.0, 1 / 2], [1 / 2, 1.0]]  # E_1 = {0, 1}, E_0 = {1}


def test_a_stage_that_nobody_reached_has_spent_nothing(column_scorer: Callable) -> None:
    scorer, rules = column_scorer(["s0", "s1"]), [ScoreAtLeast(99), ScoreAtLeast(0)]
    alone = score_all(scorer, FRAME).alone(rules)
    found = system_report("none", Cascade(scorer, rules).run(FRAME), alone, RELEVANT)
    assert found["stages"][1]["flops_increment"] == 0
    assert found["stages"][1]["candidates_in"] == 0
    assert found["flops_per_kept_item"] is None


def test_another_tables_scores_are_refused(column_scorer: Callable) -> None:
    scorer = column_scorer(["s0", "s1"])
    result = Cascade(scorer, RULES).run(FRAME)
    with pytest.raises(CascadeError, match=r"same candidates and stages, got 5 candidates .* and 4 through 2"):
        system_report("x", result, score_all(scorer, FRAME[:4]).alone(RULES), RELEVANT)

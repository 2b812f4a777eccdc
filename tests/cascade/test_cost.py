"""Feature cost, by arithmetic: each stage pays for what no earlier one has read, for the candidates that reach it."""

import numpy as np
import polars as pl
import pytest

from cascade import (
    CallableScorer,
    Cascade,
    CascadeError,
    StageInfo,
    TopK,
    feature_costs,
    features_total,
    relevant_pairs,
    score_all,
    system_report,
)


def info(features: float) -> StageInfo:
    return StageInfo(None, 0, 1.0, features)


def test_a_stage_pays_for_what_no_earlier_stage_has_read() -> None:
    assert feature_costs([info(1), info(1), info(6), info(4), info(8)]) == (1, 0, 5, 0, 2)
    with pytest.raises(CascadeError, match="features must be a finite cost of at least 0, got -1"):
        info(-1)


def test_a_run_pays_for_the_candidates_that_reach_a_stage() -> None:
    frame = pl.DataFrame({"qid": [1] * 6 + [2] * 2, "docid": range(8), "label": [1, 0] * 4, "x": np.arange(8.0)})
    scorer = CallableScorer([lambda f: f["x"].to_numpy()] * 3, [info(0.5), info(2.5), info(10)])
    cascade = Cascade(scorer, [TopK(4), TopK(3), TopK(1)])
    result = cascade.run(frame)
    assert features_total(result) == 8 * 0.5 + 6 * 2 + 5 * 7.5
    relevant = relevant_pairs(frame)
    entry = system_report("x", result, score_all(scorer, frame).alone(cascade.rules), relevant)
    assert entry["feature_cost_total"] == features_total(result)
    assert [stage["feature_cost_increment"] for stage in entry["stages"]] == [0.5, 2, 7.5]

import builtins
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import pytest

from cascade.errors import CascadeError
from cascade.keep import PredictedClass, TopK
from cascade.pipeline import Cascade
from cascade.scorer import is_order_free
from cascade.testing import check_scorer
from cascade.trees import TreePrefixScorer

NAMES = ["a", "b", "c"]
ROUNDS = 12
X = np.random.default_rng(0).standard_normal((120, 3))
FRAME = pl.DataFrame({"qid": np.arange(120) // 20, "docid": np.arange(120), **dict(zip(NAMES, X.T, strict=True))})


def train(y: np.ndarray, **params: Any) -> lgb.Booster:
    settings = {"verbose": -1, "num_threads": 1, "num_leaves": 5, "min_data_in_leaf": 5, **params}
    return lgb.train(settings, lgb.Dataset(X, y), num_boost_round=ROUNDS)


@pytest.fixture(scope="module")
def regression() -> lgb.Booster:
    return train(10 + X[:, 0] + X[:, 1] ** 2, objective="regression")


@pytest.fixture(scope="module")
def classes() -> lgb.Booster:
    return train(np.digitize(X[:, 0], [-0.5, 0.5]), objective="multiclass", num_class=3)


def test_prefixes_keep_the_protocol_and_reuse_exactly(regression: lgb.Booster, classes: lgb.Booster) -> None:
    for booster in (regression, classes):
        check_scorer(lambda b=booster: TreePrefixScorer(b, [2, 5, ROUNDS], NAMES), FRAME, exact=True, atol=1e-9)


def test_a_stage_scores_as_the_booster_does_with_so_many_iterations(regression: lgb.Booster) -> None:
    result = Cascade(TreePrefixScorer(regression, [3, ROUNDS], NAMES), [TopK(7), TopK(2)]).run(FRAME)
    rows = result.frame.join(FRAME, on="docid")
    first = regression.predict(rows.select(NAMES).to_numpy(), num_iteration=3)
    assert np.allclose(rows["score_0"].to_numpy(), first, rtol=1e-12)
    late = rows.filter(pl.col("stage") == 1)
    assert np.allclose(late["score"].to_numpy(), regression.predict(late.select(NAMES).to_numpy()), rtol=1e-12)


def test_whole_numbers_score_the_same_whatever_else_a_batch_holds() -> None:
    # LightGBM rounds integers to fp32, where those beyond 2**24 meet; a null makes a column of integers one of floats
    rng = np.random.default_rng(0)
    times = 1_700_000_000 + rng.integers(0, 200, 400)
    booster = lgb.train(
        {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "max_bin": 250},
        lgb.Dataset(times.astype(float)[:, None], times % 2 + times % 50),
        num_boost_round=ROUNDS,
    )
    table = pl.DataFrame({"qid": np.arange(400) // 20, "docid": np.arange(400) % 20, "time": times})
    table = table.with_columns(time=pl.when(pl.int_range(400) == 143).then(None).otherwise(pl.col("time")))
    scorer = TreePrefixScorer(booster, [5, ROUNDS], ["time"])
    assert is_order_free(scorer)
    check_scorer(lambda: scorer, table, exact=True)
    cascade = Cascade(scorer, [TopK(10), TopK(5)])
    expected = cascade.run(table, batch=40).frame
    for seed in range(3):
        blocks = pl.concat([table.filter(qid=qid) for qid in np.random.default_rng(seed).permutation(20).tolist()])
        assert cascade.run(blocks, batch=40).frame.equals(expected)


def test_the_cost_is_the_number_of_trees_and_only_new_ones_are_paid(classes: lgb.Booster) -> None:
    scorer = TreePrefixScorer(classes, [3, ROUNDS], NAMES)
    frame = FRAME.with_columns(target=pl.Series(np.digitize(X[:, 0], [-0.5, 0.5])))
    result = Cascade(scorer, [PredictedClass(), PredictedClass()]).run(frame)
    assert [info.flops for info in scorer.stages] == [3 * 3, ROUNDS * 3]  # a tree per class and iteration
    assert [stage.flops for stage in result.stages] == [9, 27]
    assert [stage.mode for stage in result.stages] == ["fresh", "reuse"]


def test_parameters_are_the_nodes_of_the_prefix(regression: lgb.Booster) -> None:
    scorer = TreePrefixScorer(regression, [1, 4], NAMES)
    table = regression.dump_model()["tree_info"]

    def nodes(tree: dict) -> int:
        children = [tree[side] for side in ("left_child", "right_child") if side in tree]
        return 1 + sum(map(nodes, children))

    counted = [nodes(tree["tree_structure"]) for tree in table]
    assert [info.params for info in scorer.stages] == [counted[0], sum(counted[:4])]
    assert scorer.params_held == sum(counted[:4])


@pytest.mark.parametrize("iterations", [[], [0, 3], [3, 3], [5, 2], [1, ROUNDS + 1], [1.5]])
def test_iterations_must_rise_within_the_booster(regression: lgb.Booster, iterations: list) -> None:
    with pytest.raises(CascadeError, match=rf"iterations must rise within \[1, {ROUNDS}\]"):
        TreePrefixScorer(regression, iterations, NAMES)


def test_stages_must_be_asked_for_in_rising_order(regression: lgb.Booster) -> None:
    session = TreePrefixScorer(regression, [1, 2], NAMES).start(FRAME)
    session.score(1)
    with pytest.raises(CascadeError, match="rising order, got stage 1 after 2 iterations"):
        session.score(1)


def test_a_random_forest_averages_and_is_refused() -> None:
    forest = train(X[:, 0], boosting="rf", bagging_freq=1, bagging_fraction=0.5)
    with pytest.raises(CascadeError, match="got a random forest, which averages"):
        TreePrefixScorer(forest, [1, 2], NAMES)


def test_what_is_no_booster_is_refused() -> None:
    with pytest.raises(CascadeError, match=r"must be a lightgbm.Booster, got LGBMRanker; use model.booster_"):
        TreePrefixScorer(lgb.LGBMRanker(), [1], NAMES)


def test_without_lightgbm_the_error_says_what_to_install(
    regression: lgb.Booster, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "lightgbm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CascadeError, match=r"needs LightGBM; install slicerank\[trees\]"):
        TreePrefixScorer(regression, [1], NAMES)


def test_columns_that_the_booster_was_not_trained_on_are_refused() -> None:
    booster = lgb.train({"verbose": -1}, lgb.Dataset(X, X[:, 0], feature_name=NAMES), num_boost_round=2)
    for names in (["a", "b"], ["a", "b", "b"], [*NAMES, "d"]):
        with pytest.raises(CascadeError, match="features must be 3 different columns"):
            TreePrefixScorer(booster, [1], names)
    with pytest.raises(CascadeError, match=r"in the order of the booster's own, \['a', 'b', 'c'\]"):
        TreePrefixScorer(booster, [1], ["b", "a", "c"])
    TreePrefixScorer(booster, [1], ["x", "y", "z"])

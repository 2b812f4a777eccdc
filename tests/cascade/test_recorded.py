"""A run read back from its ranking tells what the run itself tells, and no more."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from cascade import (
    AllScores,
    Cascade,
    CascadeError,
    CascadeResult,
    KeepAll,
    StageRanks,
    TopK,
    agreement,
    hit_rate,
    kept_as_many,
    loss_by_stage,
    quality_so_far,
    recall_k_at_m,
    recorded_result,
    recorded_scores,
    relevant_pairs,
    score_all,
    stage_recall,
)

BUDGETS = (6, 4, 2)
RATES = ("0.125", "0.5", "1")


def run(make: Callable, seed: int, n: int = 45) -> tuple[Cascade, pl.DataFrame, CascadeResult, AllScores]:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"qid": rng.integers(0, 6, n), "docid": rng.permutation(n), "label": rng.integers(0, 3, n)})
    scores = {f"s{k}": rng.integers(0, 30, n) / 2 + frame["label"].to_numpy() for k in range(len(BUDGETS))}
    frame = frame.with_columns(pl.Series(name, values) for name, values in scores.items())
    cascade = Cascade(make([*scores]), [TopK(k) for k in BUDGETS])
    return cascade, frame, cascade.run(frame), score_all(cascade.scorer, frame)


def written(result: CascadeResult) -> pl.DataFrame:
    """As `slicerank run` writes it."""
    scores = [pl.col(f"score_{i}").alias(f"score_{rate}") for i, rate in enumerate(RATES)]
    return result.frame.select("qid", "docid", "rank", "score", "stage", *scores, "kept")


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_the_run_knows_is_read_back_whatever_the_order_of_the_rows(column_scorer: Callable, seed: int) -> None:
    _, frame, result, scores = run(column_scorer, seed)
    relevant = relevant_pairs(frame, 2)
    back = recorded_result(written(result).sample(fraction=1, shuffle=True, seed=1))
    assert [each.info.rate for each in back.stages] == [0.125, 0.5, 1.0]
    ways = [[(each.candidates_in, each.candidates_out) for each in one.stages] for one in (back, result)]
    assert ways[0] == ways[1]
    assert loss_by_stage(back, relevant).equals(loss_by_stage(result, relevant))
    assert quality_so_far(back, relevant) == quality_so_far(result, relevant)
    ranks, full = StageRanks.of_run(back), StageRanks.of(scores)
    assert ranks.covers[0]
    assert full.covers == (True, True, True)
    mine, theirs = (stage_recall(each, result, relevant, [3]) for each in (ranks, full))
    assert mine["joint"].equals(theirs["joint"])
    assert mine["alone"].to_list() == [
        value if covered else None for value, covered in zip(theirs["alone"], ranks.covers, strict=True)
    ]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_tau_is_over_what_both_stages_have_scored(column_scorer: Callable, seed: int) -> None:
    _, _, result, _ = run(column_scorer, seed)
    back = recorded_result(written(result))
    tau = agreement(StageRanks.of_run(back))
    for i in range(3):
        for j in range(i, 3):
            reached = back.frame.filter(pl.col("stage") >= j).partition_by("qid")
            found = [kendalltau(q[f"score_{i}"], q[f"score_{j}"]).statistic for q in reached if len(q) > 1]
            defined = [t for t in found if not np.isnan(t)]
            assert tau.queries[i][j] == len(defined)
            assert tau.mean[i][j] == (pytest.approx(np.mean(defined)) if defined else None)
            assert tau.mean[j][i] == tau.mean[i][j]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_with_all_scores_it_is_as_if_every_stage_had_scored_all(column_scorer: Callable, seed: int) -> None:
    cascade, frame, result, scores = run(column_scorer, seed)
    everything = recorded_result(written(Cascade(cascade.scorer, [KeepAll()] * 3).run(frame)))
    back = recorded_result(written(result))
    found = recorded_scores(back, everything)
    assert found.frame.equals(scores.frame.select(found.frame.columns))
    ranks = StageRanks.of(found)
    kept = scores.alone([TopK(k) for k in BUDGETS]).kept
    for stage in range(3):
        alive = back.frame.filter((pl.col("stage") > stage) | pl.col("kept")).group_by("qid").len()
        as_many = found.frame.select("qid").with_columns(kept=kept_as_many(ranks, back)[:, stage])
        assert as_many.group_by("qid").agg(pl.col("kept").sum()).sort("qid")["kept"].to_list() == (
            as_many.select("qid").unique().join(alive, on="qid", how="left").sort("qid")["len"].fill_null(0).to_list()
        )
    assert (kept_as_many(ranks, back)[:, 0] == kept[:, 0]).all()
    assert hit_rate(ranks, back, kept, 3).equals(hit_rate(StageRanks.of(scores), result, kept, 3))


def test_scores_that_are_not_known_are_not_made_up(column_scorer: Callable) -> None:
    cascade, frame, result, _ = run(column_scorer, 0)
    back = recorded_result(written(result))
    ranks = StageRanks.of_run(back)
    with pytest.raises(CascadeError, match="stage 1 has not"):
        hit_rate(ranks, back, np.ones((45, 3), dtype=bool), 3)
    with pytest.raises(CascadeError, match="stage 1 has not"):
        recall_k_at_m(ranks, relevant_pairs(frame), 3, [3])
    with pytest.raises(CascadeError, match="scores are missing"):
        recorded_scores(back, back)
    everything = recorded_result(written(Cascade(cascade.scorer, [KeepAll()] * 3).run(frame.head(40))))
    with pytest.raises(CascadeError, match="must be of the run's candidates, got 40 for 45"):
        recorded_scores(back, everything)
    other = recorded_result(written(result).rename({"score_0.5": "score_0.25"}))
    with pytest.raises(CascadeError, match=r"lack rate 0\.5"):
        recorded_scores(back, other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame.drop("score_0.125", "score_0.5", "score_1"), "needs a column score_RATE for each stage"),
        (lambda frame: frame.drop("kept"), "'kept'"),
        (lambda frame: frame.with_columns(stage=pl.lit(0)), "a finite score for every stage up to its own"),
        (lambda frame: frame.with_columns(stage=pl.lit(3)), "with stage 3 of 3"),
        (lambda frame: frame.with_columns(kept=pl.lit(True)), "kept by the last"),
        (lambda frame: frame.with_columns(pl.lit(float("inf")).alias("score_0.125")), "finite score"),
        (lambda frame: frame.with_columns(rank=pl.lit(None, dtype=pl.Int64)), "'rank' must have no nulls, got 45"),
        (lambda frame: pl.concat([frame, frame.head(1)]), "must be unique"),
    ],
)
def test_what_is_no_ranking_of_a_run_is_refused(column_scorer: Callable, change: Callable, said: str) -> None:
    with pytest.raises(CascadeError, match=said):
        recorded_result(change(written(run(column_scorer, 0)[2])))

"""Scorers to whose scores the order of candidates makes no difference, and all others."""

from functools import partial

import numpy as np
import polars as pl
import pytest

from cascade import CallableScorer, Cascade, KeepAll, KeepRule, ScoreAtLeast, StageInfo, SubsetScorer, TopK, TopShare

RNG = np.random.default_rng(0)
N = 900
STAGES = range(3)
INFO = StageInfo(None, 4, 3.0)
TABLE = pl.DataFrame(
    {"qid": np.arange(N) % 7, "docid": RNG.permutation(N)} | {f"s{s}": RNG.integers(0, 4, N) for s in STAGES}
).with_columns(pl.col("docid").cast(pl.String))
TOGETHER = pl.concat([TABLE.filter(qid=qid) for qid in (3, 0, 6, 5, 1, 2, 4)])


def read(stage: int, seen: list[list[str]], frame: pl.DataFrame) -> np.ndarray:
    seen.append(frame["docid"].to_list())
    return frame[f"s{stage}"].to_numpy()


def scorer(order_free: bool, seen: list[list[str]] | None = None) -> CallableScorer:
    functions = [partial(read, stage, [] if seen is None else seen) for stage in STAGES]
    return CallableScorer(functions, [INFO] * len(STAGES), order_free=order_free)


@pytest.mark.parametrize("table", [TABLE, TOGETHER], ids=["scattered", "together"])
@pytest.mark.parametrize("only_kept", [True, False])
@pytest.mark.parametrize(
    "rules",
    [
        [TopK(100), TopK(40), TopK(7)],
        [TopShare(0.9), TopK(30), TopK(30)],
        [KeepAll(), ScoreAtLeast(1), ScoreAtLeast(2)],
        [ScoreAtLeast(1), TopK(20), ScoreAtLeast(1)],
    ],
)
def test_most_scores_level_with_others_are_settled_the_same_way(
    table: pl.DataFrame, only_kept: bool, rules: list[KeepRule]
) -> None:
    ways = [Cascade(scorer(order_free), rules).run(table, batch=150, only_kept=only_kept) for order_free in (0, 1)]
    assert ways[0].frame.equals(ways[1].frame)
    assert [s.candidates_out for s in ways[0].stages] == [s.candidates_out for s in ways[1].stages]


class SaysNothing:
    """A scorer of the three members that the protocol asks for, and no more."""

    def __init__(self, scorer: CallableScorer) -> None:
        self.stages, self.params_held, self.start = scorer.stages, scorer.params_held, scorer.start


def test_a_scorer_that_says_nothing_gets_candidates_in_the_order_of_their_docids() -> None:
    seen: list[list[str]] = []
    Cascade(SaysNothing(scorer(True, seen)), [TopK(5)] * 3).run(TOGETHER)
    assert seen[0] == TOGETHER.sort("qid", "docid")["docid"].to_list()


def test_candidates_come_in_the_order_of_their_docids_unless_that_makes_no_difference() -> None:
    for order_free in (False, True):
        for wrap in (False, True):
            seen: list[list[str]] = []
            plain = scorer(order_free, seen)
            Cascade(SubsetScorer(plain, [0]) if wrap else plain, [TopK(5)] * (1 if wrap else 3)).run(TOGETHER)
            ordered = TOGETHER.sort("qid", "docid")
            assert seen[0] == (TOGETHER if order_free else ordered)["docid"].to_list()

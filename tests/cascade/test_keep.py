import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import CascadeError
from cascade.keep import (
    KeepAll,
    PredictedClass,
    Ranking,
    ScoreAtLeast,
    ScoreDrop,
    TopK,
    TopShare,
    check_cutoffs,
)


def ranking(*queries: list[float], originals: list[int] | None = None) -> Ranking:
    sizes = [len(q) for q in queries]
    return Ranking(
        np.array([s for q in queries for s in sorted(q, reverse=True)]),
        np.array(sizes),
        np.array(originals or sizes),
    )


def test_pointwise_rules_are_exactly_those_that_look_at_one_item() -> None:
    pointwise = [r.pointwise for r in (KeepAll(), ScoreAtLeast(0.0), PredictedClass())]
    ranked = [r.pointwise for r in (TopK(1), TopShare(0.5), ScoreDrop(1.0))]
    assert (pointwise, ranked) == ([True] * 3, [False] * 3)


def test_top_k_asks_for_k_of_each_query() -> None:
    assert TopK(2).counts(ranking([3.0, 2.0, 1.0], [], [1.0])).tolist() == [2, 2, 2]


@given(st.integers(1, 10_000), st.integers(1, 1000))
def test_top_share_is_the_ceiling_of_the_decimal_share(hundredths: int, n: int) -> None:
    share = hundredths / 10_000
    expected = math.ceil(Fraction(hundredths, 10_000) * n)
    assert TopShare(share).counts(ranking([0.0], originals=[n])).tolist() == [max(1, expected)]


def test_top_share_of_100_by_7_percent_is_7_though_the_float_product_is_above_7() -> None:
    assert 0.07 * 100 > 7
    assert TopShare(0.07).counts(ranking([0.0], originals=[100])).tolist() == [7]


def test_top_share_counts_from_the_original_candidates_and_keeps_the_minimum() -> None:
    seen = ranking([2.0, 1.0], [1.0], originals=[10, 3])
    assert TopShare(0.5, minimum=2).counts(seen).tolist() == [5, 2]


def test_score_drop_counts_from_the_best_of_each_query_inclusive() -> None:
    seen = ranking([5.0, 4.0, 3.9], [], [1.0, 1.0])
    assert ScoreDrop(1.0).counts(seen).tolist() == [2, 0, 2]
    assert ScoreDrop(0.0).counts(seen).tolist() == [1, 0, 2]


def test_score_at_least_is_inclusive() -> None:
    assert ScoreAtLeast(0.5).kept(np.array([0.4, 0.5, 0.6]), None).tolist() == [False, True, True]


def test_predicted_class_keeps_the_hits_and_needs_scores_per_class() -> None:
    assert PredictedClass().kept(np.zeros(2), np.array([True, False])).tolist() == [True, False]
    with pytest.raises(CascadeError, match="one score per class"):
        PredictedClass().kept(np.zeros(2), None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: TopK(0), "k must be a whole number of at least 1, got 0"),
        (lambda: TopK(2.5), "k must be a whole number of at least 1, got 2.5"),  # type: ignore[arg-type]
        (lambda: TopK(True), "k must be a whole number of at least 1, got True"),
        (lambda: TopShare(0.0), r"share must be in \(0, 1\], got 0.0"),
        (lambda: TopShare(50), r"share must be in \(0, 1\], got 50"),
        (lambda: TopShare(0.5, minimum=0), "minimum must be a whole number of at least 1, got 0"),
        (lambda: ScoreAtLeast(float("nan")), "threshold must be a finite number, got nan"),
        (lambda: ScoreAtLeast("high"), "threshold must be a finite number, got 'high'"),  # type: ignore[arg-type]
        (lambda: ScoreDrop(-1.0), "drop must be at least 0, got -1.0"),
        (lambda: ScoreDrop(float("inf")), "drop must be a finite number, got inf"),
    ],
)
def test_parameters_out_of_range_are_refused_with_their_value(make: object, text: str) -> None:
    with pytest.raises(CascadeError, match=text):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        ([TopK(10), TopK(20)], "stage 1 has k=20 after k=10 at stage 0"),
        ([TopK(10), KeepAll(), TopK(11)], "stage 2 has k=11 after k=10 at stage 0"),
        ([TopK(10), TopK(5), TopK(10)], "stage 2 has k=10 after k=5 at stage 1"),
        ([TopShare(0.2), TopShare(0.3)], "stage 1 has share=0.3 after share=0.2"),
        ([TopShare(0.2), TopShare(0.2, minimum=3)], "stage 1 has minimum=3 after minimum=1"),
    ],
)
def test_growing_cutoffs_are_refused(rules: list, text: str) -> None:
    with pytest.raises(CascadeError, match=text):
        check_cutoffs(rules)


def test_equal_and_falling_cutoffs_are_fine_and_scores_of_stages_are_not_compared() -> None:
    check_cutoffs([TopK(10), TopK(10), ScoreAtLeast(0.1), TopShare(0.5), ScoreAtLeast(0.0), TopShare(0.5), TopK(1)])

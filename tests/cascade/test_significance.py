from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cascade.errors import CascadeError
from cascade.ranking import evaluate
from cascade.significance import bootstrap_interval, compare_systems, holm, paired_p


def table(values: list[float | None], qids: list[int] | None = None, name: str = "AP") -> pl.DataFrame:
    return pl.DataFrame({"qid": qids or list(range(len(values))), name: values}, schema_overrides={name: pl.Float64})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.5, -0.1, 0.0, 0.1, 0.2, 0.7]), min_size=1, max_size=9))
def test_few_queries_go_through_every_sign_flip(values: list[float]) -> None:
    total = abs(sum(values))
    flips = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in product([1, -1], repeat=len(values))
    ]
    expected = sum(flip >= total - 1e-9 for flip in flips) / len(flips)
    assert paired_p(np.array(values)) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.05])
def test_many_queries_agree_with_the_t_test_and_scipys_permutations(shift: float) -> None:
    difference = np.random.default_rng(3).normal(shift, 0.2, 200)
    p = paired_p(difference, resamples=20_000)
    theirs = stats.permutation_test(
        (difference,),
        lambda x, axis: x.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=5_000,
        random_state=np.random.default_rng(0),
    ).pvalue
    noise = 4 * np.sqrt(p * (1 - p) / 5_000) + 1e-3
    assert abs(p - theirs) < noise
    assert abs(p - paired_p(difference, "t")) < 0.02
    assert paired_p(difference, "t") == pytest.approx(stats.ttest_rel(difference + 1, np.ones(200)).pvalue)
    assert paired_p(difference, "wilcoxon") == stats.wilcoxon(difference).pvalue


def test_the_permutation_test_keeps_its_level_on_lumpy_measures() -> None:
    """Reciprocal ranks of two systems of which neither is better: p <= 0.1 in about 10% of the trials."""
    rng = np.random.default_rng(0)
    trials = 400
    low = 0
    for trial in range(trials):
        first, second = 1 / rng.integers(1, 8, (2, 30))
        low += paired_p(first - second, resamples=400, seed=trial) <= 0.1
    assert low / trials <= 0.1 + 3 * np.sqrt(0.1 * 0.9 / trials)
    assert low / trials >= 0.1 - 3 * np.sqrt(0.1 * 0.9 / trials) - 0.02


def test_no_difference_at_all() -> None:
    for test in ("permutation", "t", "wilcoxon"):
        assert paired_p(np.zeros(7), test) == 1.0
    assert paired_p(np.full(6, 0.25)) == 2 / 2**6  # all flips one way, or the other


def test_holm_written_out() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([3 * 0.01, 2 * 0.03, 2 * 0.03])
    assert holm(np.array([0.5, 0.9])).tolist() == [1.0, 1.0]
    assert holm(np.array([])).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], level: float) -> None:
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - step) > level:
            break
        rejected.add(i)
    assert {i for i, value in enumerate(holm(np.array(p))) if value <= level} == rejected


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(100):
        low, high = bootstrap_interval(rng.normal(0.1, 0.3, 60), confidence=0.9, resamples=300)
        inside += low <= 0.1 <= high
    assert 80 <= inside <= 98
    assert bootstrap_interval(np.array([0.3])) == (0.3, 0.3)
    assert bootstrap_interval(np.array([0.25, 0.25])) == (0.25, 0.25)
    spread = rng.normal(0, 1, 400)
    low, high = bootstrap_interval(spread, resamples=2000)
    half = 1.96 * spread.std() / 20  # the normal interval of 400 values
    assert (low, high) == pytest.approx((spread.mean() - half, spread.mean() + half), abs=0.02)


def test_a_table_of_comparisons() -> None:
    rng = np.random.default_rng(0)
    a, noise = rng.random(40), rng.normal(0, 0.1, 40)
    systems = {"a": table(a.tolist()), "b": table((a + 0.1 + noise).tolist()), "c": table(a.tolist())}
    found = compare_systems(systems, ["AP"])
    assert found.select("system", "baseline").rows() == [("b", "a"), ("c", "a"), ("c", "b")]
    first, second, third = found.rows(named=True)
    assert first["difference"] == pytest.approx((0.1 + noise).mean())
    assert first["difference"] == pytest.approx(first["mean"] - first["baseline_mean"])
    assert first["low"] < first["difference"] < first["high"]
    assert (first["wins"], first["losses"]) == (int((noise > -0.1).sum()), int((noise < -0.1).sum()))
    assert (second["p"], second["p_holm"], second["ties"], second["low"], second["high"]) == (1, 1, 40, 0, 0)
    assert third["p"] == first["p"]
    assert third["difference"] == pytest.approx(-first["difference"])
    assert found["p_holm"].to_list() == holm(found["p"].to_numpy()).tolist()
    assert compare_systems(systems, ["AP"]).equals(found)
    only = compare_systems(systems, ["AP"], baseline="b", test="t")
    assert only.select("system", "baseline").rows() == [("a", "b"), ("c", "b")]
    assert only["p"][0] == pytest.approx(stats.ttest_rel(a, a + 0.1 + noise).pvalue)


def test_evaluations_are_compared_by_query_not_by_row() -> None:
    qrels = pl.DataFrame({"qid": [1, 2, 3], "docid": [1, 1, 1], "label": [1, 1, 0]})
    run = pl.DataFrame({"qid": [1, 1, 2, 2], "docid": [1, 2, 1, 2], "rank": [1, 2, 2, 1]})
    good = evaluate(run, qrels, ["RR"], without_relevant="skip")
    other = good.per_query.reverse()
    row = compare_systems({"one": good, "same": other}, ["RR"]).row(0, named=True)
    assert (row["queries"], row["ties"], row["mean"]) == (2, 2, 3 / 4)


@pytest.mark.parametrize(
    ("systems", "options", "message"),
    [
        ({"a": table([1.0])}, {}, r"at least two systems are needed, got \['a'\]"),
        ({"a": table([1.0, 0], [1, 2]), "b": table([1.0, 0], [1, 3])}, {}, "got query 2 in 'a' but not in 'b'"),
        ({"a": table([1.0], [1]), "b": table([1.0, 0], [1, 3])}, {}, "got query 3 in 'b' but not in 'a'"),
        ({"a": table([1.0, None]), "b": table([1.0, 0])}, {}, "got query 1 with AP for only one"),
        ({"a": table([None]), "b": table([None])}, {}, "no query has a value of AP"),
        ({"a": table([1.0]), "b": table([1.0], name="RR")}, {}, "system 'b' has no column 'AP'; columns: qid, RR"),
        ({"a": table([1.0]), "b": table([1.0, 1], [0, 0])}, {}, "system 'b' must have each query once, got 0"),
        ({"a": table([1.0]), "b": table([1.0]).cast({"qid": pl.String})}, {}, "qid of Int64 in 'a' and String"),
        ({"a": table([1.0]), "b": [1.0]}, {}, "system 'b' must be an Evaluation"),
        ({"a": table([1.0, 1]), "b": table([0.5, 0.5])}, {"test": "t"}, "needs differences with some spread, got 2"),
        ({"a": table([float("nan")]), "b": table([0.5])}, {}, "must be finite"),
        ({"a": table([1.0]), "b": table([1.0])}, {"baseline": "c"}, "unknown baseline 'c'; systems: a, b"),
        ({"a": table([1.0]), "b": table([1.0])}, {"test": "sign"}, "'t' or 'wilcoxon', got 'sign'"),
        ({"a": table([1.0]), "b": table([1.0])}, {"confidence": 95}, "between 0 and 1, got 95"),
        ({"a": table([1.0]), "b": table([1.0])}, {"resamples": 10}, "at least 100, got 10"),
    ],
)
def test_bad_input(systems: dict, options: dict, message: str) -> None:
    with pytest.raises(CascadeError, match=message) as error:
        compare_systems(systems, ["AP"], **options)
    assert "\n" not in str(error.value)

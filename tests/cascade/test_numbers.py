"""Numbers from outside: what arrays can hold is taken, Python's endless ones are refused in one line."""

from pathlib import Path

import numpy as np
import pytest

from cascade import CascadeError, ScoreAtLeast, TopK, TopKColumn, TopShare, read_config
from cascade.keep import Ranking
from cascade.numbers import MOST, check_seed, is_finite, is_whole
from cascade.promise import promise
from cascade.promise_splits import promise_holds
from cascade.significance import compare_systems


@pytest.mark.parametrize("value", [1, MOST, np.int32(7), np.uint64(5)])
def test_whole_numbers_of_63_bits(value: object) -> None:
    assert is_whole(value)
    assert is_finite(value)


@pytest.mark.parametrize("value", [0, -1, MOST + 1, 10**400, True, 1.0, "1", None])
def test_what_is_no_count(value: object) -> None:
    assert not is_whole(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, -(10**400), True, "1", None])
def test_what_is_no_finite_number(value: object) -> None:
    assert not is_finite(value)


def test_the_largest_counts_keep_everything() -> None:
    ranking = Ranking(np.zeros(5), np.array([2, 3]), np.array([2, 3]), {"k": np.array([0, MOST])})
    for rule in (TopK(MOST), TopShare(0.5, MOST), TopKColumn("k", MOST)):
        assert (np.minimum(rule.counts(ranking), ranking.sizes) == [2, 3]).all()
    with pytest.raises(CascadeError, match="63 bits"):
        TopK(MOST + 1)


@pytest.mark.parametrize("seed", [-1, MOST + 1, 0.5])
def test_a_seed_is_refused_where_it_is_drawn_from(seed: int) -> None:
    for drawing in (
        lambda: check_seed(seed),
        lambda: promise(None, None, seed=seed),  # type: ignore[arg-type]
        lambda: promise_holds(None, None, seed=seed),  # type: ignore[arg-type]
        lambda: compare_systems({}, [], seed=seed),
    ):
        with pytest.raises(CascadeError, match="seed must be a whole number of at least 0"):
            drawing()


@pytest.mark.parametrize("digits", [20, 400, 5000])
@pytest.mark.parametrize(
    "line",
    ["keep = 'top_k'\nvalue = {}", "keep = 'share'\nvalue = 0.5\nminimum = {}", "keep = 'score_at_least'\nvalue = {}"],
)
def test_a_cascade_file_with_endless_numbers_is_refused_in_one_line(tmp_path: Path, line: str, digits: int) -> None:
    path = tmp_path / "c.toml"
    path.write_text("schema = 1\nmodel = 'm'\n[[stages]]\nrate = 1.0\n" + line.format("9" * digits) + "\n")
    if "score" in line and digits == 20:  # a float holds that
        assert isinstance(read_config(path).stages[0].rule, ScoreAtLeast)
        return
    with pytest.raises(CascadeError, match=r"c\.toml") as refused:
        read_config(path)
    assert "\n" not in str(refused.value)


def test_a_plan_of_endless_cost_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    stage = "[[stages]]\nrate = 1.0\nkeep = 'all'\n"
    path.write_text(f"schema = 1\nmodel = 'm'\n{stage}[plan]\ngoal = 'g'\nunit = 'u'\ncost = {'9' * 400}\n")
    with pytest.raises(CascadeError, match=r"plan\.cost must be a finite number"):
        read_config(path)

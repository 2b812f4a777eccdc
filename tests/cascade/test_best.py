import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.best import best_of_each

LEVELS = [-1.0, -0.0, 0.0, 0.5, np.nextafter(0.5, 1)]  # few, so that most scores are level with others


def by_sorting(sizes: list[int], scores: list[float], counts: list[int]) -> list[bool]:
    best, start = [], 0
    for size, count in zip(sizes, counts, strict=True):
        ranked = sorted(range(size), key=lambda i, start=start: (-scores[start + i], i))
        best += [ranked.index(i) < count for i in range(size)]
        start += size
    return best


def found(sizes: list[int], scores: list[float], counts: list[int]) -> list[bool]:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return best_of_each(groups, np.array(scores, float), np.array(sizes, int), np.array(counts, int)).tolist()


@given(st.data(), st.integers(0, 4), st.sampled_from([5, 120]), st.booleans(), st.booleans())
def test_they_are_those_that_sorting_puts_first(
    data: st.DataObject, groups: int, most: int, alike: bool, level: bool
) -> None:
    # groups of up to 5 are sorted, larger ones divided: all at once where they are alike
    sizes = (
        [data.draw(st.integers(0, most))] * groups if alike else data.draw(st.lists(st.integers(0, most), max_size=4))
    )
    count = st.integers(-1, most + 1)
    counts = [data.draw(count)] * len(sizes) if alike else [data.draw(count) for _ in sizes]
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    n = sum(sizes)
    scores = rng.choice(LEVELS, n).tolist() if level else rng.standard_normal(n).tolist()
    assert found(sizes, scores, counts) == by_sorting(sizes, scores, counts)


@given(st.lists(st.integers(0, 90), max_size=4), st.integers(0, 9), st.integers(0, 3))
def test_ids_settle_ties_where_they_are_given(sizes: list[int], seed: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    scores = rng.integers(0, distinct + 1, n).astype(float)
    docids = pl.Series(rng.permutation(n)).cast(pl.String)
    counts = rng.integers(0, 20, len(sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    best = best_of_each(groups, scores, np.array(sizes, int), counts, lambda at: docids[pl.Series(at)])
    ranked = sorted(range(n), key=lambda i: (groups[i], -scores[i], docids[i]))
    seen = {
        i: place
        for size, start in zip(sizes, np.cumsum([0, *sizes]), strict=False)
        for place, i in enumerate(ranked[start : start + size])
    }
    assert best.tolist() == [seen[i] < counts[groups[i]] for i in range(n)]


@pytest.mark.parametrize("sizes", [[100, 100], [100, 99]])
def test_of_those_level_with_the_last_the_first_stay(sizes: list[int]) -> None:
    best = found(sizes, [1.0] * sum(sizes), [3, 2])
    assert np.flatnonzero(best).tolist() == [0, 1, 2, 100, 101]


def test_groups_of_one_size_may_keep_different_numbers() -> None:
    scores = np.random.default_rng(0).standard_normal(300).tolist()
    assert found([100, 100, 100], scores, [7, 50, 1]) == by_sorting([100, 100, 100], scores, [7, 50, 1])

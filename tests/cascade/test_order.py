import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.order import order_runs, order_within, places, starts_of

# few distinct values, so that ties are common; neighbours in the last bit; both zeros; the extremes
VALUES = [0.0, -0.0, 1.0, np.nextafter(1.0, 2), -1.0, np.nextafter(-1.0, 0), 5e-324, -5e-324, 1e308, -1e308]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5) | st.integers(0, 2**40),
            st.sampled_from(VALUES) | st.floats(allow_nan=False, allow_infinity=False),
        )
    )
)
def test_sorts_by_group_then_score_descending_then_position(rows: list[tuple[int, float]]) -> None:
    expected = sorted(range(len(rows)), key=lambda i: (rows[i][0], -rows[i][1], i))
    groups = np.array([g for g, _ in rows], dtype=np.int64)
    scores = np.array([s for _, s in rows], dtype=np.float64)
    assert order_within(groups, scores).tolist() == expected


def test_near_ties_among_many_groups_are_settled_exactly() -> None:
    # 2**20 groups leave 44 bits of the score, so neighbours in the last bit share a key
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 2**20, 5000))
    scores = 1 + rng.integers(0, 4, 5000) * np.finfo(float).eps
    groups[2500:] = groups[2500]
    expected = np.lexsort((np.arange(5000), -scores, groups))
    assert np.array_equal(order_within(groups, scores), expected)


@pytest.mark.parametrize("groups", [1, 40, 70_000, 2**40])
@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("values", ["all different", "ties", "neighbours", "of both signs"])
def test_many_pieces_and_groups_are_in_the_order_of_a_stable_sort(groups: int, rising: bool, values: str) -> None:
    # 20,000 candidates make several pieces; ids beyond 16 bits take another way to bring groups together
    rng = np.random.default_rng(0)
    n = 20_000
    group = rng.integers(0, groups, n)
    if rising:
        group.sort()
    scores = {
        "all different": rng.standard_normal(n),
        "ties": rng.integers(0, 3, n).astype(float),
        "neighbours": 1 + rng.integers(0, 4, n) * np.finfo(float).eps,
        "of both signs": rng.choice([-1, 1], n) * 10.0 ** rng.integers(-300, 300, n),
    }[values]
    assert np.array_equal(order_within(group, scores), np.lexsort((-scores, group)))


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_all_equal_scores_keep_position_order(n: int) -> None:
    assert order_within(np.zeros(n, dtype=np.int64), np.full(n, 0.1)).tolist() == list(range(n))


def test_starts_and_places_of_groups_laid_end_to_end() -> None:
    assert starts_of(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert places(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
    assert places(np.array([], dtype=np.int64)).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 4) | st.integers(0, 2**40), st.integers(0, 30)), max_size=12), st.booleans())
def test_runs_are_sorted_and_those_level_with_the_one_before_marked(runs: list[tuple[int, int]], few: bool) -> None:
    runs = [run for i, run in enumerate(runs) if not i or run[0] != runs[i - 1][0]]
    heads, lengths = (np.array([run[i] for run in runs], dtype=np.int64) for i in (0, 1))
    n = int(lengths.sum())
    keys = np.random.default_rng(n).integers(-3, 3, n) if few else np.random.default_rng(n).integers(-(2**63), 2**63, n)
    groups = np.repeat(heads, lengths)
    level = np.ones(n, dtype=bool)
    order = order_runs(heads, lengths, keys, level)
    pairs = [(groups[i], keys[i]) for i in range(n)]
    assert order.tolist() == sorted(range(n), key=lambda i: (*pairs[i], i))
    assert level.tolist() == [bool(i) and pairs[order[i]] == pairs[order[i - 1]] for i in range(n)]


def test_the_first_of_a_group_is_level_with_nobody() -> None:
    heads, lengths = np.arange(3), np.array([1500, 40, 1500])  # large enough to be sorted apart from each other
    level = np.empty(3040, dtype=bool)
    order_runs(heads, lengths, np.zeros(3040, dtype=np.int64), level)
    assert np.flatnonzero(~level).tolist() == [0, 1500, 1540]


def test_runs_without_members_are_nothing_to_order() -> None:
    assert order_runs(np.array([3, 1]), np.array([0, 0]), np.zeros(0, dtype=np.int64)).tolist() == []
    assert order_runs(np.array([3, 1]), np.array([0, 1]), np.zeros(1, dtype=np.int64)).tolist() == [0]

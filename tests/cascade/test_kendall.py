import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from cascade import kendall
from cascade.errors import CascadeError
from cascade.kendall import kendall_matrix, kendall_tau


def one_by_one(first: np.ndarray, second: np.ndarray, sizes: np.ndarray) -> list[float]:
    starts = np.cumsum(sizes) - sizes
    parts = [(first[s : s + n], second[s : s + n]) for s, n in zip(starts, sizes, strict=True)]
    return [kendalltau(a, b).statistic if len(a) > 1 else np.nan for a, b in parts]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 40), max_size=6),
    st.sampled_from([1, 2, 5, 10**9]),
    st.sampled_from([1, 16, 1 << 17]),
)
def test_equal_to_scipy_query_by_query(seed: int, sizes: list[int], levels: int, chunk: int) -> None:
    rng = np.random.default_rng(seed)
    n = sum(sizes)
    first = rng.integers(0, levels, n) / 8 - 1.0
    second = first * rng.integers(0, 2) + rng.integers(0, levels, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kendall, "_CHUNK", chunk)
        found = kendall_tau(first, second, np.array(sizes, dtype=np.int64))
    expected = one_by_one(first, second, np.array(sizes, dtype=np.int64))
    np.testing.assert_allclose(found, np.array(expected, dtype=float), atol=1e-12)


def test_by_hand() -> None:
    # pairs (1, 2), (1, 3), (2, 3): the first two agree, the third does not
    assert kendall_tau(np.array([1.0, 2, 3]), np.array([1.0, 3, 2]), np.array([3]))[0] == pytest.approx((2 - 1) / 3)
    tied = kendall_tau(np.array([1.0, 1, 2]), np.array([1.0, 2, 3]), np.array([3]))
    assert tied.tolist() == [pytest.approx((2 - 0) / np.sqrt((3 - 1) * (3 - 0)))]


def test_a_large_query() -> None:
    rng = np.random.default_rng(0)
    first = rng.standard_normal(20_000)
    second = np.round(first + rng.standard_normal(20_000), 2)
    found = kendall_tau(first, second, np.array([20_000]))
    assert found[0] == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


def test_the_matrix_is_symmetric_and_one_on_the_diagonal() -> None:
    rng = np.random.default_rng(1)
    scores, sizes = rng.integers(0, 4, (3, 30)).astype(float), np.array([10, 0, 19, 1])
    taus = kendall_matrix(scores, sizes)
    for i in range(3):
        for j in range(3):
            np.testing.assert_allclose(taus[i, j], one_by_one(scores[i], scores[j], sizes), atol=1e-12)
    np.testing.assert_array_equal(taus, taus.swapaxes(0, 1))


def test_bad_input() -> None:
    with pytest.raises(CascadeError, match=r"one entry for each of 3 candidates, got \(2,\), \(3,\)"):
        kendall_tau(np.zeros(2), np.zeros(3), np.array([3]))
    with pytest.raises(CascadeError, match="must be finite"):
        kendall_tau(np.array([0.0, np.nan]), np.zeros(2), np.array([2]))
    with pytest.raises(CascadeError, match=r"each of 2 candidates, got \(3,\), \(3,\)"):
        kendall_matrix(np.zeros((2, 3)), np.array([2]))
    with pytest.raises(CascadeError, match="must be finite"):
        kendall_matrix(np.array([[0.0, np.inf]]), np.array([2]))

"""nDCG against arithmetic written out and scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from slicing.errors import SlicingError
from slicing.grouping import Groups
from slicing.ndcg import ndcg


def test_arithmetic() -> None:
    scores = torch.tensor([3.0, 2.0, 1.0, 9.0, 8.0])
    labels = torch.tensor([0.0, 2.0, 1.0, 0.0, 1.0])
    queries = torch.tensor([0, 0, 0, 1, 1])
    first = (3 / math.log2(3) + 1 / math.log2(4)) / (3 / math.log2(2) + 1 / math.log2(3))
    second = (1 / math.log2(3)) / 1
    assert ndcg(scores, labels, queries, 10).tolist() == pytest.approx([first, second], rel=1e-12)
    first_at_2 = (3 / math.log2(3)) / (3 / math.log2(2) + 1 / math.log2(3))
    assert ndcg(scores, labels, queries, 2).tolist() == pytest.approx([first_at_2, second], rel=1e-12)
    assert ndcg(scores, labels, queries, 1).tolist() == [0.0, 0.0]


@settings(deadline=None)
@given(st.data())
def test_it_is_scikit_learns_with_ties_and_scattered_rows(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(2, 14), min_size=1, max_size=5))  # scikit-learn refuses single candidates
    k = data.draw(st.integers(1, 12))
    rows = sum(sizes)
    labels = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    scores = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=rows, max_size=rows))) / 2
    queries = np.array(data.draw(st.permutations(np.repeat(np.arange(len(sizes)), sizes).tolist())))
    gain = data.draw(st.sampled_from(["exponential", "linear"]))
    worth = 40.0 * labels if gain == "linear" else 2.0**labels - 1
    labels = worth if gain == "linear" else labels
    expected = [
        ndcg_score([worth[queries == q]], [scores[queries == q]], k=k)
        for q in range(len(sizes))
        if labels[queries == q].any()
    ]
    given_rows = torch.from_numpy(scores), torch.from_numpy(labels), torch.from_numpy(queries)
    if not expected:
        with pytest.raises(SlicingError, match="a query with a label above 0"):
            ndcg(*given_rows, k, gain)
    else:
        assert ndcg(*given_rows, k, gain).tolist() == pytest.approx(expected, rel=1e-9)


def test_scores_that_are_no_numbers_are_refused() -> None:
    for bad in (math.nan, math.inf):
        with pytest.raises(SlicingError, match="finite scores"):
            ndcg(torch.tensor([bad, 0.0]), torch.ones(2), torch.zeros(2))


@given(st.lists(st.integers(0, 6), max_size=30))
def test_groups_hold_each_row_once_in_its_query_and_order(queries: list[int]) -> None:
    groups = Groups.of(torch.tensor(queries, dtype=torch.int64))
    found = [row[held].tolist() for row, held in zip(groups.rows, groups.held, strict=True)]
    assert found == [[i for i, q in enumerate(queries) if q == each] for each in range(max(queries, default=-1) + 1)]

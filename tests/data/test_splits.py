import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.splits import remaining, stratified_sample


@st.composite
def label_sets(draw):
    sizes = draw(st.lists(st.integers(2, 40), min_size=1, max_size=6))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    np.random.default_rng(draw(st.integers(0, 100))).shuffle(labels)
    return torch.from_numpy(labels), sizes


@settings(max_examples=100, deadline=None)
@given(label_sets(), st.integers(0, 2**40), st.data())
def test_counts_are_exact_and_proportional(case, seed, data):
    labels, sizes = case
    classes = [f"c{i}" for i in range(len(sizes))]
    count = data.draw(st.integers(len(sizes), sum(sizes) - len(sizes)))
    rows = stratified_sample(labels, count, classes, [seed], purpose="x", leave=1)
    assert len(rows) == count
    assert rows.tolist() == sorted(set(rows.tolist()))
    got = torch.bincount(labels[rows], minlength=len(sizes)).tolist()
    for chosen, size in zip(got, sizes, strict=True):
        assert 1 <= chosen <= size - 1
    ideal = [count * size / sum(sizes) for size in sizes]
    if all(1 <= share <= size - 1 for share, size in zip(ideal, sizes, strict=True)):
        assert all(abs(chosen - share) < 1 for chosen, share in zip(got, ideal, strict=True))
    rest = remaining(rows, len(labels))
    assert sorted(rest.tolist() + rows.tolist()) == list(range(len(labels)))


def test_equal_classes_get_equal_counts():
    labels = torch.arange(100) % 10
    rows = stratified_sample(labels, 30, [str(i) for i in range(10)], [0], purpose="x")
    assert torch.bincount(labels[rows]).tolist() == [3] * 10


def test_largest_remainders_written_out():
    # 10 of 5 + 6 + 7 rows: ideals 2.78, 3.33, 3.89; floors 2, 3, 3; the two left go to .89 and .78
    labels = torch.tensor([0] * 5 + [1] * 6 + [2] * 7)
    rows = stratified_sample(labels, 10, "abc", [0], purpose="x")
    assert torch.bincount(labels[rows]).tolist() == [3, 3, 4]


def test_the_seed_decides():
    labels = torch.arange(400) % 4
    draws = [stratified_sample(labels, 40, "abcd", [seed], purpose="x").tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]


def test_every_row_can_be_chosen():
    labels = torch.zeros(6, dtype=torch.int64)
    seen = {stratified_sample(labels, 1, "a", [seed], purpose="x").item() for seed in range(100)}
    assert seen == set(range(6))


def test_a_scarce_class_is_named():
    labels = torch.tensor([0, 0, 0, 1])
    with pytest.raises(DataError, match=r"too few images of class 'dog' for the split: at least 2 needed, got 1"):
        stratified_sample(labels, 2, ["cat", "dog"], [0], purpose="the split", leave=1)


@pytest.mark.parametrize("count", [1, 7])
def test_a_count_that_starves_a_class_is_refused(count):
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    with pytest.raises(DataError, match=rf"the split must hold between 2 and 6 of 8 images .*got {count}"):
        stratified_sample(labels, count, ["cat", "dog"], [0], purpose="the split", leave=1)

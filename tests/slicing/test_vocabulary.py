"""Vocabularies: rows of ids, the unknown one, storage."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slicing.errors import SlicingError
from slicing.vocabulary import Vocabulary

NUMBERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20).map(lambda ids: np.array(ids, dtype=np.int64))
# numpy's string arrays drop NUL characters at the end of a string
WORDS = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), max_size=20).map(
    lambda ids: np.array(ids, dtype=np.str_)
)


@given(st.one_of(st.tuples(NUMBERS, NUMBERS), st.tuples(WORDS, WORDS)))
def test_known_ids_have_rows_of_their_own_and_others_row_0(pair: tuple[np.ndarray, np.ndarray]) -> None:
    seen, fresh = pair
    vocabulary = Vocabulary.fit(seen)
    row = {each: i for i, each in enumerate(sorted(set(seen.tolist())), start=1)}
    assert vocabulary.rows == len(row) + 1
    for ids in (seen, fresh, seen.astype(object)):
        found = vocabulary(ids)
        assert found.dtype == torch.int64
        assert found.tolist() == [row.get(each, 0) for each in ids.tolist()]
    again = Vocabulary.rebuild(vocabulary.tensors())
    assert again(fresh).tolist() == vocabulary(fresh).tolist()
    assert again.rows == vocabulary.rows


def test_rare_and_absent_ids_are_unknown() -> None:
    vocabulary = Vocabulary.fit(np.array(["b", "a", None, "b", np.nan, "c", "c"], dtype=object), min_count=2)
    assert vocabulary.known.tolist() == ["b", "c"]
    assert vocabulary(np.array(["a", "b", None, "c"], dtype=object)).tolist() == [0, 1, 0, 2]
    assert Vocabulary.fit(np.array([3, 3, 5]), 2)(np.array([5, 3], dtype=np.uint8)).tolist() == [0, 1]


def test_no_ids_at_all() -> None:
    for vocabulary in (Vocabulary.fit(np.array([3])), Vocabulary.fit(np.array(["a"]))):
        assert vocabulary(np.array([], dtype=np.str_)).shape == (0,)
        assert vocabulary(np.array([None, None])).tolist() == [0, 0]
    assert Vocabulary.fit(np.array([], dtype=np.int64))(np.array([1])).tolist() == [0]


def test_other_types_are_refused() -> None:
    for bad in (np.array([0.5]), np.array([True]), np.array([b"a"]), np.array([1, "a"], dtype=object)):
        with pytest.raises(SlicingError, match="whole numbers or strings"):
            Vocabulary.fit(bad)
    with pytest.raises(SlicingError, match="'shop' holds strings; in training it held whole numbers"):
        Vocabulary.fit(np.array([1]))(np.array(["1"]), "shop")
    with pytest.raises(SlicingError, match="'ids' holds whole numbers; in training it held strings"):
        Vocabulary.fit(np.array(["1"]))(np.array([1]))
    with pytest.raises(SlicingError, match=r"shape \(N,\)"):
        Vocabulary.fit(np.zeros((2, 2), dtype=np.int64))
    with pytest.raises(SlicingError, match="fit into 64 bits"):
        Vocabulary.fit(np.array([2**64 - 1], dtype=np.uint64))
    with pytest.raises(SlicingError, match="min_count"):
        Vocabulary.fit(np.array([1]), 0)


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"numbers": torch.tensor([2, 1])},
        {"numbers": torch.tensor([1.0, 2.0])},
        {"numbers": torch.tensor([[1, 2]])},
        {"text": torch.tensor([97, 98], dtype=torch.uint8), "ends": torch.tensor([1, 3])},
        {"text": torch.tensor([97, 98], dtype=torch.uint8), "ends": torch.tensor([2, 1, 2])},
        {"text": torch.tensor([98, 97], dtype=torch.uint8), "ends": torch.tensor([1, 2])},
        {"text": torch.tensor([255], dtype=torch.uint8), "ends": torch.tensor([1])},
    ],
)
def test_tensors_that_do_not_fit_are_refused(tensors: Any) -> None:
    with pytest.raises(SlicingError, match="vocabulary can't be read"):
        Vocabulary.rebuild(tensors)

import polars as pl
import pytest

from cascade.errors import CascadeError
from cascade.relevance import count_relevant, is_relevant, relevant_pairs

FRAME = pl.DataFrame({"qid": [1, 1, 2], "docid": [7, 8, 7]})


def test_pairs_are_those_labelled_at_least_the_minimum() -> None:
    qrels = pl.DataFrame({"query_id": [1, 1, 2, 3], "docno": [7, 8, 7, 9], "rel": [0, 1, 2, None]})
    assert relevant_pairs(qrels).rows() == [(1, 8), (2, 7)]
    assert relevant_pairs(qrels, minimum=2).rows() == [(2, 7)]


def test_rows_are_relevant_by_pair_in_their_own_order() -> None:
    pairs = pl.DataFrame({"qid": [2, 1, 5], "docid": [7, 8, 1]})
    assert is_relevant(FRAME, pairs).tolist() == [False, True, True]
    assert count_relevant(pl.concat([pairs, pairs])) == 3


def test_integer_widths_may_differ() -> None:
    pairs = pl.DataFrame({"qid": [2, 1], "docid": [7, 8]}, schema={"qid": pl.Int8, "docid": pl.UInt32})
    assert is_relevant(FRAME, pairs).tolist() == [False, True, True]


@pytest.mark.parametrize("dtype", [pl.String, pl.Float64])
def test_keys_of_another_type_are_refused_rather_than_never_found(dtype: pl.DataType) -> None:
    pairs = FRAME.with_columns(pl.col("docid").cast(dtype))
    with pytest.raises(CascadeError, match=r"must have the types of the candidates' keys, got .* cast them"):
        is_relevant(FRAME, pairs)


@pytest.mark.parametrize("empty", [FRAME.clear(), pl.DataFrame({"qid": [], "docid": []})])
def test_nothing_relevant_and_no_candidates_are_fine(empty: pl.DataFrame) -> None:
    assert is_relevant(FRAME, empty).tolist() == [False] * 3
    assert is_relevant(empty, FRAME).tolist() == []


def test_a_table_with_labels_is_refused_since_being_listed_is_what_counts() -> None:
    with pytest.raises(CascadeError, match=r"got a table with 'label'; use relevant_pairs\(table\)"):
        is_relevant(FRAME, FRAME.with_columns(label=pl.lit(0)))

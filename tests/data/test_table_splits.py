import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DataError, split_by_query, split_by_time


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 40), st.integers(0, 2**40), st.integers(0, 5))
def test_whole_queries_whatever_the_order_of_rows(queries, seed, shuffle):
    frame = pl.DataFrame({"qid": np.arange(queries * 3) % queries, "docid": np.arange(queries * 3)})
    parts = split_by_query(frame, (0.6, 0.2, 0.2), seed)
    assert pl.concat(parts).sort("docid").equals(frame)
    ids = [set(part["qid"]) for part in parts]
    assert sum(map(len, ids)) == queries
    for found, share in zip(ids, (0.6, 0.2, 0.2), strict=True):
        assert len(found) >= 1
        assert abs(len(found) - share * queries) < 1 or queries < 5
    again = split_by_query(frame.sample(fraction=1, shuffle=True, seed=shuffle), (0.6, 0.2, 0.2), seed)
    assert [set(part["qid"]) for part in again] == ids


def test_the_seed_decides():
    frame = pl.DataFrame({"qid": [f"q{i}" for i in range(100)]})
    first, same, other = (split_by_query(frame, (0.5, 0.5), seed)[0] for seed in (1, 1, 2))
    assert first.equals(same)
    assert not first.equals(other)


def test_by_time_nothing_is_later_than_what_follows(rng):
    frame = pl.DataFrame({"qid": rng.integers(0, 50, 300), "when": rng.integers(0, 1000, 300)})
    latest = dict(frame.group_by("qid").agg(pl.col("when").max()).rows())
    parts = split_by_time(frame, "when", (0.5, 0.3, 0.2))
    assert pl.concat(parts).sort("qid", "when").equals(frame.sort("qid", "when"))
    times = [[latest[qid] for qid in set(part["qid"])] for part in parts]
    assert max(times[0]) < min(times[1])
    assert max(times[1]) < min(times[2])
    assert sum(map(len, times)) == len(latest)


def test_queries_of_one_time_stay_together():
    frame = pl.DataFrame({"qid": [1, 2, 3, 4], "when": [0, 5, 5, 9]})
    early, late = split_by_time(frame, "when", (0.5, 0.5))
    assert early["qid"].to_list() == [1, 2, 3]
    assert late["qid"].to_list() == [4]


def test_refusals():
    frame = pl.DataFrame({"qid": [1, 2, 3], "when": [1.0, 1.0, 1.0], "text": ["a", "b", "c"]})
    for shares in ((0.5, 0.6), (1.0, 0.0), (), (float("nan"), 1)):
        with pytest.raises(DataError, match="shares must each be above 0 and sum to 1"):
            split_by_query(frame, shares)
    with pytest.raises(DataError, match="3 parts need at least as many queries, got 2"):
        split_by_query(frame.head(2))
    with pytest.raises(DataError, match="seed must not be negative"):
        split_by_query(frame, seed=-1)
    with pytest.raises(DataError, match="part 2 would be empty: 3 queries have 1 different times"):
        split_by_time(frame, "when")
    with pytest.raises(DataError, match="time column 'text' must be a number or a date"):
        split_by_time(frame, "text")
    with pytest.raises(DataError, match="no missing values, got 1"):
        split_by_time(frame.with_columns(when=pl.Series([1.0, None, 2.0])), "when")
    with pytest.raises(DataError, match=r"unable to find column 'wen'; .* Did you mean 'when'"):
        split_by_time(frame, "wen")

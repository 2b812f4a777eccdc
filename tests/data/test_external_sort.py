import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import external_sort
from data.external_sort import sorted_frames, survey, whole_queries


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 25), st.data())
def test_batches_hold_whole_queries_and_do_not_depend_on_the_frames(sizes, rows, data):
    table = pl.DataFrame({"qid": np.repeat(np.arange(len(sizes)), sizes)}).with_row_index("row")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(table)), max_size=8)))
    frames = [table[low:high] for low, high in zip([0, *cuts], [*cuts, len(table)], strict=True)]
    expected, current = [], []
    for query, size in enumerate(sizes):  # greedy, written out
        if current and sum(sizes[each] for each in current) + size > rows:
            expected.append(current)
            current = []
        current.append(query)
    expected.append(current)
    batches = list(whole_queries(frames, rows))
    assert [batch["qid"].unique().sort().to_list() for batch in batches] == expected
    assert pl.concat(batches).equals(table)


@pytest.mark.parametrize("strings", [False, True])
@pytest.mark.parametrize("partition_bytes", [1, 300, 1 << 20])
def test_scattered_rows_come_sorted(tmp_path, rng, monkeypatch, strings, partition_bytes):
    monkeypatch.setattr(external_sort, "PARTITION_BYTES", partition_bytes)
    table = pl.DataFrame({"qid": rng.integers(-9, 9, 200), "row": np.arange(200)})
    if strings:
        table = table.with_columns(pl.col("qid").cast(pl.String))
    found = survey(table.lazy())
    assert (found.rows, found.queries, found.rising) == (200, table["qid"].n_unique(), False)
    frames = list(sorted_frames(table.lazy(), found, 80, tmp_path))
    assert pl.concat(frames).equals(table.sort("qid", maintain_order=True))
    if partition_bytes == 1:
        assert len(frames) == found.queries
    assert list(tmp_path.iterdir()) == []


def test_rising_rows_are_streamed(tmp_path):
    table = pl.DataFrame({"qid": np.repeat([1, 4, 7], [3, 1, 2])})
    found = survey(table.lazy())
    assert (found.rows, found.queries, found.rising, found.sizes) == (6, 3, True, None)
    assert pl.concat(sorted_frames(table.lazy(), found, 2, tmp_path)).equals(table)


def test_survey_across_frames(monkeypatch):
    monkeypatch.setattr(external_sort, "_SURVEY_ROWS", 2)
    monkeypatch.setattr(external_sort, "_MERGE_AT", 2)
    frames = [pl.DataFrame({"qid": ids}) for ids in ([1, 1], [1, 2], [2, 3], [5, 5])]
    for order, rising in (((0, 1, 2, 3), True), ((0, 1, 3, 2), False)):
        monkeypatch.setattr(external_sort, "stream", lambda source, rows, order=order: (frames[i] for i in order))
        found = survey(pl.LazyFrame({"qid": [1]}))
        assert (found.rows, found.queries, found.rising) == (8, 4, rising)
        if not rising:
            assert found.sizes.rows() == [(1, 3), (2, 2), (3, 1), (5, 2)]

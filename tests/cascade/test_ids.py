from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.ids import order_by_ids, repeated, runs_of

# ends and bytes of zero, characters of one to four bytes, and words of eight bytes that agree
TEXTS = st.text("19a~é€😀\0", max_size=20) | st.sampled_from(
    ["doc-0000", "doc-00001", "doc-00001\0", "doc-000012345678"]
)


def places(groups: list[Any], ids: pl.Series) -> tuple[list[int], list[int]]:
    order, again = order_by_ids(*runs_of(pl.Series(groups, dtype=pl.Int64)), ids)
    return order.tolist(), again.tolist()


def by_sorting(groups: list[int], ids: list[Any]) -> tuple[list[int], list[int]]:
    def key(i: int) -> Any:
        return groups[i], ids[i].encode() if isinstance(ids[i], str) else ids[i]

    order = sorted(range(len(ids)), key=key)
    return order, [i for before, i in pairwise(order) if key(i) == key(before)]


@given(st.lists(st.tuples(st.integers(0, 3), TEXTS)), st.sampled_from(["", "a", "prefixed-", "a longer prefix/"]))
def test_strings_are_in_the_order_of_their_bytes_and_the_same_ones_found(
    rows: list[tuple[int, str]], prefix: str
) -> None:
    groups, ids = [g for g, _ in rows], [prefix + text for _, text in rows]
    assert places(groups, pl.Series(ids, dtype=pl.String)) == by_sorting(groups, ids)


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int64, pl.UInt64, pl.Int128, pl.UInt128])
@given(st.data())
def test_integers_of_any_width_are_in_order(dtype: pl.DataType, data: st.DataObject) -> None:
    bits = {
        pl.Int8: (-(2**7), 2**7 - 1),
        pl.UInt64: (0, 2**64 - 1),
        pl.UInt128: (0, 2**128 - 1),
        pl.Int128: (-(2**127), 2**127 - 1),
    }
    low, high = bits.get(dtype, (-(2**63), 2**63 - 1))
    near = st.sampled_from([low, low + 1, 0, 1, high - 1, high])
    rows = data.draw(st.lists(st.tuples(st.integers(0, 2), near | st.integers(low, high))))
    groups, ids = [g for g, _ in rows], [i for _, i in rows]
    assert places(groups, pl.Series(ids, dtype=dtype)) == by_sorting(groups, ids)


@pytest.mark.parametrize("scattered", [True, False])
@pytest.mark.parametrize("form", ["{}", "doc-{:012}", "{:08}-{:08}"])
def test_many_strings_in_several_parts_are_in_order(scattered: bool, form: str) -> None:
    rng = np.random.default_rng(0)
    n = 150_000  # more than are looked at together
    groups = rng.integers(0, 900, n)
    if not scattered:  # together, but not in the order of their numbers
        groups = rng.permutation(900)[np.sort(groups)]
    ids = [form.format(i, j) for i, j in zip(rng.permutation(n).tolist(), rng.integers(0, 9, n).tolist(), strict=True)]
    ids[70_000], groups[70_000] = ids[3], groups[3]
    assert places(groups.tolist(), pl.Series(ids)) == by_sorting(groups.tolist(), ids)


@given(st.lists(st.sampled_from(["", "b", "a", "é"])), st.sampled_from([pl.String, pl.Int16, pl.Int128]))
def test_runs_are_numbered_in_the_order_of_their_ids(texts: list[str], dtype: pl.DataType) -> None:
    ids: list[Any] = texts if dtype == pl.String else [{"": -3, "b": 8, "a": 5, "é": 9}[text] for text in texts]
    heads, lengths = runs_of(pl.Series(ids, dtype=dtype))
    different = sorted(set(ids))
    assert np.repeat(heads, lengths).tolist() == [different.index(each) for each in ids]
    assert not (heads[1:] == heads[:-1]).any()


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.Int16, pl.Int64, pl.UInt64, pl.UInt128])
@pytest.mark.parametrize("spread", [1, 6, 200, 40_000, 2**40])
@pytest.mark.parametrize("end", ["least", "middle", "most"])
def test_integers_near_together_and_far_apart_are_numbered_in_order(dtype: pl.DataType, spread: int, end: str) -> None:
    least, most = (int(pl.select(limit).item()) for limit in (dtype.min(), dtype.max()))
    spread = min(spread, most - least)
    low = {"least": least, "middle": (least + most - spread) // 2, "most": most - spread}[end]
    rng = np.random.default_rng(0)
    ids = [low + int(step) for step in rng.integers(0, spread, 300, endpoint=True)] + [low + spread, low]
    heads, lengths = runs_of(pl.Series(ids, dtype=dtype))
    different = sorted(set(ids))
    assert np.repeat(heads, lengths).tolist() == [different.index(each) for each in ids]


@given(st.lists(st.lists(TEXTS, min_size=1), max_size=5), st.sampled_from([pl.String, pl.Int64, pl.Int128]))
def test_those_whose_id_is_repeated_in_their_group_are_found(groups: list[list[str]], dtype: pl.DataType) -> None:
    ids: list[list[Any]] = groups if dtype == pl.String else [[len(text) for text in group] for group in groups]
    expected = [group.count(i) > 1 for group in ids for i in group]
    flat = pl.Series([i for group in ids for i in group], dtype=dtype)
    found = repeated(np.array([len(group) for group in ids], dtype=np.int64), flat)
    assert found.tolist() == np.flatnonzero(expected).tolist()


@pytest.mark.parametrize("size", [1, 7, 1500, 400_000])
def test_of_many_ids_hardly_any_is_suspected_in_vain(size: int) -> None:
    n = 400_000
    ids = np.arange(n)
    ids[1 :: 2 * size + 2] = ids[:: 2 * size + 2][: len(ids[1 :: 2 * size + 2])]
    starts = np.arange(0, n, size)
    same = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, n)))
    again = np.flatnonzero((ids[1:] == ids[:-1]) & (same[1:] == same[:-1]))
    wanted = np.unique(np.concatenate([again, again + 1]))
    found = repeated(np.diff(np.append(starts, n)), pl.Series(ids))
    assert np.isin(wanted, found).all()
    assert len(found) <= len(wanted) + n / 1000

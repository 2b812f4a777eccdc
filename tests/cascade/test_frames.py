import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade.errors import CascadeError
from cascade.frames import prepare

INTEGERS = st.integers(-3, 3) | st.sampled_from([2**40, 2**62, -(2**62), 2**63 - 1])
STRINGS = st.sampled_from(["", "a", "b", "ab", "B", "é", "z", "10", "9"])


def frame(**columns: object) -> pl.DataFrame:
    return pl.DataFrame({"qid": [1, 1, 2], "docid": [10, 11, 10], **columns})


@given(st.data(), st.booleans(), st.booleans())
def test_rows_come_in_order_of_qid_then_docid(data: st.DataObject, q_text: bool, d_text: bool) -> None:
    pairs = data.draw(
        st.lists(
            st.tuples(STRINGS if q_text else INTEGERS, STRINGS if d_text else INTEGERS),
            min_size=1,
            unique=True,
        )
    )
    table = pl.DataFrame({"qid": [p[0] for p in pairs], "docid": [p[1] for p in pairs], "row": range(len(pairs))})
    candidates = prepare(table)
    expected = sorted(range(len(pairs)), key=pairs.__getitem__)
    assert candidates.rows(0, len(pairs))["row"].to_list() == expected
    queries = sorted({p[0] for p in pairs})
    assert candidates.sizes.tolist() == [sum(p[0] == q for p in pairs) for q in queries]
    some = np.arange(len(pairs))[::-1]
    assert candidates.columns(("row",), some)["row"].to_list() == expected[::-1]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "q", "q1", "Q2"]), st.text("19a~\0", max_size=9) | st.text("19a~", max_size=8)),
        min_size=1,
        unique=True,
    ),
    st.booleans(),
)
def test_short_strings_come_in_their_own_order(pairs: list[tuple[str, str]], odd: bool) -> None:
    if not odd:  # all of them as one number each
        pairs = [(qid, docid.replace("\0", "")[:8]) for qid, docid in pairs]
        pairs = list(dict.fromkeys(pairs))
    candidates = prepare(pl.DataFrame({"qid": [p[0] for p in pairs], "docid": [p[1] for p in pairs]}))
    assert candidates.rows(0, len(pairs)).rows() == sorted(pairs)


@given(st.lists(st.tuples(STRINGS, STRINGS), min_size=1), st.booleans())
def test_in_any_order_queries_are_apart_and_the_rows_of_each_as_they_were(
    pairs: list[tuple[str, str]], together: bool
) -> None:
    if together:  # though not in the order of the qids
        pairs = [pair for qid in dict(pairs) for pair in pairs if pair[0] == qid]
    table = pl.DataFrame({"qid": [p[0] for p in pairs], "docid": [p[1] for p in pairs]})
    if len(set(pairs)) < len(pairs):
        refused = [pytest.raises(CascadeError, match="more than once") for _ in range(2)]
        for any_order, refusal in zip((False, True), refused, strict=True):
            with refusal:
                prepare(table, any_order=any_order)
        assert len({str(refusal.excinfo.value) for refusal in refused}) == 1
        return
    candidates = prepare(table, any_order=True)
    found = candidates.rows(0, len(pairs)).rows()
    queries = list(dict.fromkeys(pair[0] for pair in found))
    assert candidates.sizes.tolist() == [sum(pair[0] == qid for pair in pairs) for qid in queries]
    assert found == [
        pair for qid in queries for pair in (sorted(pairs) if candidates.canonical else pairs) if pair[0] == qid
    ]
    assert candidates.places.tolist() == [sorted(queries).index(qid) for qid in queries]


@pytest.mark.parametrize("any_order", [False, True])
def test_a_table_out_of_order_far_down_only_is_looked_at_to_its_end(any_order: bool) -> None:
    docids = np.arange(3000)
    docids[-2:] = docids[-2:][::-1]
    found = prepare(pl.DataFrame({"qid": np.zeros(3000, dtype=int), "docid": docids}), any_order=any_order)
    assert found.canonical != any_order
    assert sorted(found.rows(0, 3000)["docid"].to_list()) == list(range(3000))
    docids[-1] = 5
    with pytest.raises(CascadeError, match="candidate 5 more than once"):
        prepare(pl.DataFrame({"qid": np.zeros(3000, dtype=int), "docid": docids}), any_order=any_order)


@pytest.mark.parametrize("repeated", [0, 3])
def test_hashes_that_agree_by_chance_are_not_taken_for_repeats(repeated: int) -> None:
    n = 400_000  # of one query: about 19 pairs agree in 32 bits
    docids = np.random.default_rng(0).permutation(n)
    docids[:repeated] = docids[n - repeated :]
    table = pl.DataFrame({"qid": np.zeros(n, dtype=int), "docid": docids})
    if not repeated:
        assert prepare(table, any_order=True).sizes.tolist() == [n]
        return
    with pytest.raises(CascadeError, match=r"more than once \(3 surplus rows in all\)"):
        prepare(table, any_order=True)


def test_queries_named_by_strings_with_numbered_candidates_come_in_order() -> None:
    table = pl.DataFrame(
        {"qid": ["b", "a", "b", "a"], "docid": [2**63, 7, 1, 2**64 - 1]}, schema_overrides={"docid": pl.UInt64}
    )
    assert prepare(table).rows(0, 4).rows() == [("a", 7), ("a", 2**64 - 1), ("b", 1), ("b", 2**63)]


def test_more_queries_than_sixteen_bits_number_are_told_apart() -> None:
    names = [f"{number:06}" for number in range(70_000)]
    candidates = prepare(pl.DataFrame({"qid": names[::-1], "docid": ["d"] * len(names)}))
    assert candidates.rows(0, len(names))["qid"].to_list() == names


def test_keys_whose_fused_key_would_overflow_are_neither_confused_nor_misordered() -> None:
    big = 2**40  # two keys of 41 bits: fused in 64 bits, (0, big) and (big, 0) would be one and the same
    candidates = prepare(pl.DataFrame({"qid": [big, 0], "docid": [0, big]}))
    assert candidates.rows(0, 2).rows() == [(0, big), (big, 0)]


def test_unsigned_keys_beyond_signed_range_are_ordered_too() -> None:
    near = pl.DataFrame({"qid": [2**63 + 2, 2**63 + 1], "docid": [1, 2]}, schema={"qid": pl.UInt64, "docid": pl.Int8})
    assert prepare(near).rows(0, 2)["docid"].to_list() == [2, 1]
    table = pl.DataFrame({"qid": [2**63 + 1, 0], "docid": [1, 2]}, schema={"qid": pl.UInt64, "docid": pl.UInt8})
    assert prepare(table).rows(0, 2)["docid"].to_list() == [2, 1]


@pytest.mark.parametrize("qid", ["query_id", "q_id", "request_id"])
@pytest.mark.parametrize("docid", ["docno", "doc_id", "item_id"])
@pytest.mark.parametrize("label", ["relevance", "rel"])
def test_aliases_are_taken_for_the_canonical_names(qid: str, docid: str, label: str) -> None:
    table = pl.DataFrame({qid: [1], docid: [2], label: [0], "x": [0.5]})
    assert prepare(table).rows(0, 1).columns == ["qid", "docid", "label", "x"]


def test_an_alias_beside_the_canonical_name_is_left_alone() -> None:
    assert "item_id" in prepare(frame(item_id=[1, 2, 3])).rows(0, 3).columns


def test_two_aliases_for_one_name_are_ambiguous() -> None:
    with pytest.raises(CascadeError, match="both 'docno' and 'item_id' could be 'docid'; rename one"):
        prepare(pl.DataFrame({"qid": [1], "docno": [1], "item_id": [1]}))


def test_categorical_keys_are_ordered_as_strings() -> None:
    table = pl.DataFrame({"qid": [1, 1], "docid": ["a", "b"]}, schema={"qid": pl.Int64, "docid": pl.Enum(["b", "a"])})
    assert prepare(table).rows(0, 2)["docid"].to_list() == ["a", "b"]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (
            pl.DataFrame({"qid": [1], "docidd": [1]}),
            "column 'docid'; valid columns: .* Did you mean 'docidd'",
        ),
        (
            pl.DataFrame({"Query_id": [1], "docid": [1]}),
            "column 'qid'; valid columns: .* Did you mean 'Query_id'",
        ),
        (pl.DataFrame({"x": [1]}), r"column 'qid'; valid columns: \['x'\]. Add it"),
        (frame(label=["a", "b", "c"]), "'label' must be numeric, got String"),
        (frame(target=[0.0, 1.0, 2.0]), "'target' must be an integer class index, got Float64"),
        (frame(target=[0, None, 2]), "'target' must be .*, got None for query 1, candidate 11"),
        (frame(target=[0, 1, -2]), "'target' must be .*, got -2 for query 2, candidate 10"),
        (frame(qid=[1.0, 1.0, 2.0]), "'qid' must be integer or string, got Float64"),
        (frame(docid=[1, None, 2]), "'docid' must have no nulls, got 1"),
        (frame(docid=[10, 10, 10]), "query 1 has candidate 10 more than once"),
        (
            pl.DataFrame({"qid": ["b", "a", "b"], "docid": ["x", "x", "x"]}),
            "query 'b' has candidate 'x' more",
        ),
        (pl.LazyFrame({"qid": [1], "docid": [1]}), r"got LazyFrame; call .collect\(\)"),
        ({"qid": [1], "docid": [1]}, "got dict; build one with polars.DataFrame"),
    ],
)
def test_bad_tables_are_refused_naming_the_rule_the_value_and_the_remedy(table: object, text: str) -> None:
    with pytest.raises(CascadeError, match=text):
        prepare(table)  # type: ignore[arg-type]


def test_target_is_required_where_the_rules_need_it() -> None:
    with pytest.raises(CascadeError, match="unable to find column 'target'"):
        prepare(frame(), target=True)


def test_an_empty_table_has_no_queries() -> None:
    assert prepare(pl.DataFrame({"qid": [], "docid": []})).sizes.tolist() == []

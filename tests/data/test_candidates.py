import gc
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DataError, external_sort, scan_candidates, write_candidates


def table(rng, queries=20, most=9, features=4):
    sizes = rng.integers(1, most, queries)
    rows = int(sizes.sum())
    columns = {
        "qid": np.repeat(rng.permutation(queries), sizes),
        "docid": np.concatenate([rng.permutation(size) for size in sizes]),
        "label": rng.integers(0, 3, rows).astype(np.float32),
    }
    columns |= {f"f{i + 1}": rng.standard_normal(rows, dtype=np.float32) for i in range(features)}
    return pl.DataFrame(columns)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "svm"])
def test_read_batches_and_fingerprint_do_not_depend_on_format_or_order(tmp_path, rng, suffix):
    frame = table(rng).with_columns(pl.col("docid").cast(pl.String))
    expected = frame.sort("qid", "docid")
    write_candidates(expected, tmp_path / "sorted.parquet")
    want = scan_candidates(tmp_path / "sorted.parquet").fingerprint()
    for seed in range(2):
        path = tmp_path / f"{seed}.{suffix}"
        write_candidates(frame.sample(fraction=1, shuffle=True, seed=seed), path)
        opened = scan_candidates(path)
        # Text keeps no types: ids that look like integers are integers.
        read = opened.read().with_columns(pl.col("docid").cast(pl.String))
        assert read.equals(expected)
        assert (opened.rows, opened.queries) == (len(frame), 20)
        batches = list(opened.batches(12))
        assert pl.concat(batches).equals(opened.read())
        assert sum(batch["qid"].n_unique() for batch in batches) == 20
        if suffix == "parquet":
            assert opened.fingerprint() == want


def test_fingerprint_changes_with_any_value(tmp_path, rng):
    frame = table(rng).with_columns(user=pl.lit("u"), f1=pl.when(pl.col("docid") > 0).then("f1"))
    changed = [
        frame,
        frame.with_columns(label=pl.col("label") + (pl.col("docid") == 1)),
        frame.with_columns(f2=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("f2")),
        frame.with_columns(f2=pl.when(pl.int_range(pl.len()) == 3).then(float("nan")).otherwise("f2")),
        frame.with_columns(docid=pl.col("docid") + 1),
        frame.with_columns(user=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit("")).otherwise("user")),
        frame.with_columns(user=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("user")),
        frame.with_columns(f2=pl.when(pl.int_range(pl.len()) == 3).then(0.0).otherwise("f2")),
        frame.rename({"f2": "g2"}),
        frame.head(len(frame) - 1),
    ]
    seen = set()
    for number, each in enumerate(changed):
        write_candidates(each, tmp_path / f"{number}.parquet")
        seen.add(scan_candidates(tmp_path / f"{number}.parquet", categorical=["user"]).fingerprint())
    assert len(seen) == len(changed)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([1, 500, 1 << 20]))
def test_scattered_batches_equal_reading(tmp_path_factory, seed, rows, partition_bytes):
    folder = tmp_path_factory.mktemp("t")
    frame = table(np.random.default_rng(seed)).sample(fraction=1, shuffle=True, seed=1)
    frame.write_parquet(folder / "a.parquet", row_group_size=7)
    opened = scan_candidates(folder / "a.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(external_sort, "PARTITION_BYTES", partition_bytes)
        assert pl.concat(opened.batches(rows, folder=folder)).equals(frame.sort("qid", "docid"))
    assert [path.name for path in folder.iterdir()] == ["a.parquet"]


def test_a_batch_left_midway_leaves_no_files(tmp_path, rng):
    table(rng).sample(fraction=1, shuffle=True, seed=1).write_parquet(tmp_path / "a.parquet")
    batches = scan_candidates(tmp_path / "a.parquet").batches(5, folder=tmp_path)
    next(batches)
    assert len(list(tmp_path.iterdir())) == 2
    batches.close()
    del batches
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_roles_and_types(tmp_path):
    frame = pl.DataFrame(
        {
            "query_id": ["a", "a"],
            "item_id": [2, 1],
            "rel": [True, False],
            "x": [1, None],
            "y": [float("nan"), 2.0],
            "clicked": [True, None],
            "user": [7, None],
            "shop": pl.Series(["s", None], dtype=pl.Categorical),
            "when": [1, 2],
            "score": [0.5, 0.4],
            "text": ["t", "u"],
        }
    )
    frame.write_parquet(tmp_path / "a.parquet")
    opened = scan_candidates(tmp_path / "a.parquet", categorical=["user", "shop"], time="when")
    schema = opened.schema
    assert schema.numeric == ("x", "y", "clicked")
    assert schema.categorical == ("user", "shop")
    assert (schema.has_label, schema.has_time, schema.time) == (True, True, "when")
    assert schema.ignored == {"score": pl.Float64, "text": pl.String}
    assert schema.columns == ("qid", "docid", "label", "when", "user", "shop", "x", "y", "clicked")
    read = opened.read()
    assert dict(read.schema) == schema.dtypes
    assert read["docid"].to_list() == [1, 2]
    assert read["x"].to_list() == [None, 1]
    assert read["user"].to_list() == [None, 7]
    assert read["y"].is_nan().to_list() == [False, True]
    chosen = scan_candidates(tmp_path / "a.parquet", features=["score", "x"])
    assert chosen.schema.numeric == ("score", "x")


def test_ids_as_another_table_has_them(tmp_path):
    frame = pl.DataFrame({"qid": 1, "docid": range(4), "user": ["7", "007", "a", None], "shop": [1, 2, None, 3]})
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    table, typed = (scan_candidates(tmp_path / name, categorical=["user", "shop"]) for name in ("a.csv", "a.parquet"))
    other = table.with_ids({"user": pl.Int64(), "shop": pl.String()})
    assert typed.with_ids({"user": pl.Int64(), "shop": pl.String()}).read().equals(typed.read())
    assert other.read()["user"].to_list() == [7, None, None, None]
    assert next(other.batches())["shop"].to_list() == ["1", "2", None, "3"]
    assert dict(other.read().schema) == other.schema.dtypes
    assert table.with_ids({"user": pl.String()}).fingerprint() == table.fingerprint()


@pytest.mark.parametrize("dtype", [pl.List(pl.Float64), pl.Array(pl.Float32, 3)])
def test_one_list_of_features(tmp_path, dtype):
    frame = pl.DataFrame({"qid": [1, 1], "docid": [1, 2], "other": [5, 6]}).with_columns(
        features=pl.Series([[1.0, 2.0, 3.0], [4.0, None, 6.0]], dtype=dtype)
    )
    frame.write_parquet(tmp_path / "a.parquet")
    opened = scan_candidates(tmp_path / "a.parquet")
    assert opened.schema.numeric == ("f0", "f1", "f2")
    assert opened.schema.ignored == {"other": pl.Int64}
    assert not opened.schema.has_label
    assert opened.read().rows() == [(1, 1, 1.0, 2.0, 3.0), (1, 2, 4.0, None, 6.0)]


def test_lists_of_other_lengths_are_refused(tmp_path):
    pl.DataFrame({"qid": [1, 1], "docid": [1, 2], "features": [[1.0, 2.0], [1.0]]}).write_parquet(
        tmp_path / "a.parquet"
    )
    with pytest.raises(DataError, match=r"lists of one length, 2 as in the first row, got 1 for query 1, candidate 2"):
        scan_candidates(tmp_path / "a.parquet").read()


def test_svmlight_columns(tmp_path):
    (tmp_path / "a.txt").write_text("2 qid:9 2:0.5\n0 qid:7 1:1\n1 qid:9 4:3\n")
    (tmp_path / "b.txt").write_text("1 qid:8 6:0.25\n")
    opened = scan_candidates([tmp_path / "a.txt", tmp_path / "b.txt"])
    assert opened.schema.numeric == tuple(f"f{i}" for i in range(1, 7))
    assert opened.read().rows() == [
        (7, 1, 0, 1, 0, 0, 0, 0, 0),
        (8, 3, 1, 0, 0, 0, 0, 0, 0.25),
        (9, 0, 2, 0, 0.5, 0, 0, 0, 0),
        (9, 2, 1, 0, 0, 0, 3, 0, 0),
    ]
    wider = scan_candidates(tmp_path / "b.txt", features=["f6", "f8"])
    assert wider.read().rows() == [(8, 0, 1, 0.25, 0)]


@pytest.mark.parametrize(
    ("ids", "expected"), [(("7", "007"), ["007", "7"]), (("7", "a"), ["7", "a"]), (("7", "8"), [7, 8])]
)
def test_svmlight_ids_are_integers_only_where_all_are(tmp_path, ids, expected):
    (tmp_path / "a.txt").write_text("".join(f"1 qid:{qid} 1:1\n" for qid in ids))
    assert scan_candidates(tmp_path / "a.txt").read()["qid"].to_list() == expected


def test_groups(tmp_path):
    (tmp_path / "a.svm").write_text("2 1:1\n0 1:2\n1 1:3\n")
    (tmp_path / "b.svm").write_text("2 1:4\n")
    (tmp_path / "a.query").write_text("1\n2\n")
    (tmp_path / "b.query").write_text("1\n")
    (tmp_path / "c.query").write_text("2\n2\n")
    one = scan_candidates(tmp_path / "a.svm", groups=tmp_path / "a.query").read()
    assert one.rows() == [(0, 0, 2, 1), (1, 1, 0, 2), (1, 2, 1, 3)]
    two = scan_candidates(
        [tmp_path / "a.svm", tmp_path / "b.svm"], groups=[tmp_path / "a.query", tmp_path / "b.query"]
    ).read()
    assert two["qid"].to_list() == [0, 1, 1, 2]
    with pytest.raises(DataError, match=r"must sum to the 3 rows of .*a\.svm, got 4"):
        scan_candidates(tmp_path / "a.svm", groups=tmp_path / "c.query")
    with pytest.raises(DataError, match="has no 'qid:'"):
        scan_candidates(tmp_path / "a.svm")
    with pytest.raises(DataError, match="one group-size file for each of 2 tables, got 1"):
        scan_candidates([tmp_path / "a.svm", tmp_path / "b.svm"], groups=tmp_path / "a.query")
    (tmp_path / "d.svm").write_text("2 qid:1 1:1\n")
    with pytest.raises(DataError, match="has 'qid:' already"):
        scan_candidates(tmp_path / "d.svm", groups=tmp_path / "b.query")


@pytest.mark.parametrize("clock", ["", " 12:30:00", "T12:30:00"])
def test_csv_times(tmp_path, clock):
    (tmp_path / "a.csv").write_text(f"qid,docid,x,when\n1,1,2,2024-01-31{clock}\n1,2,3,2024-02-01{clock}\n")
    opened = scan_candidates(tmp_path / "a.csv", time="when")
    assert opened.schema.dtypes["when"].is_temporal()
    first, second = opened.read()["when"]
    assert (second - first).days == 1
    (tmp_path / "a.csv").write_text("qid,docid,x,when\n1,1,2,yesterday\n")
    with pytest.raises(DataError, match="time column 'when' must be a number or a date"):
        scan_candidates(tmp_path / "a.csv", time="when")


def test_csv_numbers_that_turn_to_fractions_late(tmp_path):
    rows = [f"1,{number},0,1,,x" for number in range(10_001)] + ["1,99999,1,0.5,0.25,y"]
    (tmp_path / "a.csv").write_text("qid,docid,label,f,empty,text\n" + "\n".join(rows) + "\n")
    opened = scan_candidates(tmp_path / "a.csv")
    assert opened.schema.numeric == ("f", "empty")
    assert opened.schema.ignored == {"text": pl.String}
    assert opened.read().row(-1) == (1, 99999, 1.0, 0.5, 0.25)


HOW = {"read": lambda table: table.read(), "batches": lambda table: list(table.batches())}
GOOD = {"qid": [1, 1], "docid": [1, 2], "label": [0.0, 1.0], "price": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0.0, -1.0]}, r"labels must be finite numbers of at least 0, got -1\.0 for query 1, candidate 2"),
        ({"label": [0.0, float("nan")]}, r"labels must be .* got nan for query 1, candidate 2"),
        ({"label": [0.0, None]}, r"labels must be .* got null for query 1, candidate 2"),
        ({"label": [0.0, float("inf")]}, r"labels must be .* got inf for query 1, candidate 2"),
        ({"label": ["0", "1"]}, r"column 'label' must be numeric, got String"),
        ({"price": [1.0, float("-inf")]}, r"feature 'price' must be finite .* got -inf for query 1, candidate 2"),
        (
            {"price": [1e300, 1.0]},
            r"feature 'price' must be finite and within the range of 32-bit floats .* candidate 1",
        ),
        ({"docid": [2, 2]}, r"query 1 has candidate 2 more than once"),
        ({"docid": [2, None]}, r"column 'docid' must have no nulls, got 1"),
        ({"qid": [None, 1]}, r"column 'qid' must have no nulls, got 1"),
        ({"qid": [0.5, 1.0]}, r"column 'qid' must be integer or string, got Float64"),
        ({"qid": pl.Series([2**63, 1], dtype=pl.UInt64)}, r"ids must fit into 64-bit integers"),
        ({"price": ["a", "b"]}, r"at least one numeric or categorical feature is wanted"),
    ],
)
@pytest.mark.parametrize("how", ["read", "batches"])
def test_bad_values(tmp_path, change, message, how):
    pl.DataFrame(GOOD | change).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message) as caught:
        HOW[how](scan_candidates(tmp_path / "a.parquet"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": ["prize"]}, r"unable to find column 'prize'; valid columns: .* Did you mean 'price'\?"),
        ({"features": ["text"]}, r"feature column 'text' must be numeric, got String"),
        ({"features": []}, r"features must name at least one column"),
        ({"features": ["label"]}, r"'label' is a key"),
        ({"categorical": ["price"]}, r"column 'price' must be integer or string, got Float64"),
        ({"categorical": ["usr"]}, r"unable to find column 'usr'"),
        ({"time": "text"}, r"time column 'text' must be a number or a date"),
        ({"time": "price", "features": ["price"]}, r"'price' was named twice"),
        ({"format": "avro"}, r"unknown format 'avro'"),
        ({"groups": "x"}, r"groups go with SVMlight text"),
    ],
)
def test_bad_requests(tmp_path, options, message):
    pl.DataFrame(GOOD | {"text": ["a", "b"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        scan_candidates(tmp_path / "a.parquet", **options)


def test_a_missing_key_is_named_with_the_nearest(tmp_path):
    pl.DataFrame({"qidd": [1], "docid": [1], "x": [1.0]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"unable to find column 'qid'; .* Did you mean 'qidd'\?"):
        scan_candidates(tmp_path / "a.parquet")
    pl.DataFrame({"query_id": [1], "q_id": [1], "docid": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="both 'query_id' and 'q_id' could be 'qid'"):
        scan_candidates(tmp_path / "a.parquet")


def test_unreadable_files(tmp_path):
    path = tmp_path / "a.parquet"
    pl.DataFrame(GOOD).write_parquet(path)
    whole = path.read_bytes()
    for length in (1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.parquet cannot be read") as caught:
            scan_candidates(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        scan_candidates(path)
    with pytest.raises(DataError, match="is a folder"):
        scan_candidates(tmp_path, format="parquet")
    with pytest.raises(DataError, match="there is no file"):
        scan_candidates(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"unknown suffix '.json'"):
        scan_candidates(tmp_path / "b.json")
    pl.DataFrame(GOOD).clear().write_parquet(path)
    with pytest.raises(DataError, match="holds no candidate"):
        scan_candidates(path)
    (tmp_path / "a.csv").write_text("qid,docid,x\n")
    with pytest.raises(DataError, match="holds no candidate"):
        scan_candidates(tmp_path / "a.csv")


def test_files_of_other_columns_are_refused(tmp_path):
    pl.DataFrame(GOOD).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(GOOD | {"price": [1, 2]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet must have the columns of .*a\.parquet: column 'price' is Int64"):
        scan_candidates([tmp_path / "a.parquet", tmp_path / "b.parquet"])


def test_writing_is_whole_or_not_at_all(tmp_path, rng):
    path = tmp_path / "a.parquet"
    frame = table(rng)
    write_candidates(frame, path)

    def breaks():
        yield frame
        yield frame
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_candidates(breaks(), path)
    assert scan_candidates(path).read().equals(frame.sort("qid", "docid"))
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]
    write_candidates((frame.filter(pl.col("qid") == query) for query in range(20)), path)
    assert scan_candidates(path).read().equals(frame.sort("qid", "docid"))
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]
    with pytest.raises(DataError, match="there is no folder"):
        write_candidates(frame, tmp_path / "no" / "a.parquet")
    with pytest.raises(DataError, match="unable to find column 'docid'"):
        write_candidates(frame.drop("docid"), path)
    with pytest.raises(DataError, match="docid must have no white space"):
        write_candidates(frame.with_columns(docid=pl.lit("a b")), tmp_path / "a.svm")


def test_labels_may_be_whole_partial_or_ignored(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"qid": [1, 1, 2], "docid": [1, 2, 1], "a": [0.5, 1.0, 2.0]})
    frame.with_columns(label=pl.Series([1, None, 0])).write_parquet(path)
    with pytest.raises(DataError, match="got null for query 1, candidate 2"):
        scan_candidates(path).read()
    assert scan_candidates(path, labels="partial").read()["label"].to_list() == [1.0, None, 0.0]
    for labels in ([1, None, 0], ["good", "bad", None], [float("nan"), -1.0, float("inf")]):
        frame.with_columns(label=pl.Series(labels)).write_parquet(path)
        table = scan_candidates(path, labels="ignored")
        assert not table.schema.has_label
        assert set(table.schema.ignored) == {"label"}
        assert table.read().columns == ["qid", "docid", "a"]
    with pytest.raises(DataError, match="labels must be finite numbers of at least 0, got nan"):
        scan_candidates(path, labels="partial").read()


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(10, 2)])
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_counts_are_whole_numbers_of_any_type_whatever_else_they_are(tmp_path: Path, dtype: Any, suffix: str) -> None:
    path = tmp_path / f"t.{suffix}"
    frame = pl.DataFrame({"qid": [1, 1, 2], "docid": [1, 2, 1], "a": [0.5, 1.0, 2.0], "n": [3, 3, None]})
    write_candidates(frame.cast({"n": dtype}), path)
    alone = scan_candidates(path, features=["a"], counts=["n", "n"]).read()
    both = scan_candidates(path, counts=["n"])
    assert both.schema.numeric == ("a", "n")
    for found in (alone, both.read()):
        assert found.schema["n"] == pl.Int64
        assert found["n"].to_list() == [3, 3, None]
    if not dtype.is_float() and not dtype.is_decimal() and suffix == "parquet":
        assert scan_candidates(path, categorical=["n"], counts=["n"]).read()["n"].to_list() == [3, 3, None]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([3.0, 2.5], "'n' must hold whole numbers of at most 63 bits, or nothing, got 2.5 for query 1, candidate 2"),
        ([3.0, float("inf")], "got inf for query 1, candidate 2"),
        ([1e19, 1.0], "got 1e[+]?19 for query 1, candidate 1"),
        (pl.Series([2**63, 1], dtype=pl.UInt64), "got 9223372036854775808 for query 1, candidate 1"),
        (["3", "4"], "column 'n' must hold whole numbers, got String"),
    ],
)
def test_counts_that_are_none_are_refused_with_column_and_value(tmp_path: Path, values: Any, text: str) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"qid": [1, 1], "docid": [1, 2], "a": [0.5, 1.0]}).with_columns(n=pl.Series(values))
    frame.write_parquet(path)
    with pytest.raises(DataError, match=text):
        scan_candidates(path, features=["a"], counts=["n"]).read()
    with pytest.raises(DataError, match="Did you mean 'n'"):
        scan_candidates(path, features=["a"], counts=["nn"])
    with pytest.raises(DataError, match="'label' is a key"):
        scan_candidates(path, counts=["label"])

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file

from data import DataError
from data.groups import read_groups, rows_to_groups
from data.svmlight import read_chunks


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@st.composite
def files(draw):
    rows = draw(st.integers(1, 20))
    lines = []
    for _ in range(rows):
        indices = sorted(draw(st.sets(st.integers(1, 9), max_size=6)))
        values = [draw(st.floats(-1e6, 1e6, width=32)) for _ in indices]
        pairs = " ".join(f"{index}:{value!r}" for index, value in zip(indices, values, strict=True))
        lines.append(f"{draw(st.integers(0, 4))} qid:{draw(st.integers(1, 5))} {pairs} # made")
    return draw(st.sampled_from(["\n", "\r\n", "\n\n# a comment\n"])).join(lines) + draw(st.sampled_from(["", "\n"]))


@settings(max_examples=20, deadline=None)
@given(files(), st.integers(100, 1500))
def test_equals_scikit_learn_whatever_the_chunks(tmp_path_factory, text, chunk_bytes):
    path = write(tmp_path_factory.mktemp("svm") / "a.txt", text)
    x, y, q = load_svmlight_file(path, n_features=9, query_id=True, zero_based=False)
    chunks = list(read_chunks(path, chunk_bytes))
    np.testing.assert_array_equal(np.concatenate([chunk.labels for chunk in chunks]), y)
    assert [int(qid) for chunk in chunks for qid in chunk.qids] == q.tolist()
    np.testing.assert_array_equal(np.concatenate([chunk.dense(1, 9) for chunk in chunks]), x.toarray().astype("f4"))
    lines = text.replace("\r", "").split("\n")
    numbers = [number for chunk in chunks for number in chunk.lines]
    assert numbers == [number for number, line in enumerate(lines, 1) if line and not line.startswith("#")]


def test_letor_comment_gives_the_document(tmp_path):
    path = write(tmp_path / "a.txt", "2 qid:7 1:0.5 #docid = GX1-2 inc = 1 prob = 0.1\n0 qid:7 3:nan #docid=GX2\n")
    (chunk,) = read_chunks(path)
    assert chunk.docids.to_list() == ["GX1-2", "GX2"]
    np.testing.assert_array_equal(chunk.dense(1, 3), [[0.5, 0, 0], [0, 0, np.nan]])


GOOD = "1 qid:1 1:0.5 2:1\n"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("good qid:1 1:0.5", r"line 3: the label must be a number, got 'good'"),
        ("qid:1 1:0.5", r"line 3: the label must be a number, got 'qid:1'"),
        ("1 qid: 1:0.5", r"line 3: the query after 'qid:' must not be empty"),
        ("1 qid:1 1:x", r"line 3: a feature must be written index:value, got '1:x'"),
        ("1 qid:1 1:", r"line 3: a feature must be written index:value, got '1:'"),
        ("1 qid:1 0.5", r"line 3: a feature must be written index:value, got '0.5'"),
        ("1 qid:1 a:0.5", r"line 3: a feature must be written index:value, got 'a:0.5'"),
        ("1 qid:1 1:2:3", r"line 3: a feature must be written index:value, got '1:2:3'"),
        ("1 1:0.5 qid:1", r"line 3: a feature must be written index:value, got 'qid:1'"),
        ("1 qid:1 -1:0.5", r"line 3: a feature's index must lie between 0 and 20000, got -1"),
        ("1 qid:1 99999999:0.5", r"line 3: a feature's index must lie between 0 and 20000, got 99999999"),
        ("1 qid:1 2:0.5 1:3 2:4", r"line 3: feature 2 stands twice"),
        ("1 1:0.5", r"line 3: every row must have a qid or none"),
        ("1 qid:1 1:0.5 #docid = a", r"line 3: every row must have a #docid or none"),
        (b"1 qid:\xff 1:0.5", r"line 3: text must be UTF-8"),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [5, 1 << 20])
def test_a_bad_line_is_named(tmp_path, bad, message, chunk_bytes):
    bad = bad if isinstance(bad, bytes) else bad.encode()
    path = write(tmp_path / "a.txt", (GOOD * 2).encode() + bad + b"\n" + GOOD.encode())
    with pytest.raises(DataError, match=rf"a\.txt, {message}"):
        list(read_chunks(path, chunk_bytes))


def test_unsorted_indices_are_put_right(tmp_path):
    (chunk,) = read_chunks(write(tmp_path / "a.txt", "1 qid:1 3:3 1:1\n"))
    assert chunk.dense(1, 3).tolist() == [[1, 0, 3]]


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("\n# x\n", "holds no candidate")])
def test_nothing_in_it(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        list(read_chunks(write(tmp_path / "a.txt", text)))


def test_group_sizes(tmp_path):
    sizes = read_groups(write(tmp_path / "q", "2\n\n0\r\n3\n"))
    assert sizes.tolist() == [2, 0, 3]
    assert rows_to_groups(sizes, 5, "t", "q").tolist() == [0, 0, 2, 2, 2]
    for rows in (4, 6):
        with pytest.raises(DataError, match=rf"sizes of q must sum to the {rows} rows of t, got 5"):
            rows_to_groups(sizes, rows, "t", "q")


@pytest.mark.parametrize("line", ["1.5", "-2", "x", "1 2", "²"])
def test_a_bad_group_size_is_named(tmp_path, line):
    with pytest.raises(DataError, match="q, line 2: a group's size must be a whole number from 0 up"):
        read_groups(write(tmp_path / "q", f"2\n{line}\n"))

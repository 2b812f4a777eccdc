"""CSV: ids as they are written, numbers where every value is one, and the line of what is not."""

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data import DataError, csv_shape, scan_candidates, split_table
from data.csv_shape import check_csv, line_of

LATE = 11_000  # rows before the odd one: more than any sample that polars would look at


def written(path: Path, rows: list[str], header: str = "qid,docid,label,x") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["007", "8"], ["007", "8"]),
        (["7", "8"], [7, 8]),
        (["-7", "0"], [-7, 0]),
        (["7", "+8"], ["+8", "7"]),
        (["1.0", "2.0"], ["1.0", "2.0"]),
        (["1", "99999999999999999999"], ["1", "99999999999999999999"]),
        (["NA", "null"], ["NA", "null"]),
    ],
)
@pytest.mark.parametrize("column", ["qid", "query_id", "docid", "docno", "user"])
def test_ids_are_integers_only_where_all_are_written_like_some(
    tmp_path: Path, column: str, ids: list[str], expected: list[object]
) -> None:
    header = [column, *(name for name in ("qid", "docid") if name[0] != column[0]), "x"]
    rows = [",".join([name, *["1"] * (len(header) - 2), "0.5"]) for name in ids]
    path = written(tmp_path / "a.csv", rows, ",".join(header))
    if column == "user":
        path = written(tmp_path / "a.csv", [f"{name},1,{i},0.5" for i, name in enumerate(ids)], "user,qid,docid,x")
    read = scan_candidates(path, categorical=["user"] if column == "user" else []).read()
    key = {"qid": "qid", "query_id": "qid", "docid": "docid", "docno": "docid", "user": "user"}[column]
    assert sorted(read[key].to_list()) == sorted(expected)  # type: ignore[type-var]


def test_columns_are_what_all_values_say_wherever_the_odd_one_stands(tmp_path: Path) -> None:
    rows = [f"{i},{i},1,2,u" for i in range(LATE)] + ["q,d150,0.5,0.25,1"]
    path = written(tmp_path / "a.csv", rows, "qid,docid,label,x,user")
    table = scan_candidates(path, categorical=["user"])
    assert (table.schema.dtypes["qid"], table.schema.dtypes["docid"]) == (pl.String, pl.String)
    last = table.read().filter(pl.col("docid") == "d150")
    assert last.rows() == [("q", "d150", 0.5, "1", 0.25)]
    split = split_table(path, tmp_path / "out", categorical=["user"])
    assert pl.concat([pl.read_parquet(part.path) for part in split]).sort("docid")["docid"][-1] == "d150"


def test_words_for_missing_and_true(tmp_path: Path) -> None:
    cells = ["1", " 2.5 ", "NA", "n/a", "NaN", "null", "None", "", "TRUE", "false", "1e-3"]
    path = written(tmp_path / "a.csv", [f"1,{i},0,{cell}" for i, cell in enumerate(cells)])
    values = scan_candidates(path).read().sort("docid")["x"].to_list()
    assert values == pytest.approx([1, 2.5, *[None] * 6, 1, 0, 1e-3])


def test_text_is_left_out_and_a_number_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    rows = [f'1,{i},0,{i},"two\nlines",t{i}' for i in range(20)]
    path = written(tmp_path / "a.csv", rows, "qid,docid,label,x,note,text")
    assert scan_candidates(path).schema.ignored == {"note": pl.String, "text": pl.String}
    rows[7] = rows[7].replace("0,7", "0,seven")
    path = written(tmp_path / "a.csv", rows, "qid,docid,label,x,note,text")
    line = path.read_text().splitlines().index('1,7,0,seven,"two') + 1
    for refused in ({}, {"features": ["x"]}):
        with pytest.raises(DataError, match=rf"a\.csv, line {line}: column 'x' must be numeric.* got 'seven'"):
            scan_candidates(path, **refused)
    with pytest.raises(DataError, match=r"a\.csv, line 2: column 'text' must be numeric, got 't0'"):
        scan_candidates(path, features=["text"])
    for taken in ({"exclude": ["x"], "categorical": ["text"]}, {"categorical": ["x"]}):
        assert scan_candidates(path, **taken).rows == 20


def test_split_names_the_table_and_the_line(tmp_path: Path) -> None:
    path = written(tmp_path / "mix.csv", [f"{i},{i},{i % 2},1" for i in range(150)] + ["150,150,good,1"])
    with pytest.raises(DataError, match=r"mix\.csv, line 152: column 'label' must be numeric, got 'good'") as caught:
        split_table(path, tmp_path / "out")
    assert ".tmp" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_time_among_others_is_refused_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", ["1,1,0,2024-01-31", "1,2,0,31.1.2024"])
    with pytest.raises(DataError, match=r"line 3: time column 'x' must be written %Y-%m-%d throughout, got '31\.1\."):
        scan_candidates(path, time="x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("qid,docid,x\n1,2,3\n1,3\n", "line 3: every line must have the header's 3 fields, got 2 fields"),
        ("qid,docid,x\n1,2,3,4\n1,3,3\n", "line 2: .* got 4 fields"),
        ("qid,docid,x\r\n1,2,3\r\n\r\n1,3,3\r\n", "line 3: .* got an empty line"),
        ('qid,docid,x\n1,2,"3\n1,3,3\n', "line 2: a quotation mark must be closed"),
        ("qid,docid,x,x\n1,2,3,4\n", "'x' stands there twice"),
        ("\n\n", "only empty lines"),
        ('qid,docid,x\n1,"a\n,\nb",1\n1,2\n', "line 5: .* got 2 fields"),
    ],
)
def test_a_line_of_another_shape_is_refused_with_its_number(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    with pytest.raises(DataError, match=said):
        scan_candidates(tmp_path / "a.csv")


def test_text_of_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("qid,docid,x\n1,2,3\n1,é,4\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv, line 3: text must be UTF-8"):
        scan_candidates(tmp_path / "a.csv")


CELLS = st.text(st.sampled_from('a1,"\n\ré'), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12), st.integers(1, 40), st.booleans())
def test_rows_and_their_lines_are_those_of_python(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]], chunk: int, ended: bool
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    content = text.getvalue() if ended else text.getvalue().removesuffix("\n")
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(content.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_shape, "_CHUNK_BYTES", chunk)
        assert check_csv(path) == ["a", "b", "c"]
        begins = 2
        for number, row in enumerate(rows):
            assert line_of(path, number) == begins
            begins += 1 + "".join(row).count("\n")
        path.write_bytes(content.removesuffix("\n").encode() + b'\n"only one"\n')
        with pytest.raises(DataError, match=rf"line {begins}: .* got 1 field"):
            check_csv(path)

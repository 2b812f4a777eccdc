import ir_measures
import polars as pl
import pytest

from data import DataError, read_qrels, read_run, write_qrels, write_run


def test_round_trip_and_ir_measures_reads_the_same(tmp_path, rng):
    rows = [(str(query), f"d{doc}") for query in range(5) for doc in rng.permutation(30)[:20]]
    frame = pl.DataFrame(rows, schema=["qid", "docid"], orient="row").with_columns(
        score=rng.standard_normal(100), label=rng.integers(-1, 3, 100)
    )
    write_run(frame, tmp_path / "run", tag="mine")
    write_qrels(frame, tmp_path / "qrels")
    run, qrels = read_run(tmp_path / "run"), read_qrels(tmp_path / "qrels")
    assert qrels.equals(frame.select("qid", "docid", pl.col("label").cast(pl.Int64)))
    assert run.columns == ["qid", "docid", "rank", "score", "tag"]
    assert run["tag"].unique().to_list() == ["mine"]
    assert run.sort("qid", "docid")["score"].equals(frame.sort("qid", "docid")["score"])  # to the last bit
    theirs = [tuple(each) for each in ir_measures.read_trec_run(str(tmp_path / "run"))]
    assert theirs == run.select("qid", "docid", "score").rows()
    judged = [
        (each.query_id, each.doc_id, each.relevance) for each in ir_measures.read_trec_qrels(str(tmp_path / "qrels"))
    ]
    assert judged == qrels.rows()
    for (_,), part in run.group_by("qid"):
        assert part["rank"].to_list() == list(range(1, 21))
        assert part["score"].is_sorted(descending=True)


def test_ties_go_by_docid_and_integer_ids_are_written(tmp_path):
    frame = pl.DataFrame({"query_id": [2, 1, 1, 1], "docno": [5, 9, 7, 8], "score": [1.0, 0.5, 0.5, 2.0]})
    write_run(frame, tmp_path / "run")
    assert (tmp_path / "run").read_text() == (
        "1 Q0 8 1 2.0 slicerank\n1 Q0 7 2 0.5 slicerank\n1 Q0 9 3 0.5 slicerank\n2 Q0 5 1 1.0 slicerank\n"
    )


def test_a_cascade_s_ranks_need_scores_that_fall(tmp_path):
    # a survivor of stage 2 scored 0.1 stands above one dropped at stage 1 with 0.9
    frame = pl.DataFrame({"qid": [1, 1, 1], "docid": [4, 5, 6], "rank": [2, 1, 3], "score": [0.9, 0.1, 0.2]})
    with pytest.raises(DataError, match=r"scores must fall with the rank, .* query 1, candidate 4 at rank 2"):
        write_run(frame, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    write_run(frame, tmp_path / "run", by_rank=True)
    assert read_run(tmp_path / "run").select("docid", "rank", "score").rows() == [("5", 1, 3), ("4", 2, 2), ("6", 3, 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 Q0 d 1 0.5", r"line 3: 6 columns .* wanted, got '1 Q0 d 1 0.5'"),
        ("1 Q0 d 1 0.5 t u", r"line 3: 6 columns"),
        ("1 Q0 d one 0.5 t", r"line 3: the rank must be a whole number, got 'one'"),
        ("1 Q0 d 1 high t", r"line 3: the score must be a finite number, got 'high'"),
        ("1 Q0 d 1 nan t", r"line 3: the score must be a finite number, got 'nan'"),
        ("1 Q0 a 1 0.5 t", r"line 3: query '1' has 'a' already"),
    ],
)
def test_bad_run_lines(tmp_path, line, message):
    (tmp_path / "run").write_text(f"1 Q0\ta 1  0.5 t\r\n\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 0 d", r"line 2: 4 columns"),
        ("1 0 d 0.5", r"line 2: the label must be a whole number, got '0.5'"),
        ("1 0 a 0", r"line 2: query '1' has 'a' already"),
    ],
)
def test_bad_qrels_lines(tmp_path, line, message):
    (tmp_path / "qrels").write_text(f"1 0 a 1\n{line}\n")
    with pytest.raises(DataError, match=message):
        read_qrels(tmp_path / "qrels")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"docid": ["a b"]}, "docid must not be empty or hold white space"),
        ({"docid": [""]}, "docid must not be empty or hold white space"),
        ({"docid": [None]}, "column 'docid' must have no missing"),
        ({"score": [float("nan")]}, "column 'score' must have no missing or infinite values, got 1"),
        ({"rank": [0.5]}, "column 'rank' must be integer"),
    ],
)
def test_bad_runs_are_not_written(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        write_run(pl.DataFrame({"qid": ["q"], "docid": ["d"], "score": [1.0]} | change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_labels_must_be_whole(tmp_path):
    frame = pl.DataFrame({"qid": [1, 1], "docid": [1, 2], "label": [1.0, 0.5]})
    with pytest.raises(DataError, match=r"whole numbers, got 0\.5 for query 1, document 2"):
        write_qrels(frame, tmp_path / "qrels")
    write_qrels(frame.with_columns(label=pl.Series([None, 2.0])), tmp_path / "qrels")
    assert read_qrels(tmp_path / "qrels").rows() == [("1", "2", 2)]

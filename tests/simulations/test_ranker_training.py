"""Training from a table: the file holds what the record says, and resuming is of the same run."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from click.testing import CliRunner

import cli
from cascade import evaluate
from data import DataError, split_by_query, write_candidates
from data.prepared import Roles, write_prepared
from simulations.ranker_files import Columns
from simulations.ranker_planning import PlanRequest, plan_cascade
from simulations.ranker_training import Trained, TrainRequest, train_ranker
from slicing import Ranker, RankerSettings, SlicingError

SETTINGS = RankerSettings(rates=(0.5, 1.0), hidden=(16, 16), epochs=2, batch_rows=100, dropout=0.0)


def weights(trained: Trained) -> list[torch.Tensor]:
    return list(Ranker.load(trained.file).network.state_dict().values())


def test_the_record_is_of_the_ranker_in_the_file(tmp_path: Path, table: Path, labelled: pl.DataFrame) -> None:
    trained = train_ranker(TrainRequest(table, tmp_path / "m", settings=SETTINGS), "the command")
    record = json.loads((tmp_path / "m" / "train.json").read_text())
    assert record["command"] == "the command"
    assert len(record["history"]) == 2
    _, held = split_by_query(labelled, (0.8, 0.2), 0)
    ranker = Ranker.load(trained.file)
    assert ranker.columns == tuple(f"f{index + 1}" for index in range(6))
    scores = ranker.scores({name: held[name].to_numpy() for name in ranker.columns})
    for row, figure in zip(scores, record["history"][record["best_epoch"]]["validation"], strict=True):
        run = held.select("qid", "docid").with_columns(score=pl.Series(row))
        means = evaluate(run, held, [record["measure"]], without_relevant="skip").means
        assert means[record["measure"]] == pytest.approx(figure, abs=1e-5)


def test_columns_have_the_roles_that_they_are_given(tmp_path: Path, labelled: pl.DataFrame) -> None:
    frame = labelled.with_columns(user=pl.col("qid") % 5)
    roles = Roles(["f1", "f2"], ["user"], None, ["user"])
    parts = {part: [frame] for part in ("train", "validation", "test")}
    prepared = write_prepared(tmp_path / "set", "set", [parts], roles, {})
    path = prepared.folds[0].train
    assert Columns().of(path) == Columns(("f1", "f2"), ("user",))
    assert Columns(("f3",)).of(path) == Columns(("f3",))
    settings = replace(SETTINGS, epochs=1)
    ranker = train_ranker(TrainRequest(path, tmp_path / "a", settings=settings), "").ranker
    assert ranker.columns == ("f1", "f2", "user")
    write_candidates(frame, tmp_path / "loose.parquet")
    asked = Columns(("f3",), ("user",))
    ranker = train_ranker(
        TrainRequest(tmp_path / "loose.parquet", tmp_path / "b", columns=asked, settings=settings), ""
    )
    assert ranker.ranker.columns == ("f3", "user")


def test_resuming_a_finished_run_gives_the_same_weights_and_other_input_is_refused(tmp_path: Path, table: Path) -> None:
    request = TrainRequest(table, tmp_path / "m", settings=SETTINGS)
    first = weights(train_ranker(request, ""))
    assert all(map(torch.equal, weights(train_ranker(replace(request, resume=True), "")), first))
    with pytest.raises(SlicingError, match="of other data"):
        train_ranker(replace(request, share=0.4, resume=True), "")
    with pytest.raises(SlicingError, match="of other settings"):
        train_ranker(replace(request, settings=replace(SETTINGS, batch_rows=60), resume=True), "")
    assert all(map(torch.equal, weights(train_ranker(request, "")), first))


def test_bad_requests_are_refused_before_anything_is_written(
    tmp_path: Path, table: Path, labelled: pl.DataFrame
) -> None:
    out = tmp_path / "m"
    write_candidates(labelled.rename({"label": "lable"}), tmp_path / "bare.parquet")
    for request, error, said in (
        (TrainRequest(table, out, share=1.0), SlicingError, "in \\(0, 1\\)"),
        (TrainRequest(table, out, settings=replace(SETTINGS, seed=-1)), SlicingError, "seed"),
        (TrainRequest(table, out, settings=replace(SETTINGS, keep=(3.0, 2.0))), SlicingError, "survival"),
        (TrainRequest(table, out, columns=Columns(("f9",))), DataError, "'f9'"),
        (TrainRequest(tmp_path / "bare.parquet", out), DataError, "column 'label'.* Did you mean 'lable'"),
    ):
        with pytest.raises(error, match=said):
            train_ranker(request, "")
    assert not out.exists()


def test_validation_by_training_queries_is_refused_or_told(tmp_path: Path, table: Path, labelled: pl.DataFrame) -> None:
    write_candidates(labelled.filter(pl.col("qid") < 10), tmp_path / "some.parquet")
    other = labelled.filter(pl.col("qid") > 19).with_columns(pl.col("qid") + 100)
    write_candidates(pl.concat([labelled.filter(pl.col("qid") < 3), other]), tmp_path / "mixed.parquet")
    write_candidates(other, tmp_path / "other.parquet")
    for name in ("table", "some"):
        with pytest.raises(SlicingError, match="validation queries are training queries too, and say nothing"):
            train_ranker(TrainRequest(table, tmp_path / "m", tmp_path / f"{name}.parquet", settings=SETTINGS), "")
    assert not (tmp_path / "m").exists()
    (told,) = train_ranker(
        TrainRequest(table, tmp_path / "m", tmp_path / "mixed.parquet", settings=SETTINGS), ""
    ).warnings
    assert "3 of 13 validation queries are training queries too" in told
    trained = train_ranker(TrainRequest(table, tmp_path / "m", tmp_path / "other.parquet", settings=SETTINGS), "")
    assert trained.warnings == ()
    seen = Ranker.load(trained.file).seen
    assert seen is not None
    assert (len(seen.training), len(seen.validation)) == trained.queries == (30, 10)


def test_what_a_ranker_refuses_is_named_by_table_query_candidate_and_column(
    tmp_path: Path, table: Path, labelled: pl.DataFrame
) -> None:
    frame = labelled.with_columns(user=pl.col("qid") % 5)
    fresh = frame.with_columns(pl.col("qid") + 100)
    missing = pl.when((pl.col("qid") == 103) & (pl.col("docid") == 7)).then(None).otherwise("f2").alias("f2")
    write_candidates(frame, tmp_path / "train.parquet")
    write_candidates(fresh, tmp_path / "fresh.parquet")
    write_candidates(fresh.with_columns(missing), tmp_path / "missing.parquet")
    write_candidates(fresh.with_columns(pl.col("user").cast(pl.String)), tmp_path / "text.parquet")
    columns, settings = Columns(("f1", "f2"), ("user",)), replace(SETTINGS, epochs=1)
    said = {
        "missing": r"missing\.parquet: 'f2' is missing in query 103, candidate 7; it never was in training",
        "text": r"text\.parquet: 'user' holds strings; in training it held whole numbers: convert the column",
    }

    def request(name: str) -> TrainRequest:
        return TrainRequest(
            tmp_path / "train.parquet", tmp_path / "m", tmp_path / f"{name}.parquet", columns, settings=settings
        )

    train_ranker(request("fresh"), "")
    for name, text in said.items():
        with pytest.raises(SlicingError, match=text):
            plan_cascade(PlanRequest(tmp_path / "m", tmp_path / f"{name}.parquet", tmp_path / "c.toml", recall=0.1))
        with pytest.raises(SlicingError, match=text):
            train_ranker(request(name), "")


def test_text_with_its_queries_elsewhere_is_pointed_to_the_command_that_reads_it(tmp_path: Path) -> None:
    command = "slicerank data letor --train ... --validation ... --test ...` --groups"
    for lines in ("1 1:0.5 2:1\n0 1:2\n", "# made by hand\n\n1 1:0.5 # docid = 3\n"):
        (tmp_path / "rank.txt").write_text(lines)
        with pytest.raises(
            DataError, match=rf"rank\.txt has no 'qid:': add it, or, .* in rank\.txt\.query, .*{command}"
        ):
            train_ranker(TrainRequest(tmp_path / "rank.txt", tmp_path / "m", settings=SETTINGS), "")
    for lines, said in (("1 qid:1 1:0.5\n0 1:2\n", "line 2"), ("what\n", "line 1"), ("", "empty")):
        (tmp_path / "rank.txt").write_text(lines)
        with pytest.raises(DataError, match=said):
            train_ranker(TrainRequest(tmp_path / "rank.txt", tmp_path / "m", settings=SETTINGS), "")


def test_the_k_of_validation_is_the_one_asked_for(tmp_path: Path, table: Path, labelled: pl.DataFrame) -> None:
    words = ["train", str(table), "--rates", "0.5,1.0", "--hidden", "8", "--epochs", "1", "--k", "3", "--quiet"]
    result = CliRunner().invoke(cli.main, [*words, "--loss", "lambda", "--out", str(tmp_path / "m")])
    assert result.exit_code == 0, result.output
    assert "nDCG(dcg='exp-log2')@3" in result.output
    record = json.loads((tmp_path / "m" / "train.json").read_text())
    assert record["settings"]["k"] == 3
    _, held = split_by_query(labelled, (0.8, 0.2), 0)
    ranker = Ranker.load(tmp_path / "m" / "model.safetensors")
    scores = ranker.scores({name: held[name].to_numpy() for name in ranker.columns})[-1]
    run = held.select("qid", "docid").with_columns(score=pl.Series(scores))
    means = evaluate(run, held, ["nDCG(dcg='exp-log2')@3"], without_relevant="skip").means
    assert means["nDCG(dcg='exp-log2')@3"] == pytest.approx(record["history"][0]["validation"][-1], abs=1e-5)

"""Training from a table: the file holds what the record says, and resuming is of the same run."""

import io
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

import cli
from cascade import evaluate
from data import DataError, split_by_query, split_table, write_candidates
from data.prepared import Roles, write_prepared
from simulations.ranker_files import Columns, open_for
from simulations.ranker_planning import PlanRequest, plan_cascade
from simulations.ranker_terminal import show_trained
from simulations.ranker_training import Trained, TrainRequest, train_ranker
from slicing import Ranker, RankerSettings, SlicingError
from slicing.ranker_settings import Loss

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


def test_ids_of_csv_are_the_same_ones_in_every_table(tmp_path: Path, labelled: pl.DataFrame) -> None:
    words = labelled.with_columns(user=pl.when(pl.col("qid") == 29).then(pl.lit("d7")).otherwise(pl.col("qid") % 5))
    first, later = words.filter(pl.col("qid") < 20), words.filter(pl.col("qid") >= 20)
    first.write_csv(tmp_path / "a.csv")
    later.write_csv(tmp_path / "b.csv")
    settings = replace(SETTINGS, epochs=1)
    request = TrainRequest(
        tmp_path / "a.csv", tmp_path / "m", tmp_path / "b.csv", Columns(None, ("user",)), 0.2, settings
    )
    ranker = train_ranker(request, "").ranker  # numbers there, words here
    assert list(ranker.vocabularies["user"].known) == ["0", "1", "2", "3", "4"]
    assert open_for(ranker, tmp_path / "a.csv", labels="ignored").read()["user"].to_list() == first["user"].to_list()
    alone = train_ranker(replace(request, validation=None), "").ranker
    assert list(alone.vocabularies["user"].known) == [0, 1, 2, 3, 4]
    read = open_for(alone, tmp_path / "b.csv", labels="ignored").read()["user"]
    assert read.to_list() == [None if user == "d7" else int(user) for user in later["user"]]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_time_of_a_split_is_no_feature_and_what_is_left_out_is_said(
    tmp_path: Path, labelled: pl.DataFrame, suffix: str
) -> None:
    frame = labelled.with_columns(when=1000 - pl.col("qid"), user=pl.col("qid") % 5, note=pl.lit("some words"))
    write_candidates(frame, tmp_path / f"t.{suffix}")
    made = split_table(
        tmp_path / f"t.{suffix}", tmp_path / "parts", shares=(0.6, 0.2, 0.2), time="when", categorical=["user"]
    )
    settings = replace(SETTINGS, epochs=1)
    request = TrainRequest(made[0].path, tmp_path / "m", made[1].path, Columns(exclude=("f2",)), settings=settings)
    trained = train_ranker(request, "")
    assert trained.ranker.columns == ("f1", "f3", "f4", "f5", "f6", "user")
    unused = {"when": "time", "note": "text", "f2": "excluded", "ideal": "result"}
    columns = {"numeric": ["f1", "f3", "f4", "f5", "f6"], "categorical": ["user"], "unused": unused}
    assert json.loads((tmp_path / "m" / "train.json").read_text())["columns"] == columns
    console = Console(width=80, file=io.StringIO(), color_system=None)
    show_trained(trained, console)
    assert isinstance(console.file, io.StringIO)
    said = "5 features: f1, f3, f4, f5, f6; 1 column of ids: user; not used: "
    line = next(line for line in console.file.getvalue().splitlines() if "not used" in line)
    assert line.startswith(said)
    assert set(line.removeprefix(said).split(", ")) == {f"{name} ({why})" for name, why in unused.items()}


def test_columns_asked_for_by_name_are_read_whatever_they_are(tmp_path: Path, labelled: pl.DataFrame) -> None:
    write_candidates(labelled.with_columns(when=pl.col("qid")), tmp_path / "t.parquet")
    path = split_table(tmp_path / "t.parquet", tmp_path / "parts", time="when")[0].path
    assert Columns(("f1", "when")).of(path) == Columns(("f1", "when"))
    assert Columns(None, ("when",)).of(path) == Columns(None, ("when",))
    assert Columns(exclude=("when",)).of(path) == Columns(exclude=("when",))
    with pytest.raises(DataError, match=r"unable to find column 'f22'; .* Did you mean 'f2'"):
        Columns(exclude=("f22",)).open(path)
    (tmp_path / "parts" / "split.json").write_text("[1, 2")
    assert Columns().of(path) == Columns()


def test_features_in_one_list_column_are_validated_on_too(tmp_path: Path, labelled: pl.DataFrame) -> None:
    rows = labelled.select("qid", "docid", "label", features=pl.concat_list("f1", "f2"))
    for name, part in (("a", rows.filter(pl.col("qid") < 20)), ("b", rows.filter(pl.col("qid") >= 20))):
        part.write_parquet(tmp_path / f"{name}.parquet")
    request = TrainRequest(
        tmp_path / "a.parquet", tmp_path / "m", tmp_path / "b.parquet", settings=replace(SETTINGS, epochs=1)
    )
    assert train_ranker(request, "").ranker.columns == ("f0", "f1")


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_labels_of_any_size_go_with_pointwise_losses_and_linear_gain(
    tmp_path: Path, labelled: pl.DataFrame, loss: Loss
) -> None:
    graded = labelled.with_columns(label=pl.col("label") * 100 / 3)
    write_candidates(graded, tmp_path / "t.parquet")
    settings = replace(SETTINGS, loss=loss, epochs=3)
    trained = train_ranker(TrainRequest(tmp_path / "t.parquet", tmp_path / "m", settings=settings), "")
    record = json.loads((tmp_path / "m" / "train.json").read_text())
    assert record["measure"] == trained.measure == "nDCG@10"
    _, held = split_by_query(graded, (0.8, 0.2), 0)
    scores = trained.ranker.scores({name: held[name].to_numpy() for name in trained.ranker.columns})
    for row, figure in zip(scores, record["history"][record["best_epoch"]]["validation"], strict=True):
        run = held.select("qid", "docid").with_columns(score=pl.Series(row))
        assert evaluate(run, held, ["nDCG@10"], without_relevant="skip").means["nDCG@10"] == pytest.approx(figure)


def test_labels_that_a_loss_can_not_learn_from_are_refused(tmp_path: Path, labelled: pl.DataFrame) -> None:
    write_candidates(labelled.with_columns(label=pl.col("label") * 20), tmp_path / "t.parquet")
    for change, said in (
        ({}, r"at most 31, as their gain in loss 'listwise' is 2\^label - 1, got 60; train by --loss mse"),
        ({"loss": "lambda"}, "in loss 'lambda'"),
        ({"loss": "mse", "survival": 0.5, "keep": (5.0, 2.0)}, "in the joint-survival loss"),
    ):
        request = TrainRequest(tmp_path / "t.parquet", tmp_path / "m", settings=replace(SETTINGS, **change))
        with pytest.raises(SlicingError, match=said):
            train_ranker(request, "")


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

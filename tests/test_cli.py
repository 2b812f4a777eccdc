"""The command line: help, one-line errors with exit status 2, an interrupt that loses nothing."""

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import polars
import pytest
import torch
from click.testing import CliRunner, Result

import cli
from simulations.command_line import one_line_errors

SMALL = ["--epochs", "1", "--width", "0.25", "--rates", "0.5,1.0", "--quiet", "--no-augment"]


def simulate(*options: str) -> Result:
    return CliRunner().invoke(cli.main, ["simulate", "cascade", *options])


def one_line(result: Result) -> str:
    """The message of a run that bad input ended; asserts exit status 2 and a single line of error."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, result.output
    return errors[0]


def commands(group: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(cli.main), ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli.main, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert "slicerank " in result.output.split("Example", 1)[1]


def test_help_imports_no_heavy_package() -> None:
    code = "import sys, cli; print([m for m in ('torch', 'polars', 'sklearn', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_simulation_writes_its_report_and_shows_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/slicerank", "simulate", "cascade", "--out", "two words"])
    result = simulate(*SMALL, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["command"] == "slicerank simulate cascade --out 'two words'"
    assert {"report.html", "stages.csv", "inclusion.csv"} <= {path.name for path in tmp_path.iterdir()}
    shown = report["protocols"]["paper"]["systems"][0]["stages"][-1]["aggregate_recall"]
    assert f"{shown:.2%}" in result.output
    assert str(tmp_path / "report.html") in result.output


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--rates", "1.0,0.5"], ["rise", "[0.5, 1.0]"]),
        (["--rates", "0.25,0.5"], ["must be 1.0", "[0.25, 0.5]"]),
        (["--rates", "0,1"], ["(0, 1]", "0.0"]),
        (["--rates", "half,1"], ["numbers separated by commas", "'half,1'"]),
        (["--rates", "0.3,1.0"], ["rate 0.3", "legal widths"]),
        (["--width", "0"], ["above 0", "0.0"]),
        (["--model", "vgg13"], ["32 pixels", "8x8", "small-cnn"]),
        (["--epochs", "0"], ["epochs", "0"]),
        (["--batch", "-1"], ["batch_size", "-1"]),
        (["--learning-rate", "0"], ["learning_rate", "0.0"]),
        (["--distill", "2"], ["distill", "[0, 1]", "2.0"]),
        (["--train-limit", "3"], ["train_limit", "3"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--data", "cifar10"], ["data-dir"]),
        (["--data", "cifar10", "--data-dir", "nowhere"], ["nowhere", "--data-dir"]),
        (["--data", "cifr10"], ["'cifr10'", "cifar10"]),
        (["--image-size", "16"], ["image_size", "16"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(tmp_path: Path, options: list[str], parts: list[str]) -> None:
    message = one_line(simulate("--quiet", "--out", str(tmp_path / "out"), *options))
    for part in parts:
        assert part in message
    assert not list(tmp_path.rglob("report*"))


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = one_line(simulate(*SMALL, "--out", str(tmp_path / "file")))
    assert "file" in message
    assert (tmp_path / "file").read_text() == "in the way"


def test_cuda_without_a_device_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "CUDA" in one_line(simulate(*SMALL, "--device", "cuda", "--out", str(tmp_path)))


def test_resuming_refuses_checkpoints_of_another_network_and_damaged_ones(tmp_path: Path) -> None:
    assert simulate(*SMALL, "--out", str(tmp_path)).exit_code == 0
    other = simulate(*SMALL, "--width", "0.5", "--resume", "--out", str(tmp_path))
    assert "sliced-nested.safetensors" in one_line(other)
    checkpoint = tmp_path / "checkpoints" / "sliced-nested.safetensors"
    content = bytearray(checkpoint.read_bytes())
    content[-100] ^= 0xFF
    checkpoint.write_bytes(content)
    damaged = simulate(*SMALL, "--resume", "--out", str(tmp_path))
    assert "damaged" in one_line(damaged)


def test_an_interrupted_run_resumes_to_the_same_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simulations import image_training

    whole = simulate(*SMALL, "--epochs", "2", "--out", str(tmp_path / "whole"))
    assert whole.exit_code == 0, whole.output
    real, calls = image_training.epoch_batches, []

    def interrupting(*args: object, **kwargs: object) -> object:
        calls.append(kwargs["epoch"])
        if len(calls) == 4:  # the second network's second epoch
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(image_training, "epoch_batches", interrupting)
    cut = simulate(*SMALL, "--epochs", "2", "--out", str(tmp_path / "cut"))
    assert cut.exit_code == 130
    assert "--resume" in cut.output
    assert not (tmp_path / "cut" / "report.json").exists()
    monkeypatch.setattr(image_training, "epoch_batches", real)
    again = simulate(*SMALL, "--epochs", "2", "--resume", "--out", str(tmp_path / "cut"))
    assert again.exit_code == 0, again.output
    reports = [json.loads((tmp_path / name / "report.json").read_text()) for name in ("whole", "cut")]
    for report in reports:  # all but the time it took and where it ran
        report.pop("command")
        report.pop("training")
        for protocol in report["protocols"].values():
            for system in protocol["systems"]:
                system.pop("seconds_total")
                system.pop("seconds_run")
                for stage in system["stages"]:
                    stage.pop("seconds")
    assert reports[0] == reports[1]


def test_nan_scores_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from simulations import cascade

    real = cascade.sliced_network

    def broken(*args: object) -> object:
        network = real(*args)  # type: ignore[arg-type]
        fit = cascade.Trainer.fit

        def poisoned(trainer: object, name: str, trained: object) -> object:
            result = fit(trainer, name, trained)  # type: ignore[arg-type]
            if trained is network:
                with torch.no_grad():
                    next(network.parameters()).fill_(float("nan"))
            return result

        monkeypatch.setattr(cascade.Trainer, "fit", poisoned)
        return network

    monkeypatch.setattr(cascade, "sliced_network", broken)
    message = one_line(simulate(*SMALL, "--out", str(tmp_path)))
    assert "nan" in message.lower()
    assert not (tmp_path / "report.json").exists()


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("train gone.parquet --out m", ["gone.parquet", "check the path"]),
        ("train gone.parquet --rates 1,0.5 --out m", ["gone.parquet"]),
        ("train gone.parquet --hidden wide --out m", ["whole numbers separated by commas", "'wide'"]),
        ("train gone.parquet --keep many --survival 1 --out m", ["counts and shares", "'many'"]),
        ("plan gone gone.parquet --recall 0.9", ["no ranker at gone"]),
        ("train rank.train --out m", ["unknown suffix '.train'", "slicerank data letor --train", "--groups"]),
        ("plan gone gone.parquet --recall 1.5", ["--recall must be in [0, 1], got 1.5"]),
        ("plan gone gone.parquet --recall 1 --confidence 0.9", ["recall must be in (0, 1), got 1.0"]),
        ("plan gone gone.parquet --recall 0.9 --confidence 95", ["confidence must be in (0, 1), got 95.0"]),
        ("plan gone gone.parquet --recall 0.9 --relevant nan", ["--relevant must be a finite label above 0, got nan"]),
        ("plan gone gone.parquet --cost -5%", ["--cost must be finite and above 0, got '-5%'"]),
        ("plan gone gone.parquet --cost cheap", ["--cost must be a number, or a share", "'cheap'"]),
        ("plan gone gone.parquet --cost 5 --recall 0.5", ["either a recall or a cost", "got both"]),
        ("plan gone gone.parquet", ["got neither; give --recall 0.98 or --cost 25%"]),
        ("plan gone gone.parquet", ["either a recall or a cost"]),
        ("plan gone gone.parquet --recall 0.9 --final-k 0", ["from 1 to 9223372036854775807, or all", "'0'"]),
        ("plan gone gone.parquet --recall 0.9 --out c.yaml", [".toml", "c.yaml"]),
        ("run gone.toml gone.parquet --out o.parquet", ["no cascade file at gone.toml"]),
        ("run gone.toml gone.parquet --out o.parquet --cutoff budget", ["RATE=COLUMN", "'budget'"]),
        ("run gone.toml g.parquet --out o.parquet --cutoff 0.5=a --cutoff .50=b", ["one cutoff", "'a' and 'b'"]),
        ("evaluate gone.parquet", ["at least one result"]),
        ("evaluate gone.parquet gone.qrels", ["there is no file gone.qrels"]),
        (
            "plan gone gone.parquet --recall 0.9 --final-k 9223372036854775808",
            ["9223372036854775807", "'9223372036854775808'"],
        ),
        ("plan gone gone.parquet --recall 0.9 --seed -1", ["--seed", "-1"]),
        ("train gone.parquet --seed 9223372036854775808 --out m", ["--seed", "9223372036854775807"]),
        ("evaluate a.run b.run c.qrels --seed -1", ["--seed", "-1"]),
        ("run gone.toml gone.parquet --out o.parquet --rows 9223372036854775808", ["--rows", "9223372036854775807"]),
        ("simulate nesting --seeds 0,-1 --out n", ["--seeds", "-1"]),
        ("simulate ranking --seed -1 --out n", ["--seed", "-1"]),
        ("simulate promise --seed 9223372036854775808 --out n", ["--seed", "9223372036854775807"]),
        ("data synthetic --first-query 9223372036854775807 --out t.parquet", ["63 bits", "9223372036854775807"]),
        ("data synthetic --queries 0 --out t.parquet", ["queries must be at least 1", "0"]),
        ("data mq2008 gone --out t", ["S1.txt", "gone"]),
        ("data letor --out t", ["either SOURCE or --train"]),
        ("data letor --train a --out t", ["three files"]),
        ("data movielens gone --out t", ["gone"]),
    ],
)
def test_commands_on_tables_refuse_bad_input_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, parts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    message = one_line(CliRunner().invoke(cli.main, command.split()))
    for part in parts:
        assert part in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--latency", "0"], "latency must be above 0 seconds, got 0.0"),
        (["--peak-load", "2"], "peak load must lie in (0, 1], got 2.0"),
        (["--trace", "none.csv"], "none.csv"),
        (["--peak-load", "nan"], "peak load must lie in (0, 1], got nan"),
    ],
)
def test_degradation_refuses_bad_input_in_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(cli.main, ["simulate", "degradation", "--quiet", "--out", str(tmp_path), *options])
    assert said in one_line(result)
    assert not list(tmp_path.iterdir())


def test_a_trace_is_not_overwritten_by_the_report_about_it(tmp_path: Path) -> None:
    trace = tmp_path / "over-time.csv"
    trace.write_text("seconds,requests\n0,100\n1,200\n")
    result = CliRunner().invoke(cli.main, ["simulate", "degradation", "--out", str(tmp_path), "--trace", str(trace)])
    assert f"would overwrite {trace}, which this command reads" in one_line(result)
    assert trace.read_text().startswith("seconds")


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (lambda: torch.empty(10**15), "there is no memory for 4000000000000000 bytes; ask for something smaller"),
        (lambda: np.empty(10**15), "there is no memory for 7.11 PiB; ask for something smaller"),
    ],
)
def test_want_of_memory_is_said_in_one_line(allocate: Callable[[], object], said: str) -> None:
    @click.command()
    @one_line_errors
    def greedy() -> None:
        allocate()

    result = CliRunner().invoke(greedy)
    assert result.exit_code == 1
    assert said in result.output


def test_other_runtime_errors_are_shown_whole() -> None:
    @click.command()
    @one_line_errors
    def broken() -> None:
        raise RuntimeError("a bug")

    assert isinstance(CliRunner().invoke(broken).exception, RuntimeError)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "x"), polars.exceptions.ComputeError("IO: No space left on device (os error 28)")]
)
def test_a_full_disk_ends_with_one_line(error: Exception) -> None:
    @click.command()
    @one_line_errors
    def command() -> None:
        raise error

    result = CliRunner().invoke(command)
    assert result.exit_code == 1
    assert "Error: nothing more can be written: No space left on device. Free some space" in result.output
    assert "--resume" not in result.output


def test_an_interrupt_names_resume_only_where_there_is_one() -> None:
    def stopped(**_: object) -> None:
        raise KeyboardInterrupt

    outputs = [
        CliRunner().invoke(click.Command("c", params=params, callback=one_line_errors(stopped)))  # type: ignore[arg-type]
        for params in ([], [click.Option(["--resume"], is_flag=True)])
    ]
    assert [result.exit_code for result in outputs] == [130, 130]
    assert ["--resume" in result.output for result in outputs] == [False, True]

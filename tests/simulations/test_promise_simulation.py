"""`simulate promise`: its table says what its splits came to, and a rerun gives the same numbers."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

import cli
from simulations import promise as simulation

OPTIONS = ["simulate", "promise", "--rates", "0.5,1.0", "--hidden", "16", "--epochs", "2", "--quiet", "--levels", "4"]


@pytest.fixture(autouse=True)
def few_queries(monkeypatch):
    monkeypatch.setattr(simulation, "QUERIES", {"train": 40, "validation": 10, "test": 200})
    monkeypatch.setattr(simulation, "CANDIDATES", 20)


def run(*options):
    result = CliRunner().invoke(cli.main, [*OPTIONS, *map(str, options)])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_report_counts_what_the_splits_came_to(tmp_path):
    output = run("--recall", 0.9, "--confidence", 0.8, "--splits", 6, "--out", tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    with (tmp_path / "splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    recalls = [float(row["promised_recall"]) for row in rows if row["promised_recall"]]
    found = report["promise"]
    assert found["recalls"] == recalls
    assert len(recalls) > 0
    assert (found["splits"], found["refused"]) == (6, 6 - len(recalls))
    assert found["held"] == np.mean(np.array(recalls) >= 0.9)
    promised, planned = report["protocols"]["promise"]["tables"][0]["rows"]
    assert (promised[1], planned[1]) == (str(len(recalls)), "6")
    assert promised[2] == f"{found['held']:.1%}"
    assert promised[2] in output
    systems = report["protocols"]["promise"]["systems"]
    assert [system["name"] for system in systems] == ["promised", "planned", "full network"]
    first = next(i for i, row in enumerate(rows) if row["promised_recall"])
    assert systems[0]["mean_recall_by_query"] == pytest.approx(recalls[0])
    assert systems[0]["flops_total"] / 100 == pytest.approx(float(rows[first]["promised_cost"]))
    assert systems[1]["mean_recall_by_query"] == pytest.approx(float(rows[first]["planned_recall"]))
    run("--recall", 0.9, "--confidence", 0.8, "--splits", 6, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "splits.csv").read_bytes() == (tmp_path / "splits.csv").read_bytes()


def test_refusals_are_counted_and_bad_input_is_one_line(tmp_path):
    run("--recall", 0.999, "--confidence", 0.999, "--splits", 2, "--out", tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["promise"]["refused"], report["promise"]["held"]) == (2, None)
    assert report["protocols"]["promise"]["tables"][0]["rows"][0][1] == "0"
    result = CliRunner().invoke(cli.main, [*OPTIONS, "--splits", "0", "--out", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert "splits must be a whole number of at least 1, got 0" in result.output

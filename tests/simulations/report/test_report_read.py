"""Reports read back: the same tables again, several side by side, and nothing else taken for a report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import cli
from simulations.report import ReportError, write_report
from simulations.report.read import read_report, side_by_side


def test_a_report_comes_back_as_it_was_written(tmp_path: Path, report: dict[str, Any]) -> None:
    write_report(report, tmp_path)
    assert read_report(tmp_path) == report
    assert read_report(tmp_path / "report.json") == report


def test_side_by_side_has_a_row_per_report_and_system(
    report: dict[str, Any], smallest_report: Callable[..., dict[str, Any]]
) -> None:
    other = smallest_report("other")
    tables = side_by_side([("a", report), ("b", other), ("c", report)])
    assert len(tables) == len({*report["protocols"], *other["protocols"]})
    expected = [
        (name, system["name"])
        for name, each in (("a", report), ("b", other), ("c", report))
        for protocol in each["protocols"].values()
        for system in protocol["systems"]
    ]
    assert sorted((row[0], row[1]) for table in tables for row in table.rows) == sorted(expected)
    first = next(iter(report["protocols"].values()))["systems"][0]
    assert tables[0].rows[0][2] == f"{first['stages'][-1]['aggregate_recall']:.1%}"


def test_the_command_prints_and_writes_one_page(
    tmp_path: Path, report: dict[str, Any], smallest_report: Callable[..., dict[str, Any]]
) -> None:
    write_report(report, tmp_path / "a")
    write_report(smallest_report("<i>other</i>"), tmp_path / "b")
    page = tmp_path / "page.html"
    words = ["report", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(page)]
    result = CliRunner().invoke(cli.main, words, env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    assert "side by side" in result.output
    assert "aggregate recall" in result.output
    html = page.read_text(encoding="utf-8")
    assert str(tmp_path / "a") in html
    assert "&lt;i&gt;other&lt;/i&gt;" in html
    assert "<i>" not in html
    assert "http" not in html.replace(str(tmp_path), "")
    alone = CliRunner().invoke(cli.main, ["report", str(tmp_path / "a")])
    assert alone.exit_code == 0
    assert "side by side" not in alone.output


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "there is no report at .*report.json; name a folder"),
        ("{", "can't be read as JSON"),
        ('{"schema": 1, "command": "slicerank train"}', "is no report of a simulation: report"),
        ("[1]", "is no report of a simulation"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path, content: str | None, text: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(ReportError, match=text) as error:
        read_report(tmp_path)
    assert "\n" not in str(error.value)


def test_a_report_of_another_schema_is_refused(tmp_path: Path, report: dict[str, Any]) -> None:
    (tmp_path / "report.json").write_text(json.dumps({**report, "schema": 2}))
    with pytest.raises(ReportError, match="schema must be 1"):
        read_report(tmp_path)


@pytest.mark.parametrize("name", ["page.txt", "page", "page.json"])
def test_a_page_of_another_suffix_is_refused_before_anything_is_printed(
    tmp_path: Path, report: dict[str, Any], name: str
) -> None:
    write_report(report, tmp_path / "a")
    result = CliRunner().invoke(cli.main, ["report", str(tmp_path / "a"), "--out", str(tmp_path / name)])
    assert result.exit_code == 2
    assert f"must end in .html, got {tmp_path / name}; rename it" in result.output
    assert "sliced-nested" not in result.output
    assert not (tmp_path / name).exists()

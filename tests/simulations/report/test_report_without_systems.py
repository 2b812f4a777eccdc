"""Reports of experiments that are no cascade: tables and curves say all."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from simulations.report import ReportError, terminal_table, validate_report, write_report
from simulations.report.drawings import colours, curve_lines

CURVE = {
    "title": "Time & again",
    "text": "By hour.",
    "x": "hour",
    "y": "share",
    "series": [{"name": "_a$b$", "x": [0.5, 12.0, 23.5], "y": [0.1, 0.2, 1.0]}],
}
TABLE = {"title": "Numbers", "text": "Said.", "columns": ["policy", "share"], "rows": [["one", "10%"]]}


@pytest.fixture
def bare(report: dict[str, Any]) -> dict[str, Any]:
    kept = {key: copy.deepcopy(report[key]) for key in report if key not in ("paper", "training", "full_pass_flops")}
    protocols = {"virtual": {"systems": [], "tables": [TABLE], "curves": [CURVE]}}
    return {**kept, "headline": "All was well.", "protocols": protocols}


def test_it_is_written_without_the_cascade_s_files(bare: dict[str, Any], tmp_path: Path) -> None:
    names = [path.name for path in write_report(bare, tmp_path)]
    assert names == ["report.json", "report.html", "curve-virtual-time-again.png"]
    with Image.open(io.BytesIO((tmp_path / names[2]).read_bytes())) as image:
        assert image.format == "PNG"
    page = (tmp_path / "report.html").read_text()
    assert "All was well." in page
    assert "Virtual time" in page
    for words in ("Stage by stage", "full pass", "stages.csv", "aggregate recall"):
        assert words not in page


def test_the_terminal_shows_the_headline_and_the_tables(bare: dict[str, Any], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80)
    terminal_table(validate_report(bare), console, tmp_path)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.startswith("All was well.")
    assert "one" in shown
    assert "stages.csv" not in shown


def test_neither_systems_nor_tables_is_refused(bare: dict[str, Any]) -> None:
    del bare["protocols"]["virtual"]["tables"]
    with pytest.raises(ReportError, match="systems or tables"):
        validate_report(bare)


def test_without_systems_it_needs_a_headline(bare: dict[str, Any]) -> None:
    del bare["headline"]
    with pytest.raises(ReportError, match="headline"):
        validate_report(bare)


@pytest.mark.parametrize(("scale", "log"), [(None, True), ("linear", False), ("log", True)])
def test_the_scale_of_a_curve_is_as_asked_for(scale: str | None, log: bool, bare: dict[str, Any]) -> None:
    curve: Any = CURVE if scale is None else {**CURVE, "x_scale": scale}
    assert curve_lines(curve, colours([{"systems": [], "curves": [curve]}])).log_x is log

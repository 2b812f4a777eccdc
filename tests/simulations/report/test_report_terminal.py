"""The tables on the terminal, at several widths."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from simulations.report import terminal_table


def _printed(report: dict[str, Any], width: int, out: Path | None = None) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    terminal_table(report, console, out)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def _row(text: str, label: str, nth: int = 0) -> list[str]:
    return [line for line in text.splitlines() if line.strip().startswith(label)][nth].split()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_table_4_layout(report: dict[str, Any], width: int) -> None:
    text = _printed(report, width)
    assert _row(text, "slice rate")[2:] == ["0.375", "0.500", "0.625", "0.750", "0.875", "1.000"]
    assert _row(text, "items kept")[2:] == ["9,212", "9,087", "9,033", "9,004", "8,987", "8,979"]
    assert _row(text, "aggregate recall", 2)[2:] == [
        "92.51%",
        "89.74%",
        "88.11%",
        "86.89%",
        "86.07%",
        "85.41%",
    ]
    printed = [line.split()[1:] for line in text.splitlines() if line.startswith("  paper ")]
    assert len(printed) == 3 * 5
    assert printed[1] == ["32.66", "57.70", "89.82", "129.01", "175.29", "222.64"]
    assert printed[-1] == ["9,285", "9,017", "8,866", "8,749", "8,676", "8,609"]
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_totals(report: dict[str, Any], width: int) -> None:
    text = _printed(report, width)
    totals = text[text.index("in all") :]
    assert _row(totals, "sliced-nested")[1:8] == ["89.8%", "9.42", "M", "1.30", "T", "140", "M"]
    assert _row(totals, "separate")[8] == "3.12"
    assert "707.12 M" in totals


@pytest.mark.parametrize("width", [30, 44, 80])
def test_rates_that_do_not_fit_go_on_below(report: dict[str, Any], width: int) -> None:
    text = _printed(report, width)
    for count in ("9,212", "8,987", "8,979", "8,541"):
        assert count in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text


def test_where_to_look_is_never_broken_over_lines(report: dict[str, Any]) -> None:
    out = Path("a" * 50) / ("b" * 50)
    assert str(out / "report.html") in _printed(report, 80, out)


def test_without_the_paper(report: dict[str, Any]) -> None:
    del report["paper"]
    assert "paper:" not in _printed(report, 100)


def test_stages_without_a_rate_and_rates_used_twice(report: dict[str, Any]) -> None:
    stages = report["protocols"]["paper"]["systems"][0]["stages"]
    stages[1]["rate"] = stages[0]["rate"]
    stages[5]["rate"] = None
    text = _printed(report, 120)
    assert _row(text, "slice rate")[2:4] == ["0.375", "0.375"]
    assert _row(text, "slice rate")[-2:] == ["stage", "6"]
    dash = "\N{EN DASH}"
    assert _row(text, "items kept")[2:] == ["9,212", "9,087", dash, "9,033", "9,004", "8,987", dash, "8,979"]


def test_columns_follow_the_stages_even_where_the_first_has_no_rate(report: dict[str, Any]) -> None:
    del report["paper"]
    system = report["protocols"]["paper"]["systems"][0]
    system["stages"][0]["rate"] = None
    text = _printed(report, 120)
    assert _row(text, "slice rate")[2:6] == ["stage", "1", "0.500", "0.625"]


def test_a_cost_that_is_no_flops_says_its_unit(report: dict[str, Any]) -> None:
    report["protocols"]["paper"]["systems"][0]["cost_unit"] = "visits"
    text = _printed(report, 120)
    assert "visits (M)" in text


@pytest.mark.parametrize("width", [80, 120])
def test_names_are_no_markup(smallest_report: Callable[..., dict[str, Any]], width: int) -> None:
    text = _printed(smallest_report("[red]x[/red]"), width)
    assert text.count("[red]x[/red]") >= 2
    _printed(smallest_report("[/nothing] " + "long" * 60), width)


def test_convention_is_stated(report: dict[str, Any]) -> None:
    assert "FLOPs: one multiply-add = 1" in _printed(report, 100)

"""Tables on the terminal: every cell of every table is there whole, whatever the width."""

import io
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

import cli
from simulations.report import terminal_table, write_report
from simulations.report.grid import Grid, Piped, output

WORDS = st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=4).map(" ".join)
NUMBERS = st.floats(0, 1e6).map(lambda value: f"{value:,.4f}")


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    labels, others = draw(st.integers(1, 3)), draw(st.integers(1, 8))
    columns = draw(st.lists(WORDS, min_size=labels + others, max_size=labels + others))
    grid = Grid(columns, labels, even=draw(st.booleans()))
    for number in range(draw(st.integers(1, 4))):
        grid.add(*(f"row{number}" for _ in range(labels)), *draw(st.lists(NUMBERS, min_size=others, max_size=others)))
    return grid


def printed(grid: Grid, width: int, kind: type[Console] = Console) -> list[str]:
    console = kind(width=width, file=io.StringIO(), color_system=None)
    grid.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@settings(max_examples=80, deadline=None)
@given(grids(), st.integers(40, 120))
def test_every_cell_is_whole_beside_its_labels_and_no_line_is_too_wide(grid: Grid, width: int) -> None:
    lines = printed(grid, width)
    assert max(map(cell_len, lines)) <= width
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(lines)
    for number, (cells, _) in enumerate(grid.rows):
        mine = [line.split() for line in lines if line.split()[:1] == [f"row{number}"]]
        assert all(line[: grid.labels] == [f"row{number}"] * grid.labels for line in mine)
        assert [cell for line in mine for cell in line[grid.labels :]] == [cell.plain for cell in cells[grid.labels :]]
    letters = "".join("".join(name.split()) for name in grid.columns)
    shown = "".join("".join(line.split()) for line in lines if "row" not in line)
    assert len([c for c in shown if c in "abc"]) >= len(letters)  # labels stand in every part


@settings(max_examples=40, deadline=None)
@given(grids())
def test_in_a_pipe_a_table_is_one_whatever_its_width(grid: Grid) -> None:
    lines = printed(grid, 10, Piped)
    assert len(lines) == 2 + len(grid.rows)
    assert lines[0].split() == " ".join(grid.columns).split()
    for line, (cells, _) in zip(lines[2:], grid.rows, strict=True):
        assert line.split() == [cell.plain for cell in cells]


@pytest.mark.parametrize("width", [5, 12, 20])
def test_no_digit_is_lost_where_not_even_one_column_fits(width: int) -> None:
    grid = Grid(["a long label", "a heading"])
    grid.add("the name of a row", "1234567890123456789")
    digits = [c for line in printed(grid, width) for c in line if c.isdigit()]
    assert "".join(digits) == "1234567890123456789"


def test_labels_fold_before_a_table_is_divided() -> None:
    grid = Grid(["system", "recall"])
    grid.add("a-name-of-forty-letters-and-not-of-fewer", "0.2085")
    lines = printed(grid, 40)
    assert sum("recall" in line for line in lines) == 1
    assert any(line.endswith("0.2085") for line in lines)


@pytest.mark.parametrize("width", [20, 80])
def test_a_report_shows_every_number_of_its_further_tables(smallest_report: Any, width: int) -> None:
    report = smallest_report("x")
    columns = ["system", *(f"a figure of column {i}" for i in range(12))]
    cells = [[f"system {row}", *(f"0.{row}{i:03d}" for i in range(12))] for row in range(3)]
    for protocol in report["protocols"].values():
        protocol["tables"] = [{"title": "t", "text": "what it says", "columns": columns, "rows": cells}]
    console = Console(width=width, file=io.StringIO(), color_system=None)
    terminal_table(report, console)
    assert isinstance(console.file, io.StringIO)
    words = console.file.getvalue().split()
    for row in cells:
        assert all(cell in words for cell in row[1:])


def test_a_pipe_is_told_from_a_terminal_and_a_set_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert isinstance(output(), Piped)
    monkeypatch.setenv("COLUMNS", "70")
    assert not isinstance(output(), Piped)
    assert output().width == 70


def test_report_into_a_pipe_has_the_table_in_one_piece(
    report: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    columns = ["system", *(f"a figure of column {i}" for i in range(12))]
    row = ["x", *(f"0.{i:04d}" for i in range(12))]
    report["protocols"]["paper"]["tables"] = [{"title": "t", "text": "said", "columns": columns, "rows": [row]}]
    write_report(report, tmp_path)  # type: ignore[arg-type]
    result = CliRunner().invoke(cli.main, ["report", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert row in [line.split() for line in result.output.splitlines()]

"""The report on the terminal: the paper's Table 4 layout, then the totals, then where to look."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from simulations.paper import PaperFigures
from simulations.report import figures, rows, summary
from simulations.report.drawings import colours
from simulations.report.grid import Grid
from simulations.report.read import COLUMNS, side_by_side
from simulations.report.schema import Protocol, Report
from simulations.report.schema import Table as Written

STYLES = ["blue", "yellow", "green", "magenta", "red", "cyan"]
LABELS_WIDTH = 18


def terminal_table(report: Report, console: Console, out: Path | None = None) -> None:
    """Print every protocol's tables, at any width; `out` is the folder that `write_report` filled."""
    colour = colours(list(report["protocols"].values()))
    console.print(Text.assemble(*((t, "bold" if strong else "") for t, strong in summary.headline(report))))
    console.print(Text(f"FLOPs: {report['flops_convention']}", style="dim"))
    for name, protocol in report["protocols"].items():
        paper = report.get("paper") if name == "paper" else None
        console.print()
        console.rule(Text(summary.protocol_title(name), style="bold"), align="left", style="dim")
        for table in _by_rate(protocol, name, paper, colour):
            table.show(console)
            console.print()
        if protocol["systems"]:
            _totals(report, name, protocol, paper, colour).show(console)
            console.print()
        for written in protocol.get("tables", []):
            further(written).show(console)
            console.print(Text(written["text"], style="dim"))
            console.print()
        if paper is not None:
            console.print(Text(f"paper: {paper['setting']}. {paper['source']}.", style="dim"))
    if out is not None:
        console.print()
        staged = any(protocol["systems"] for protocol in report["protocols"].values())
        files = [("page", "report.html"), ("numbers", "report.json"), *([("stages", "stages.csv")] if staged else [])]
        for label, file in files:
            line = Text.assemble((f"{label:<9}", "dim"), str(out / file))
            console.print(line, soft_wrap=True)


def comparison_tables(reports: Sequence[tuple[str, Report]], console: Console) -> None:
    """Print several reports' systems side by side, a table for each protocol."""
    for each in side_by_side(reports):
        written: Written = {"title": f"side by side: {each.title}", "text": "", "columns": COLUMNS, "rows": each.rows}
        further(written).show(console)


def _system(name: str, colour: dict[str, int]) -> Text:
    """A system's name in its colour; `Text`, so that brackets in a name are no markup."""
    return Text(name, style="bold " + STYLES[colour[name] % len(STYLES)], overflow="fold")


def _by_rate(protocol: Protocol, name: str, paper: PaperFigures | None, colour: dict[str, int]) -> Iterator[Grid]:
    """A table per system."""
    columns = rows.by_rate(protocol, name, paper, colour)
    for group in columns["groups"]:
        shown = {i for row in group["rows"] if row["paper"] for i in range(len(row["paper"]))}
        own = sorted(shown.union(group["order"])) if shown else group["order"]
        headings = [f"{'slice rate':<{LABELS_WIDTH}}", *(columns["rates"][i] for i in own)]
        table = Grid(headings, title=_system(group["name"], colour), even=True)
        for row in group["rows"]:
            table.add(row["label"], *(row["ours"][i] for i in own))
            if row["paper"]:
                table.add("  paper", *(row["paper"][i] for i in own), style="dim")
        yield table


def _totals(report: Report, name: str, protocol: Protocol, paper: PaperFigures | None, colour: dict[str, int]) -> Grid:
    one_pass = summary.full_pass(report, protocol)
    headings = ("kept", "params\nheld", "FLOPs\nin total", "FLOPs per\nkept item", "full\npasses", "time")
    table = Grid(("system", *headings), title=Text("in all", style="bold"))
    for system in protocol["systems"]:
        row = rows.compared(system, name, one_pass, colour)
        table.add(_system(system["name"], colour), *_cells(row, row["total"], row["seconds"]))
    for printed in rows.printed_totals(paper):
        cells = _cells(printed, figures.MISSING, figures.MISSING)
        table.add(f"paper: {printed['name']}", *cells, style="dim")
    return table


def further(written: Written) -> Grid:
    """A further table of an experiment."""
    table = Grid(written["columns"], title=Text(written["title"], style="bold"))
    for row in written["rows"]:
        table.add(*row)
    return table


def _cells(row: dict[str, Any], total: str, seconds: str) -> list[str]:
    return [row["share"], row["params"], total, row["per_item"], row["passes"], seconds]

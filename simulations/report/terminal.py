"""The report on the terminal: the paper's Table 4 layout, then the totals, then where to look."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulations.paper import PaperFigures
from simulations.report import figures, rows, summary
from simulations.report.drawings import colours
from simulations.report.read import COLUMNS, side_by_side
from simulations.report.schema import Protocol, Report
from simulations.report.schema import Table as Written

STYLES = ["blue", "yellow", "green", "magenta", "red", "cyan"]
LABELS_WIDTH = 18
GAP = 3  # between columns
TOTALS_WIDTH = 72  # below it the totals break inside numbers rather than lose digits


def terminal_table(report: Report, console: Console, out: Path | None = None) -> None:
    """Print every protocol's tables, at any width; `out` is the folder that `write_report` filled."""
    colour = colours(list(report["protocols"].values()))
    console.print(Text.assemble(*((t, "bold" if strong else "") for t, strong in summary.headline(report))))
    console.print(Text(f"FLOPs: {report['flops_convention']}", style="dim"))
    for name, protocol in report["protocols"].items():
        paper = report.get("paper") if name == "paper" else None
        console.print()
        console.rule(Text(summary.protocol_title(name), style="bold"), align="left", style="dim")
        for table in _by_rate(protocol, name, paper, colour, console.width):
            console.print(table)
            console.print()
        if protocol["systems"]:
            console.print(_totals(report, name, protocol, paper, colour, console.width))
            console.print()
        for further in protocol.get("tables", []):
            console.print(_further(further))
            console.print(Text(further["text"], style="dim"))
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


def comparison_tables(reports: Sequence[tuple[str, Report]]) -> Iterator[Table]:
    """Several reports' systems side by side, a table for each protocol."""
    for each in side_by_side(reports):
        yield _further({"title": f"side by side: {each.title}", "text": "", "columns": COLUMNS, "rows": each.rows})


def _system(name: str, colour: dict[str, int]) -> Text:
    """A system's name in its colour; `Text`, so that brackets in a name are no markup."""
    return Text(name, style="bold " + STYLES[colour[name] % len(STYLES)], overflow="fold")


def _by_rate(
    protocol: Protocol, name: str, paper: PaperFigures | None, colour: dict[str, int], width: int
) -> Iterator[Table]:
    """A table per system; rates that don't fit side by side go on in a further one."""
    columns = rows.by_rate(protocol, name, paper, colour)
    for group in columns["groups"]:
        shown = {i for row in group["rows"] if row["paper"] for i in range(len(row["paper"]))}
        own = sorted(shown.union(group["order"])) if shown else group["order"]
        rates = [columns["rates"][i] for i in own]
        lines: list[tuple[str, str, list[str]]] = []
        for row in group["rows"]:
            lines.append((row["label"], "", [row["ours"][i] for i in own]))
            if row["paper"]:
                lines.append(("  paper", "dim", [row["paper"][i] for i in own]))
        widest = max(len(cell) for _, _, cells in (*lines, ("", "", rates)) for cell in cells)
        at_once = max(1, (width - LABELS_WIDTH) // (widest + GAP))
        for start in range(0, len(rates), at_once):
            table = Table(
                box=SIMPLE_HEAD,
                title=_system(group["name"], colour) if start == 0 else None,
                title_justify="left",
                pad_edge=False,
                show_edge=False,
            )
            table.add_column("slice rate", min_width=LABELS_WIDTH)
            for rate in rates[start : start + at_once]:
                table.add_column(rate, justify="right", no_wrap=True, min_width=widest)
            for label, style, cells in lines:
                table.add_row(label, *cells[start : start + at_once], style=style)
            yield table


def _totals(
    report: Report,
    name: str,
    protocol: Protocol,
    paper: PaperFigures | None,
    colour: dict[str, int],
    width: int,
) -> Table:
    one_pass = summary.full_pass(report, protocol)
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        title=Text("in all", style="bold"),
        title_justify="left",
    )
    table.add_column("system", overflow="fold", min_width=_name_width(protocol))
    for heading in (
        "kept",
        "params\nheld",
        "FLOPs\nin total",
        "FLOPs per\nkept item",
        "full\npasses",
        "time",
    ):
        table.add_column(heading, justify="right", overflow="fold", no_wrap=width >= TOTALS_WIDTH)
    for system in protocol["systems"]:
        row = rows.compared(system, name, one_pass, colour)
        table.add_row(_system(system["name"], colour), *_cells(row, row["total"], row["seconds"]))
    for printed in rows.printed_totals(paper):
        cells = _cells(printed, figures.MISSING, figures.MISSING)
        table.add_row(f"paper: {printed['name']}", *cells, style="dim")
    return table


def _name_width(protocol: Protocol) -> int:
    """Wide enough for the systems' names, up to a limit that leaves room for the numbers."""
    return max(12, *(min(len(system["name"]), 16) for system in protocol["systems"]))


def _further(written: Written) -> Table:
    """A further table of an experiment."""
    title = Text(written["title"], style="bold")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left")
    widest = max((len(row[0]) for row in written["rows"]), default=0)
    for number, column in enumerate(written["columns"]):
        table.add_column(
            Text(column),
            justify="right" if number else "left",
            overflow="fold",
            min_width=None if number else min(widest, 16),
        )
    for row in written["rows"]:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _cells(row: dict[str, Any], total: str, seconds: str) -> list[str]:
    return [row["share"], row["params"], total, row["per_item"], row["passes"], seconds]

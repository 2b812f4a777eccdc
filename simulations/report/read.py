"""Reports read back, and several of them side by side."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.report import rows, summary
from simulations.report.drawings import colours
from simulations.report.errors import ReportError
from simulations.report.schema import Report, validate_report

FILE = "report.json"

COLUMNS = ["report", "system", "kept", "params held", "FLOPs in total", "FLOPs per kept item", "full passes", "time"]


@dataclass(frozen=True)
class SideBySide:
    """The systems of several reports under one protocol: a row each, cells as in `COLUMNS`."""

    title: str
    rows: list[list[str]]


def read_report(path: Path) -> Report:
    """The report in a folder that a command wrote, or in a file.

    Raises:
        ReportError: in one line, when there is none, or what is there is no report.
    """
    file = path / FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"there is no report at {file}; name a folder that `slicerank simulate` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ReportError(
            f"{file} is no report, it can't be read as JSON ({_first_line(error)}); name another"
        ) from None
    try:
        return validate_report(content)
    except ReportError as error:
        raise ReportError(f"{file} is no report of a simulation: {error}") from None


def side_by_side(reports: Sequence[tuple[str, Report]]) -> list[SideBySide]:
    """A table for each protocol that occurs, in the order of the reports, each under the name given with it."""
    names = dict.fromkeys(name for _, report in reports for name in report["protocols"])
    return [SideBySide(summary.protocol_title(name), _rows(reports, name)) for name in names]


def check_page(path: Path) -> None:
    """Refuse a name that does not say that the file is a page.

    Raises:
        ReportError: for another suffix than .html.
    """
    if path.suffix.lower() != ".html":
        raise ReportError(f"the comparison is written as a page, so its name must end in .html, got {path}; rename it")


def comparison_page(reports: Sequence[tuple[str, Report]]) -> str:
    """One self-contained page: what each report is, and their systems side by side."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("simulations.report", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    about = [
        {
            "name": name,
            "headline": summary.headline(report),
            "command": report["command"],
            "convention": report["flops_convention"],
        }
        for name, report in reports
    ]
    tables = side_by_side(reports)
    return environment.get_template("comparison.html").render(reports=about, tables=tables, columns=COLUMNS)


def _rows(reports: Sequence[tuple[str, Report]], protocol_name: str) -> list[list[str]]:
    found = []
    for name, report in reports:
        protocol = report["protocols"].get(protocol_name)
        if protocol is None:
            continue
        one_pass, colour = summary.full_pass(report, protocol), colours([protocol])
        for system in protocol["systems"]:
            row: dict[str, Any] = rows.compared(system, protocol_name, one_pass, colour)
            cells = [row[key] for key in ("share", "params", "total", "per_item", "passes", "seconds")]
            found.append([name, system["name"], *cells])
    return found


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__

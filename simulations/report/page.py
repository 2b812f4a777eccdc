"""`report.html`, one self-contained page: the report as words and cells, which `page.html` lays out."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from simulations.report import figures, heatmap, rows, summary
from simulations.report.charts import numbered
from simulations.report.drawings import Drawing, colours, protocol_drawings, training_drawings
from simulations.report.schema import Protocol, Report


def render_page(report: Report) -> str:
    """The whole page. Every text of the report is escaped by the template."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("simulations.report", package_path=""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(**page_context(report))


def page_context(report: Report) -> dict[str, Any]:
    """What the template reads."""
    colour = colours(list(report["protocols"].values()))
    first = summary.main_protocol(report)
    paper = report.get("paper")
    training = report.get("training")
    ids = count()
    return {
        "title": summary.title(report),
        "headline": summary.headline(report),
        "seed": report["seed"],
        "convention": report["flops_convention"],
        "one_pass": figures.large(summary.full_pass(report, report["protocols"][first])),
        "cards": _cards(report, first, colour),
        "protocols": [_protocol(report, name, protocol, colour, ids) for name, protocol in report["protocols"].items()],
        "staged": any(protocol["systems"] for protocol in report["protocols"].values()),
        "paper": paper,
        "training": [_drawing(d, ids) for d in training_drawings(training)] if training else [],
        "command": report["command"],
        "facts": _facts(report),
        "denominator": heatmap.DENOMINATOR,
        "ramp": ", ".join(f"{code} {100 * at:.0f}%" for at, code in heatmap.RAMP),
    }


def _cards(report: Report, name: str, colour: dict[str, int]) -> list[dict[str, Any]]:
    protocol = report["protocols"][name]
    one_pass = summary.full_pass(report, protocol)
    cards = []
    for system in protocol["systems"]:
        last = system["stages"][-1]
        cards.append(
            {
                "name": system["name"],
                "colour": colour[system["name"]],
                "share": figures.percent(last["aggregate_recall"]),
                "width": 100 * (last["aggregate_recall"] or 0.0),
                "passes": figures.times(summary.passes(system, one_pass)),
                "params": figures.large(system["params_held"]),
            }
        )
    return cards


def _protocol(
    report: Report, name: str, protocol: Protocol, colour: dict[str, int], ids: Iterator[int]
) -> dict[str, Any]:
    paper = report.get("paper") if name == "paper" else None
    one_pass = summary.full_pass(report, protocol)
    return {
        "name": name,
        "title": summary.protocol_title(name),
        "text": summary.protocol_text(name),
        "headline": [] if name == summary.main_protocol(report) else summary.headline(report, name),
        "one_pass": figures.large(one_pass),
        "comparison": [rows.compared(system, name, one_pass, colour) for system in protocol["systems"]],
        "printed": rows.printed_totals(paper),
        "drawings": [_drawing(d, ids) for d in protocol_drawings(protocol, colour, paper)],
        "table4": rows.by_rate(protocol, name, paper, colour) if paper else None,
        "tables": protocol.get("tables", []),
        "losses": rows.losses(protocol, name, colour),
        "systems": [rows.per_stage(system, name, colour) for system in protocol["systems"]],
        "heatmaps": rows.heatmaps(protocol, paper),
    }


def _drawing(drawing: Drawing, ids: Iterator[int]) -> dict[str, Any]:
    """The SVG is marked as safe, since no text of the report enters it; the template escapes the rest."""
    from markupsafe import Markup

    return {
        "svg": Markup(numbered(drawing.svg, next(ids))),
        "caption": drawing.caption,
        "words": drawing.words,
        "legend": drawing.legend,
    }


def _facts(report: Report) -> list[tuple[str, list[tuple[str, str]]]]:
    data = report["data"]
    return [
        (
            "Data",
            [
                ("name", data["name"]),
                ("fingerprint", data["fingerprint"]),
                ("candidates", figures.whole(data["candidates"])),
                ("queries", figures.whole(data["queries"])),
                ("seed", str(report["seed"])),
            ],
        ),
        ("Versions", [(name, str(value)) for name, value in report["versions"].items()]),
        (
            "Machine",
            [
                (name.replace("_gib", " (GiB)").replace("_", " "), str(value))
                for name, value in report["machine"].items()
            ],
        ),
    ]

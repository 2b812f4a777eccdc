"""Which curves the page draws, each with a caption, the same in words, and its legend."""

from collections.abc import Sequence
from dataclasses import dataclass

from simulations.paper import PaperFigures, PaperSystem
from simulations.report import figures, summary
from simulations.report.charts import Curves, Line, bars_svg, curves_svg
from simulations.report.schema import Curve, Protocol, TrainingRun


@dataclass(frozen=True)
class Legend:
    """A row of a legend: the name and its line."""

    name: str
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Drawing:
    """An SVG, its caption, and what it shows in words for those who can't see it."""

    svg: str
    caption: str
    words: str
    legend: list[Legend]


def colours(protocols: Sequence[Protocol]) -> dict[str, int]:
    """A system's colour, the same under every protocol: in the order of first mention, systems before curves."""
    systems = [system["name"] for protocol in protocols for system in protocol["systems"]]
    drawn = [each["name"] for protocol in protocols for curve in protocol.get("curves", []) for each in curve["series"]]
    names = dict.fromkeys([*systems, *drawn])
    return {name: index for index, name in enumerate(names)}


def protocol_drawings(protocol: Protocol, colour: dict[str, int], paper: PaperFigures | None) -> list[Drawing]:
    """Aggregate recall by stage, precision against FLOPs, losses by stage; `paper` adds its printed figures.

    A drawing for which the protocol has no defined number is left out.
    """
    legend = [Legend(s["name"], colour[s["name"]]) for s in protocol["systems"]]
    printed = _printed(protocol, colour, paper)
    dashed = [Legend(f"{p['name']}, as printed", c, dashed=True) for p, c in printed]
    drawings = []

    recall = {s["name"]: [stage["aggregate_recall"] for stage in s["stages"]] for s in protocol["systems"]}
    if _any(recall):
        ticks = summary.stage_ticks(protocol)
        lines = [Line(range(len(y)), y, colour[name]) for name, y in recall.items()]
        shared = []
        if paper is not None and ticks == [figures.rate(r) for r in paper["rates"]]:
            shared = dashed
            for p, c in printed:
                lines.append(Line(range(len(p["kept"])), [k / paper["items"] for k in p["kept"]], c, dashed=True))
        svg = curves_svg(Curves(lines, "slice rate of the stage", "aggregate recall", ticks))
        drawings.append(
            Drawing(
                svg,
                "Aggregate recall: share of the relevant items that survive every stage up to here.",
                _words("Aggregate recall by stage", recall),
                legend + shared,
            )
        )

    counted = [s for s in protocol["systems"] if summary.in_flops(s)]
    precision = {s["name"]: [stage["precision"] for stage in s["stages"]] for s in counted}
    if _any(precision):
        size, unit = _unit(max(stage["flops"] for s in counted for stage in s["stages"]))
        flops = {s["name"]: [stage["flops"] / size for stage in s["stages"]] for s in counted}
        lines = [Line(flops[name], y, colour[name]) for name, y in precision.items()]
        if paper is not None:
            x = [1e6 * f / size for f in paper["flops_m"]]
            lines += [Line(x, p["precision"], c, dashed=True) for p, c in printed]
        spread = [x for line in lines for x in line.x if x > 0]
        svg = curves_svg(
            Curves(
                lines,
                f"FLOPs per candidate{unit}",
                "precision of the stage alone",
                end_values=False,
                log_x=bool(spread) and max(spread) > 20 * min(spread),
            )
        )
        drawings.append(
            Drawing(
                svg,
                "Precision of each width on its own against what one candidate costs it.",
                _words("Precision against FLOPs", precision),
                legend + dashed,
            )
        )

    lost = {s["name"]: summary.losses(s) for s in protocol["systems"]}
    if _any(lost):
        drawings.append(
            Drawing(
                bars_svg(
                    list(lost.values()),
                    [colour[name] for name in lost],
                    summary.stage_ticks(protocol),
                    "slice rate of the stage",
                    "relevant items lost here",
                ),
                "Loss by stage: share of all relevant items that this stage drops.",
                _words("Relevant items lost", lost),
                legend,
            )
        )
    return [*drawings, *(_curve(curve, colour) for curve in protocol.get("curves", []))]


def _curve(curve: Curve, colour: dict[str, int]) -> Drawing:
    """A further drawing of an experiment."""
    series = curve["series"]
    return Drawing(
        curves_svg(curve_lines(curve, colour)),
        f"{curve['title']}. {curve['text']}",
        _words(curve["title"], {each["name"]: list(each["y"]) for each in series}),
        [Legend(each["name"], colour[each["name"]]) for each in series],
    )


def curve_lines(curve: Curve, colour: dict[str, int]) -> Curves:
    """What a curve draws, its x in thousands or millions where it is large."""
    series = curve["series"]
    size, unit = _unit(max((x for each in series for x in each["x"]), default=1.0))
    scaled = {each["name"]: [x / size for x in each["x"]] for each in series}
    lines = [Line(scaled[each["name"]], each["y"], colour[each["name"]]) for each in series]
    positive = [x for xs in scaled.values() for x in xs if x > 0]
    log_x = bool(positive) and max(positive) > 20 * min(positive)
    if "x_scale" in curve:
        log_x = curve["x_scale"] == "log"
    log_y = curve.get("y_scale") == "log"
    return Curves(
        lines, f"{curve['x']}{unit}", curve["y"], end_values=False, log_x=log_x, percent=not log_y, log_y=log_y
    )


def training_drawings(runs: Sequence[TrainingRun]) -> list[Drawing]:
    """Loss by epoch over all runs; validation by epoch, a drawing for each run that measured it."""
    lines = [
        Line([e["epoch"] for e in run["history"]], [e["loss"] for e in run["history"]], i) for i, run in enumerate(runs)
    ]
    words = "; ".join(f"{run['name']} ends at {run['history'][-1]['loss']:.3g}" for run in runs)
    drawings = [
        Drawing(
            curves_svg(Curves(lines, "epoch", "training loss", percent=False, end_values=False)),
            "Training loss by epoch.",
            f"Training loss: {words}",
            [Legend(run["name"], i) for i, run in enumerate(runs)],
        )
    ]
    for run in runs:
        rates = list(dict.fromkeys(rate for epoch in run["history"] for rate in epoch.get("validation", {})))
        if not rates:
            continue
        epochs = [e["epoch"] for e in run["history"]]
        values = {rate: [e.get("validation", {}).get(rate) for e in run["history"]] for rate in rates}
        best = f" Kept: epoch {run['best_epoch']}." if "best_epoch" in run else ""
        drawings.append(
            Drawing(
                curves_svg(
                    Curves(
                        [Line(epochs, y, i) for i, y in enumerate(values.values())],
                        "epoch",
                        "validation accuracy",
                        end_values=False,
                    )
                ),
                f"{run['name']}: validation accuracy by epoch, a line per slice rate.{best}",
                _words("Validation accuracy", values),
                [Legend(f"rate {rate}", i) for i, rate in enumerate(rates)],
            )
        )
    return drawings


def _printed(protocol: Protocol, colour: dict[str, int], paper: PaperFigures | None) -> list[tuple[PaperSystem, int]]:
    """The paper's systems with the colour of the first of ours that each stands beside."""
    if paper is None:
        return []
    found = []
    for printed in paper["systems"]:
        ours = next((s["name"] for s in protocol["systems"] if s["name"].startswith(printed["beside"])), None)
        if ours is not None:
            found.append((printed, colour[ours]))
    return found


def _unit(largest: float) -> tuple[float, str]:
    """What an axis up to `largest` FLOPs counts in: millions, in smaller networks thousands or ones."""
    return (1e6, " (M)") if largest >= 1e6 else (1e3, " (k)") if largest >= 1e3 else (1.0, "")


def _any(series: dict[str, list[float | None]]) -> bool:
    return any(v is not None for values in series.values() for v in values)


def _words(title: str, series: dict[str, list[float | None]]) -> str:
    said = []
    for name, values in series.items():
        known = [v for v in values if v is not None]
        if known:
            said.append(f"{name} from {figures.percent(known[0])} to {figures.percent(known[-1])}")
    return f"{title}: {'; '.join(said)}."

"""Curves as inline SVG that takes its colours from the page, so that they follow its light and dark themes.

Matplotlib draws with marker colours that no one else uses; each is replaced by a CSS variable afterwards.
Names of systems never enter a drawing: the page writes them, escaped, in its legend.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = 8
_INK, _GRID, _CARD = "#a1b2c1", "#a1b2c2", "#a1b2c3"
_SERIES = [f"#a1b2d{i}" for i in range(COLOURS)]
_VARIABLES = {_INK: "var(--muted)", _GRID: "var(--grid)", _CARD: "var(--card)"} | {
    code: f"var(--s{i})" for i, code in enumerate(_SERIES)
}
_MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]


@dataclass(frozen=True)
class Line:
    """One curve: `colour` is the index of its system; None in `y` breaks the line."""

    x: Sequence[float]
    y: Sequence[float | None]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Curves:
    """One drawing. `percent` writes y in [0, 1] as percentages; `ticks` puts words at whole x positions."""

    lines: Sequence[Line]
    x_label: str
    y_label: str
    ticks: Sequence[str] | None = None
    percent: bool = True
    end_values: bool = True
    log_x: bool = False
    log_y: bool = False


def curves_svg(curves: Curves) -> str:
    """Line charts; every line's last value is written at its end."""
    figure, axes = _canvas(curves.end_values)
    for line in curves.lines:
        code = _SERIES[line.colour % COLOURS]
        axes.plot(
            line.x,
            [float("nan") if v is None else v for v in line.y],
            color=code,
            linewidth=1.6 if line.dashed else 2.2,
            linestyle=(0, (4, 3)) if line.dashed else "-",
            marker=_MARKERS[line.colour % COLOURS] if len(line.x) <= 16 else None,
            markersize=5.5,
            markerfacecolor=_CARD if line.dashed else code,
            markeredgecolor=code if line.dashed else _CARD,
            markeredgewidth=1.1,
            zorder=3 if line.dashed else 4,
        )
    if curves.log_x:
        axes.set_xscale("log")
    if curves.log_y:
        axes.set_yscale("log")
    _style(axes, curves.x_label, curves.y_label, curves.ticks, curves.percent)
    _room_above_and_below(axes, curves)
    if curves.end_values:
        _write_ends(axes, curves)
    return _svg(figure)


def bars_svg(
    groups: Sequence[Sequence[float | None]],
    colours: Sequence[int],
    ticks: Sequence[str],
    x_label: str,
    y_label: str,
) -> str:
    """Grouped bars: `groups[s][k]` is the share of system s, in [0, 1], at tick k."""
    figure, axes = _canvas(end_values=False)
    width = 0.78 / len(groups)
    for s, values in enumerate(groups):
        offset = (s - (len(groups) - 1) / 2) * width
        at = [k + offset for k, v in enumerate(values) if v is not None]
        heights = [v for v in values if v is not None]
        axes.bar(at, heights, width * 0.9, color=_SERIES[colours[s] % COLOURS], zorder=3)
    _style(axes, x_label, y_label, ticks, percent=True)
    highest = max((v for values in groups for v in values if v is not None), default=0.0)
    axes.set_ylim(0, 1.12 * highest or 0.01)
    return _svg(figure)


def _canvas(end_values: bool) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.3, 3.05))
    figure.patch.set_visible(False)
    # fixed margins: room for "92.25%" at the left and, where wanted, for values at the right end of lines
    axes = figure.add_axes((0.15, 0.15, 0.72 if end_values else 0.83, 0.82))
    axes.patch.set_visible(False)
    return figure, axes


def _style(axes: "Axes", x_label: str, y_label: str, ticks: Sequence[str] | None, percent: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, ScalarFormatter

    axes.set_xlabel(x_label, color=_INK, fontsize=9.5)
    axes.set_ylabel(y_label, color=_INK, fontsize=9.5)
    axes.tick_params(colors=_INK, labelsize=9, length=0, pad=5)
    axes.tick_params(which="minor", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    if axes.get_yscale() == "log":
        axes.yaxis.set_minor_formatter(ScalarFormatter())
        axes.yaxis.set_major_formatter(ScalarFormatter())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], min_n_ticks=4))
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g}%"))
    if ticks is not None:
        axes.set_xticks(range(len(ticks)), ticks)
        axes.margins(x=0.06)
    elif axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=not percent and axes.get_yscale() != "log"))


def _room_above_and_below(axes: "Axes", curves: Curves) -> None:
    """Give flat lines a scale, and never show a share above 1 or below 0."""
    values = [v for line in curves.lines for v in line.y if v is not None]
    if not values:
        axes.set_ylim(0, 1)
        return
    low, high = min(values), max(values)
    if curves.log_y:
        axes.set_ylim(low / 1.1, high * 1.1)
        return
    margin = max(0.12 * (high - low), 0.01 if curves.percent else 0.02 * (abs(high) or 1.0))
    low, high = low - margin, high + margin
    if curves.percent:
        low, high = max(low, -0.02), min(high, 1.02)
    axes.set_ylim(low, high)


def _write_ends(axes: "Axes", curves: Curves) -> None:
    """Write last values at the right, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = 0.07 * (high - low)
    ends = []
    for line in curves.lines:
        known = [v for v in line.y if v is not None]
        if known and not line.dashed:
            ends.append((known[-1], line.colour))
    ends.sort()
    at: list[float] = []
    for value, _ in ends:
        at.append(max(value, at[-1] + gap) if at else value)
    overshoot = max(0.0, (at[-1] if at else 0.0) - high)
    for (value, colour), y in zip(ends, at, strict=True):
        text = f"{100 * value:.1f}%" if curves.percent else f"{value:.3g}"
        axes.annotate(
            text,
            (1.0, y - overshoot),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=_SERIES[colour % COLOURS],
            fontsize=9,
            fontweight="bold",
            va="center",
        )


def _svg(figure: "Figure") -> str:
    """The drawing as an `<svg>` element: text as text, colours as CSS variables, no link to outside."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "slicerank"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"| id="(matplotlib\.)?[A-Za-z0-9]+_\d+"', "", svg)
    svg = re.sub(r"(<svg[^>]*?) width=\S+", r"\1", svg)
    svg = re.sub(r"(<svg[^>]*?) height=\S+", r"\1", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    for code, variable in _VARIABLES.items():
        svg = svg.replace(code, variable)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def numbered(svg: str, number: int) -> str:
    """The drawing with ids of its own, so that several can stand on one page."""
    return re.sub(r'(\bid="|#)(?=[mpc][0-9a-f]{10}\b)', rf"\g<1>d{number}-", svg)

"""A curve as a PNG of its own, with its legend."""

import io
import math

from simulations.report.charts import COLOURS
from simulations.report.drawings import curve_lines
from simulations.report.heatmap import INK
from simulations.report.schema import Curve

PALETTE = ["#1f5fbf", "#d0660a", "#0c8577", "#8440bd", "#c2326a", "#6d7010", "#4a5568", "#a0522d"]
assert len(PALETTE) == COLOURS


def curve_png(curve: Curve, colour: dict[str, int]) -> bytes:
    """The curve, its title above, names at the right; `colour` is each series' place in the palette."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter, ScalarFormatter

    drawn = curve_lines(curve, colour)
    figure = Figure(figsize=(8.6, 4.2), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.13, 0.71, 0.77))
    for line, series in zip(drawn.lines, curve["series"], strict=True):
        known = [math.nan if y is None else y for y in line.y]
        # no name is read as a formula, nor left out of the legend for a leading underscore
        name = " " + series["name"].replace("$", r"\$")
        axes.plot(line.x, known, label=name, color=PALETTE[line.colour % COLOURS], linewidth=1.8)
    if drawn.log_x:
        axes.set_xscale("log")
    if drawn.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(ScalarFormatter())
    else:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set_xlabel(drawn.x_label, color=INK, parse_math=False)
    axes.set_ylabel(drawn.y_label, color=INK, parse_math=False)
    axes.set_title(curve["title"], color=INK, loc="left", fontweight="bold", parse_math=False)
    axes.tick_params(colors=INK, length=0)
    axes.grid(axis="y", color="#e4e8ef")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()

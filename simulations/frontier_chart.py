"""The Pareto frontier as a picture: quality against cost per query, the chosen cascade and the full network marked."""

import io
from typing import TYPE_CHECKING

from simulations.report.heatmap import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simulations.ranker_planning import PlanReport

_LINE, _CHOSEN, _FULL, _GRID = "#3d83c4", "#d1495b", "#5b6780", "#dfe4ee"


def frontier_png(report: "PlanReport") -> bytes:
    """A PNG: a step line through the frontier's cascades, a star for the plan, a square for the full network."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 4.2), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    metric = report.frontier.plans[0].metric
    at = "" if report.final_k is None else f"@{report.final_k}"
    name = ("recall" if metric == "recall" else "nDCG") + at
    costs = [plan.cost for plan in report.frontier]
    values = [plan.quality for plan in report.frontier]
    chosen, full = getattr(report.cascade, metric), getattr(report.full, metric)
    axes.step([*costs, max(*costs, report.full.cost)], [*values, values[-1]], where="post", color=_LINE, linewidth=1.8)
    if len(costs) <= 60:
        axes.plot(costs, values, "o", color=_LINE, markersize=3.5)
    axes.plot(report.full.cost, full, "s", color=_FULL, markersize=7, label="full network on everything")
    axes.plot(report.cascade.cost, chosen, "*", color=_CHOSEN, markersize=14, label=f"planned: {report.goal}")
    _style(axes, f"cost per query ({report.plan.unit})", name)
    figure.suptitle(
        f"{len(report.frontier)} cascades that no other beats, on {report.queries:,} queries", fontsize=10.5, color=INK
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _style(axes: "Axes", x_label: str, y_label: str) -> None:
    low, high = axes.get_xlim()
    if low > 0 and high > 20 * low:
        axes.set_xscale("log")
    axes.set_xlabel(x_label, color=INK, fontsize=9.5)
    axes.set_ylabel(y_label, color=INK, fontsize=9.5)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="lower right", fontsize=8, frameon=False, labelcolor=INK)

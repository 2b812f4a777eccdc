"""Inclusion matrices as heatmaps: one colour scale from 0 to 1, as in the paper's Figure 9."""

import io
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from simulations.report import figures
from simulations.report.schema import Inclusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DENOMINATOR = "share of the wider model's errors that the narrower model makes too"

# Light to dark over the whole scale; the upper half, where the numbers live, has most of the contrast.
RAMP = [
    (0.0, "#f4f6fb"),
    (0.25, "#dce7f5"),
    (0.5, "#b4d0ea"),
    (0.7, "#7fb1dd"),
    (0.85, "#3d83c4"),
    (1.0, "#0a2c66"),
]
INK, PAPER, UNDEFINED = "#10203a", "#ffffff", "#e6e6ea"


def colour(value: float | None) -> str:
    """Background of a cell: `value` in [0, 1] on the ramp, grey where undefined."""
    if value is None:
        return UNDEFINED
    for (low, from_hex), (high, to_hex) in pairwise(RAMP):
        if value <= high:
            t = (value - low) / (high - low)
            mixed = [round(a + t * (b - a)) for a, b in zip(_rgb(from_hex), _rgb(to_hex), strict=True)]
            return "#" + "".join(f"{channel:02x}" for channel in mixed)
    return RAMP[-1][1]


def ink(value: float | None) -> str:
    """Text colour with the greater contrast (WCAG relative luminance) on `colour(value)`."""
    background = _luminance(colour(value))
    against_white = 1.05 / (background + 0.05)
    against_ink = (background + 0.05) / (_luminance(INK) + 0.05)
    return PAPER if against_white > against_ink else INK


def _rgb(code: str) -> tuple[int, int, int]:
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def _luminance(code: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _rgb(code))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def cell(value: float | None) -> str:
    """A coefficient as it stands in a cell."""
    return figures.MISSING if value is None else f"{value:.3f}"


def heatmap_png(inclusion: Inclusion, title: str) -> bytes:
    """The matrix as a PNG: rates rising to the right and upwards, numbers in the cells."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Inches; laid out by hand so that cells have one size whatever the title and the number of rates.
    cells, left, right, bottom, top = 0.64 * len(inclusion["rates"]), 0.9, 1.0, 0.7, 0.75
    width, height = max(left + cells + right, 5.0), bottom + cells + top
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((left / width, bottom / height, cells / width, cells / height))
    _draw_cells(axes, inclusion)
    scale = figure.add_axes(((left + cells + 0.22) / width, bottom / height, 0.16 / width, cells / height))
    _draw_scale(figure, scale)
    x, letters = 0.16 / width, int((width - 0.3) / 0.1)
    heading: dict[str, Any] = {"parse_math": False, "color": INK, "fontsize": 11, "fontweight": "bold"}
    figure.text(x, 1 - 0.28 / height, _printable(title, letters), **heading)
    figure.text(x, 1 - 0.50 / height, f"inclusion: {DENOMINATOR}", fontsize=7.5, color="#5b6780")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_cells(axes: "Axes", inclusion: Inclusion) -> None:
    from matplotlib.patches import Rectangle

    labels = figures.stages(inclusion["rates"])
    n = len(labels)
    for i, row in enumerate(inclusion["matrix"]):
        for j, value in enumerate(row):
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour(value), edgecolor="white"))
            axes.text(j, i, cell(value), ha="center", va="center", color=ink(value), fontsize=9)
    axes.set(xlim=(-0.5, n - 0.5), ylim=(-0.5, n - 0.5), aspect="equal")
    axes.set_xticks(range(n), labels)
    axes.set_yticks(range(n), labels)
    axes.tick_params(length=0, labelsize=9, colors=INK)
    arrow = "slice rate, narrowest \N{RIGHTWARDS ARROW} widest" if n > 1 else "slice rate"
    axes.set_xlabel(arrow, fontsize=9, color=INK)
    axes.set_ylabel(arrow, fontsize=9, color=INK)
    axes.spines[:].set_visible(False)


def _draw_scale(figure: "Figure", axes: "Axes") -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    ramp = LinearSegmentedColormap.from_list("inclusion", RAMP)
    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), ramp), cax=axes)
    bar.outline.set_visible(False)
    axes.tick_params(length=0, labelsize=8, colors=INK)


def _printable(text: str, limit: int) -> str:
    """One line of characters that the bundled font has; others are written as escapes."""
    line = " ".join(text.split()).encode("latin-1", "backslashreplace").decode("latin-1")
    return line if len(line) <= limit else line[: limit - 3] + "..."

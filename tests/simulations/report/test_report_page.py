"""The page, read as a browser reads it: its text, its tables, and that it needs nothing from outside."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from simulations.report import validate_report
from simulations.report.heatmap import INK, PAPER, RAMP, UNDEFINED, colour, ink
from simulations.report.page import render_page

VOID = {"meta", "br", "path", "use", "rect", "link", "img"}


class Page(HTMLParser):
    """Text, elements with their attributes, table rows, and elements that are never closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self._cell: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open.pop() == tag
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append(" ".join(self._cell.split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.text += data
        if self._cell is not None:
            self._cell += data

    def row(self, first: str) -> list[str]:
        return next(r for r in self.rows if r and r[0] == first)


@pytest.fixture
def page(page_html: str) -> Page:
    return Page(page_html)


def test_every_element_is_closed(page: Page) -> None:
    assert page.open == []


def test_nothing_comes_from_outside(page_html: str) -> None:
    html = page_html
    assert not re.search(r"https?:|//[a-z]+\.|@import|<script|<link|<iframe|<img", html)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', html))


def test_every_reference_inside_a_drawing_has_its_one_target(page: Page) -> None:
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    used = {attrs["xlink:href"] for tag, attrs in page.elements if tag == "use"}
    used |= {attrs["clip-path"][4:-1] for _, attrs in page.elements if attrs.get("clip-path")}  # type: ignore[index]
    anchors = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    assert used
    assert {target[1:] for target in used | anchors if target} <= set(ids)


def test_the_top_says_what_came_out_and_the_convention(page: Page) -> None:
    top = page.text[: page.text.index("Reproduce")]
    assert "sliced-nested keeps 89.8% of the items through 6 stages at 0.61 full passes" in " ".join(top.split())
    assert "FLOPs: one multiply-add = 1" in top


def test_comparison_has_the_systems_and_the_paper_s(page: Page) -> None:
    separate = page.row("separate")
    assert separate[1:4] == ["85.4%", "8,541 of 10,000", "29.3 M"]
    assert separate[6] == "3.12"
    assert page.row("model cascade paper")[1:7] == [
        "86.1%",
        "8,609 of 10,000",
        "29.30 M",
        "\N{EN DASH}",
        "707.12 M",
        "3.18",
    ]


def test_table_4_stands_beside_ours(page: Page) -> None:
    printed = [r[1:] for r in page.rows if r and r[0] == "paper"]
    assert ["1.33", "2.36", "3.68", "5.30", "7.21", "9.42"] in printed
    assert ["32.66", "57.70", "89.82", "129.01", "175.29", "222.64"] in printed
    assert ["92.85%", "93.39%", "93.79%", "93.92%", "94.11%", "94.37%"] in printed
    assert ["9,138", "8,985", "8,909", "8,875", "8,868", "8,867"] in printed
    assert page.row("slice rate")[1:] == ["0.375", "0.500", "0.625", "0.750", "0.875", "1.000"]
    assert "228.6M" in page.text


def test_stage_tables_have_a_row_per_stage(page: Page, report: dict[str, Any]) -> None:
    rows = [r for r in page.rows if len(r) == 11 and r[0] == "0.500"]
    assert len(rows) == 2 * 3
    nested = report["protocols"]["paper"]["systems"][0]["stages"][1]
    assert rows[0] == [
        "0.500",
        f"{nested['params'] / 1e6:.2f}",
        f"{nested['flops'] / 1e6:.2f}",
        f"{nested['flops_increment'] / 1e6:.2f}",
        "92.41%",
        "92.41%",
        "90.87% 9,087",
        "125",
        "9,212 \N{RIGHTWARDS ARROW} 9,087",
        f"{nested['seconds']:.1f} s",
        "reuse",
    ]


def test_heatmaps_carry_numbers_denominator_and_the_paper_s(page: Page) -> None:
    assert [
        "1.000",
        "0.598",
        "0.589",
        "0.591",
        "0.579",
        "0.605",
        "1.000",
    ] in page.rows  # Figure 9 (a), widest
    assert ["0.375", "1.000", "0.607", "0.599", "0.591", "0.583", "0.575"] in page.rows  # ours, narrowest
    assert "share of the wider model's errors that the narrower model makes too" in page.text


def test_heatmaps_rise_away_from_the_lower_left_corner(page: Page) -> None:
    widest = page.rows.index(["1.000", "0.575", "0.583", "0.591", "0.599", "0.607", "1.000"])
    narrowest = page.rows.index(["0.375", "1.000", "0.607", "0.599", "0.591", "0.583", "0.575"])
    assert narrowest == widest + 5
    assert page.rows[narrowest + 1][1:] == ["0.375", "0.500", "0.625", "0.750", "0.875", "1.000"]


def test_drawings_take_the_colours_of_the_page(page_html: str) -> None:
    assert "#a1b2" not in page_html
    drawing = page_html[page_html.index("<svg") : page_html.index("</svg>")]
    for variable in ("--s0", "--s1", "--s2", "--muted", "--grid", "--card"):
        assert f"var({variable})" in drawing
    assert "#" not in drawing.replace('"#', "").replace("(#", "")


def test_the_paper_s_curves_are_dashed(report: dict[str, Any], page_html: str) -> None:
    assert page_html.count("stroke-dasharray") == 2 * 2  # recall and precision, for each of its two systems
    assert page_html.count("as printed") == 2 * 2


@pytest.mark.parametrize(("factor", "label"), [(1, "(M)"), (1e-4, "(k)"), (1e-7, None)])
def test_the_flops_axis_counts_in_a_unit_of_its_size(report: dict[str, Any], factor: float, label: str | None) -> None:
    del report["paper"]
    report["protocols"] = {"paper": {"systems": report["protocols"]["paper"]["systems"][:1]}}
    for stage in report["protocols"]["paper"]["systems"][0]["stages"]:
        stage["flops"] *= factor
    html = render_page(validate_report(report))
    axis = html[html.index("FLOPs per candidate") :][:40].split("<")[0]
    assert axis == "FLOPs per candidate" + (f" {label}" if label else "")
    assert not re.search(r">1e.\d+<", html)


def test_drawings_have_words(page: Page) -> None:
    words = [attrs["aria-label"] or "" for _, attrs in page.elements if attrs.get("role") == "img"]
    assert len(words) == 3 + 3 + 2  # two protocols; training loss, one validation
    assert any("separate from 92.5% to 85.4%" in w for w in words)


def test_precision_is_defined_where_the_report_defines_it(page: Page) -> None:
    assert page.text.count("precision: |kept & relevant| / |kept|") == 3


def test_reproduce_block(page: Page) -> None:
    assert "slicerank simulate cascade --data cifar10 --epochs 30" in page.text
    assert "sha256:6d958be0" in page.text
    assert "a processor" in page.text


def test_without_the_paper_nothing_is_said_of_it(report: dict[str, Any]) -> None:
    del report["paper"]
    text = Page(render_page(report)).text  # type: ignore[arg-type]
    assert "Table 4" not in text
    assert "Figure 9" not in text
    assert "as printed" not in text


def test_rates_that_the_paper_lacks_get_columns_of_their_own(report: dict[str, Any]) -> None:
    for system in report["protocols"]["paper"]["systems"]:
        system["stages"] = system["stages"][::5]
        system["stages"][0]["rate"] = 0.25
    page = Page(render_page(report))  # type: ignore[arg-type]
    assert page.row("slice rate")[1:] == ["0.250", "0.375", "0.500", "0.625", "0.750", "0.875", "1.000"]
    assert page.row("paper")[1:3] == ["\N{EN DASH}", "1.33"]


@pytest.mark.parametrize("field", ["name", "note"])
def test_text_of_the_report_is_escaped(smallest_report: Callable[..., dict[str, Any]], field: str) -> None:
    attack = "<script>alert('x')</script><img src=x onerror=y>\"'"
    report = smallest_report()
    report["protocols"]["ranking"]["systems"][0][field] = attack
    report["data"]["name"] = report["machine"]["cpu"] = report["command"] = attack
    report["training"] = [{"name": attack, "history": [{"epoch": 1, "loss": 1.0, "validation": {attack: 0.5}}]}]
    page = Page(render_page(report))  # type: ignore[arg-type]
    assert not {"script", "img"} & {tag for tag, _ in page.elements}
    assert page.open == []
    assert attack in page.text


def test_the_smallest_report_renders(smallest_report: Callable[..., dict[str, Any]]) -> None:
    page = Page(render_page(smallest_report()))  # type: ignore[arg-type]
    assert page.open == []
    assert "Loss by stage" not in page.text
    assert "nan" not in page.text.lower()


def test_no_inclusion_at_all(report: dict[str, Any]) -> None:
    del report["paper"]
    for system in report["protocols"]["paper"]["systems"]:
        system["inclusion"] = None
    assert "Inclusion of errors" not in Page(render_page(report)).text  # type: ignore[arg-type]


def test_systems_with_unlike_stages(report: dict[str, Any]) -> None:
    systems = report["protocols"]["paper"]["systems"]
    systems[0]["stages"] = systems[0]["stages"][:2]
    systems[1]["stages"][0]["aggregate_recall"] = None
    page = Page(render_page(report))  # type: ignore[arg-type]
    assert page.open == []
    assert "stage 6" in page.text


def test_stages_that_are_no_slices_go_by_their_numbers(report: dict[str, Any]) -> None:
    report["protocols"] = {"ranking": {"systems": report["protocols"]["paper"]["systems"][:1]}}
    system = report["protocols"]["ranking"]["systems"][0]
    for stage in system["stages"]:
        stage["rate"] = None
    system["inclusion"]["rates"] = [None] * 6
    page = Page(render_page(validate_report(report)))
    assert [r[0] for r in page.rows if len(r) == 11] == ["rate", *(f"stage {k}" for k in range(1, 7))]
    assert ["", *(f"stage {k}" for k in range(1, 7))] in page.rows


def test_many_systems_reuse_colours(report: dict[str, Any]) -> None:
    systems = report["protocols"]["paper"]["systems"]
    report["protocols"]["paper"]["systems"] = [systems[k % 3] | {"name": f"s{k}"} for k in range(9)]
    page = Page(render_page(report))  # type: ignore[arg-type]
    assert page.row("s8")
    assert not any("--s8" in (attrs.get("style") or "") for _, attrs in page.elements)


def _contrast(a: str, b: str) -> float:
    def luminance(code: str) -> float:
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_cells_stay_readable_over_the_whole_scale() -> None:
    for step in range(101):
        value = step / 100
        assert ink(value) in (INK, PAPER)
        assert _contrast(colour(value), ink(value)) >= 4.0
    assert _contrast(colour(None), ink(None)) >= 4.5


def test_the_ramp_darkens_from_0_to_1() -> None:
    assert (colour(0.0), colour(1.0), colour(None)) == (RAMP[0][1], RAMP[-1][1], UNDEFINED)
    greens = [int(colour(step / 100)[3:5], 16) for step in range(101)]
    assert greens == sorted(greens, reverse=True)

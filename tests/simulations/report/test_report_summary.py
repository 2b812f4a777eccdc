"""Derived numbers against arithmetic written out, and how numbers are written."""

from collections.abc import Callable
from typing import Any

import pytest

from simulations.paper import paper_figures
from simulations.report import figures, summary


def _sentence(report: dict[str, Any], protocol: str | None = None) -> str:
    return "".join(text for text, _ in summary.headline(report, protocol))  # type: ignore[arg-type]


def test_headline_says_what_ran_and_what_came_out(report: dict[str, Any]) -> None:
    full = report["full_pass_flops"]
    nested, dense, separate = report["protocols"]["paper"]["systems"]
    assert _sentence(report) == (
        "On cifar10 (10,000 candidates, 10 queries), sliced-nested keeps 89.8% of the items through 6 stages "
        f"at {nested['flops_per_kept_item'] / full:.2f} full passes per kept item; "
        f"sliced-dense keeps 88.3% at {dense['flops_per_kept_item'] / full:.2f}; separate keeps 85.4% at "
        f"{separate['flops_per_kept_item'] / full:.2f}."
    )


def test_nested_cascade_costs_what_the_paper_s_rates_imply(report: dict[str, Any]) -> None:
    # sum over stages of (r_k - r_{k-1}) * r_k, all layers but the first: 0.609
    expected = 0.375 * 0.375 + 0.125 * (0.5 + 0.625 + 0.75 + 0.875 + 1.0)
    nested = report["protocols"]["paper"]["systems"][0]
    assert summary.passes(nested, report["full_pass_flops"]) == pytest.approx(expected, abs=0.01)


def test_headline_follows_the_data(report: dict[str, Any]) -> None:
    report["protocols"]["paper"]["systems"][0]["stages"][-1]["aggregate_recall"] = 0.123
    assert "sliced-nested keeps 12.3% of" in _sentence(report)


def test_headline_of_one_stage_with_nothing_relevant(smallest_report: Callable[..., dict[str, Any]]) -> None:
    assert _sentence(smallest_report()) == ("On tiny (1 candidate, 1 query), only had no relevant items to keep.")


def test_headline_speaks_of_the_paper_s_protocol_first(report: dict[str, Any]) -> None:
    report["protocols"] = dict(reversed(report["protocols"].items()))
    assert summary.main_protocol(report) == "paper"  # type: ignore[arg-type]
    del report["protocols"]["paper"]
    assert summary.main_protocol(report) == "retrieval"  # type: ignore[arg-type]


def test_without_a_stated_full_pass_the_costliest_stage_stands_in(report: dict[str, Any]) -> None:
    protocol = report["protocols"]["paper"]
    stated = summary.full_pass(report, protocol)  # type: ignore[arg-type]
    assert stated == report["full_pass_flops"]
    del report["full_pass_flops"]
    # the separate full-width network is in the comparison, so it is the same number
    assert summary.full_pass(report, protocol) == pytest.approx(stated)  # type: ignore[arg-type]


def test_losses_are_the_steps_of_aggregate_recall(report: dict[str, Any]) -> None:
    separate = report["protocols"]["paper"]["systems"][2]
    expected = [
        1 - 0.9251,
        0.9251 - 0.8974,
        0.8974 - 0.8811,
        0.8811 - 0.8689,
        0.8689 - 0.8607,
        0.8607 - 0.8541,
    ]
    assert summary.losses(separate) == pytest.approx(expected)
    counts = summary.lost_counts(separate, "paper")
    assert counts == [749, 277, 163, 122, 82, 66]
    assert sum(c for c in counts if c) == 10_000 - 8541


def test_counts_of_the_paper_s_protocol_are_its_survivors(report: dict[str, Any]) -> None:
    separate = report["protocols"]["paper"]["systems"][2]
    del separate["relevant"]
    for stage in separate["stages"]:
        del stage["relevant_kept"]
    assert summary.lost_counts(separate, "paper") == [749, 277, 163, 122, 82, 66]
    assert summary.lost_counts(separate, "ranking") == [None] * 6


@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("slicerank simulate cascade --data digits", "Cascade simulation"),
        ("slicerank simulate lower-bound", "Lower bound simulation"),
        ("slicerank evaluate --out x", "Evaluate"),
        ("--out x", "Report"),
    ],
)
def test_title_comes_from_the_command(report: dict[str, Any], command: str, title: str) -> None:
    assert summary.title(report | {"command": command}) == title  # type: ignore[arg-type]


def test_paper_stands_beside_by_name() -> None:
    paper = paper_figures()
    beside = {n: summary.beside(paper, n) for n in ("sliced-nested", "sliced-dense", "separate", "trees")}
    assert {n: p and p["name"] for n, p in beside.items()} == {
        "sliced-nested": "model slicing",
        "sliced-dense": "model slicing",
        "separate": "model cascade",
        "trees": None,
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1500, "1.50 k"),
        (9_416_010, "9.42 M"),
        (228_271_000, "228 M"),
        (9.999e12, "10.0 T"),
    ],
)
def test_large(value: float, text: str) -> None:
    assert figures.large(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.375, "0.375"), (1.0, "1.000"), (0.0625, "0.0625"), (1 / 3, "0.333333"), (0.5, "0.500")],
)
def test_rate(value: float, text: str) -> None:
    assert figures.rate(value) == text


def test_millions_share_their_decimals() -> None:
    assert figures.millions([32_660_000, 222_640_000, None]) == ["32.66", "222.64", figures.MISSING]
    assert figures.millions([12_300, 1_500_000]) == ["0.0123", "1.5000"]
    assert figures.millions([]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0 s"),
        (0.0123, "12.3 ms"),
        (3.21, "3.2 s"),
        (212.4, "212 s"),
        (1029.0, "17 min 9 s"),
        (None, "\N{EN DASH}"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert figures.seconds(value) == text

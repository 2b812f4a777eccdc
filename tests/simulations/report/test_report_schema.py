"""`validate_report`: what the contract takes, and what it refuses and where."""

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from simulations.report import ReportError, validate_report

REQUIRED = [
    "schema",
    "command",
    "seed",
    "versions",
    "machine",
    "data",
    "data.name",
    "data.fingerprint",
    "data.candidates",
    "data.queries",
    "flops_convention",
    "protocols",
    "protocols.paper.systems",
    *(
        f"protocols.paper.systems[1].{field}"
        for field in (
            "name",
            "params_held",
            "flops_total",
            "flops_per_kept_item",
            "seconds_total",
            "stages",
            "inclusion",
            "inclusion.rates",
            "inclusion.matrix",
        )
    ),
    *(
        f"protocols.retrieval.systems[2].stages[5].{field}"
        for field in (
            "rate",
            "params",
            "flops",
            "flops_increment",
            "precision",
            "recall",
            "aggregate_recall",
            "candidates_in",
            "candidates_out",
            "seconds",
            "mode",
        )
    ),
]


def _at(report: Any, path: str) -> tuple[Any, Any]:
    """The container of the field at `path` and its key there."""
    keys: list[Any] = []
    for part in path.replace("[", ".[").split("."):
        keys.append(int(part[1:-1]) if part.startswith("[") else part)
    for key in keys[:-1]:
        report = report[key]
    return report, keys[-1]


def _set(report: Any, path: str, value: object) -> None:
    container, key = _at(report, path)
    container[key] = value


@pytest.fixture
def refused(report: dict[str, Any]) -> Callable[[str, object], str]:
    def refuse(path: str, value: object) -> str:
        _set(report, path, value)
        with pytest.raises(ReportError) as caught:
            validate_report(report)
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refuse


def test_a_full_report_passes_unchanged(report: dict[str, Any]) -> None:
    before = copy.deepcopy(report)
    assert validate_report(report) is report
    assert report == before


def test_the_smallest_report_passes(smallest_report: Callable[..., dict[str, Any]]) -> None:
    validate_report(smallest_report())


def test_it_survives_json(report: dict[str, Any]) -> None:
    validate_report(json.loads(json.dumps(report)))


def test_more_fields_are_welcome(report: dict[str, Any]) -> None:
    report["protocols"]["paper"]["systems"][0]["stages"][0]["watts"] = {"mean": 3.5, "known": True}
    validate_report(report)


@pytest.mark.parametrize("path", REQUIRED)
def test_a_missing_field_is_named_by_its_path(report: dict[str, Any], path: str) -> None:
    container, key = _at(report, path)
    del container[key]
    with pytest.raises(ReportError) as caught:
        validate_report(report)
    assert f"report field {path} is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "rule"),
    [
        ("schema", 2, "must be 1"),
        ("schema", True, "must be 1"),
        ("seed", 1.5, "an integer"),
        ("command", "  ", "not blank"),
        ("protocols", {}, "at least one entry"),
        ("protocols.paper.systems", [], "at least one entry"),
        ("protocols.paper.systems[0].stages", [], "at least one entry"),
        ("protocols.paper.systems[0].stages[0].rate", 0.0, "in (0, 1]"),
        ("protocols.paper.systems[0].stages[0].rate", 1.01, "in (0, 1]"),
        ("protocols.paper.systems[0].stages[0].precision", 92.1, "not a percentage"),
        ("protocols.paper.systems[0].stages[0].flops", -1.0, "at least 0"),
        ("protocols.paper.systems[0].stages[0].flops", math.nan, "finite"),
        ("protocols.paper.systems[0].stages[0].seconds", math.inf, "finite"),
        ("protocols.paper.systems[0].stages[0].mode", "cached", "'reuse' or 'recompute' or 'fresh'"),
        ("protocols.paper.systems[0].stages[0].candidates_in", np.int64(3), "int()"),
        ("protocols.paper.systems[0].flops_total", np.float32(3), "float()"),
        ("protocols.paper.systems[0].inclusion.matrix[0][1]", 1.2, "[0, 1]"),
        ("protocols.paper.systems[0].relevant", -1, "at least 0"),
        ("training[0].history[3].loss", None, "finite"),
        ("training[0].history[3].validation", {"1.0": 88.0}, "[0, 1]"),
    ],
)
def test_a_wrong_value_is_refused_with_its_path(
    refused: Callable[[str, object], str], path: str, value: object, rule: str
) -> None:
    message = refused(path, value)
    assert path in message
    assert rule in message


def test_a_stage_can_not_add_candidates(refused: Callable[[str, object], str]) -> None:
    message = refused("protocols.paper.systems[0].stages[1].candidates_out", 10_001)
    assert "stages[1].candidates_out is 10001" in message
    assert "can only drop" in message


def test_inclusion_must_be_symmetric(refused: Callable[[str, object], str]) -> None:
    assert "[3][2]" in refused("protocols.paper.systems[0].inclusion.matrix[3][2]", 0.5)


@pytest.mark.parametrize("matrix", [[[1.0]] * 6, [[1.0] * 6] * 5])
def test_inclusion_must_be_square(refused: Callable[[str, object], str], matrix: list[list[float]]) -> None:
    assert "6 x 6" in refused("protocols.paper.systems[0].inclusion.matrix", matrix)


def test_inclusion_rates_must_not_fall(refused: Callable[[str, object], str]) -> None:
    assert "must not fall" in refused(
        "protocols.paper.systems[0].inclusion.rates", [1.0, 0.875, 0.75, 0.625, 0.5, 0.375]
    )


def test_paper_needs_a_figure_per_rate(refused: Callable[[str, object], str]) -> None:
    assert "paper.systems[0].kept" in refused("paper.systems[0].kept", [1, 2])


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, {"a": [math.nan]}, {"a": np.float64("inf")}])
def test_extra_fields_must_fit_into_json(refused: Callable[[str, object], str], value: object) -> None:
    assert "data.extra" in refused("data.extra", value)


@pytest.mark.parametrize("value", [None, [], "report", 3])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(ReportError, match="must be a mapping"):
        validate_report(value)

"""A report as a full run on CIFAR-10 would give it: FLOPs by arithmetic over VGG-13, recalls invented."""

from collections.abc import Callable
from typing import Any

import pytest

from simulations.paper import paper_figures
from simulations.report import validate_report
from simulations.report.page import render_page

RATES = [0.375, 0.5, 0.625, 0.75, 0.875, 1.0]
LAYERS = [
    (64, 32),
    (64, 32),
    (128, 16),
    (128, 16),
    (256, 8),
    (256, 8),
    (512, 4),
    (512, 4),
    (512, 2),
    (512, 2),
]


def _flops(wide_in: float, wide_out: float) -> float:
    """Multiply-adds of VGG-13 with inputs at rate `wide_in` and outputs at rate `wide_out`."""
    total, channels_in = 0.0, 3.0
    for channels, pixels in LAYERS:
        total += 9 * channels_in * channels * wide_out * pixels**2
        channels_in = channels * wide_in
    return total + 5120 * wide_out


def _params(rate: float) -> int:
    return round(9_416_010 * rate**2)


def _system(name: str, precision: list[float], kept: list[int], overlap: float, fall: float) -> dict[str, Any]:
    stages, before, previous, total, seconds = [], 10_000, 0.0, 0.0, 0.0
    increments = []
    for k, rate in enumerate(RATES):
        if name == "separate":
            mode, increment = "fresh", _flops(rate, rate)
        else:
            mode, increment = ("fresh" if k == 0 else "reuse"), _flops(rate, rate - previous)
        if name == "sliced-dense" and k == 3:
            mode, increment = "recompute", _flops(rate, rate)
        increments.append(increment)
        spent = round(before * increment / 6.1e9, 3)
        stages.append(
            {
                "rate": rate,
                "params": _params(rate),
                "flops": _flops(rate, rate) if name != "sliced-nested" else sum(increments),
                "flops_increment": increment,
                "precision": precision[k],
                "recall": precision[k],
                "aggregate_recall": kept[k] / 10_000,
                "candidates_in": before,
                "candidates_out": kept[k],
                "relevant_kept": kept[k],
                "seconds": spent,
                "mode": mode,
            }
        )
        total += before * increment
        seconds += spent
        before, previous = kept[k], rate
    matrix = [
        [1.0 if i == j else round(overlap - fall * abs(i - j), 3) for j in range(len(RATES))] for i in range(len(RATES))
    ]
    return {
        "name": name,
        "relevant": 10_000,
        "params_held": sum(_params(r) for r in RATES) if name == "separate" else _params(1.0),
        "flops_total": total,
        "flops_per_kept_item": sum(increments),
        "seconds_total": seconds,
        "stages": stages,
        "inclusion": {"rates": list(RATES), "matrix": matrix},
    }


def _retrieval(system: dict[str, Any]) -> dict[str, Any]:
    """The same system when every item is a candidate of every type."""
    before, stages = 100_000, []
    for stage in system["stages"]:
        out = round(stage["candidates_out"] * 1.07)
        stages.append(stage | {"candidates_in": before, "candidates_out": out, "recall": stage["precision"] - 0.01})
        before = out
    total = sum(s["candidates_in"] * s["flops_increment"] for s in stages)
    definition = "|kept & relevant| / |kept|"
    return system | {
        "precision_definition": definition,
        "stages": stages,
        "flops_total": total,
        "inclusion": None,
    }


def build() -> dict[str, Any]:
    nested = _system(
        "sliced-nested",
        [0.9212, 0.9241, 0.9269, 0.9287, 0.9301, 0.9312],
        [9212, 9087, 9033, 9004, 8987, 8979],
        0.985,
        0.017,
    )
    dense = _system(
        "sliced-dense",
        [0.9138, 0.9201, 0.9236, 0.9302, 0.9305, 0.9311],
        [9138, 8979, 8901, 8862, 8840, 8831],
        0.955,
        0.038,
    )
    dense["note"] = "Reuse is approximate here (section 3.4): mean score error 0.031 at rate 1.0."
    separate = _system(
        "separate",
        [0.9251, 0.9309, 0.9342, 0.9366, 0.9383, 0.9401],
        [9251, 8974, 8811, 8689, 8607, 8541],
        0.615,
        0.008,
    )
    systems = [nested, dense, separate]
    history = [
        {
            "epoch": e,
            "loss": round(2.1 * 0.87**e + 0.12, 4),
            "validation": {"0.375": round(0.92 - 0.5 * 0.82**e, 4), "1.0": round(0.935 - 0.52 * 0.84**e, 4)},
        }
        for e in range(1, 31)
    ]
    plain = [{"epoch": e["epoch"], "loss": round(e["loss"] * 0.9, 4)} for e in history]
    return {
        "schema": 1,
        "command": "slicerank simulate cascade --data cifar10 --epochs 30 --out out/cifar10",
        "seed": 0,
        "versions": {
            "python": "3.11.7",
            "torch": "2.13.0",
            "numpy": "2.4.6",
            "polars": "2.1.0",
            "slicerank": "0.1.0",
        },
        "machine": {
            "system": "Linux x86_64",
            "cpu": "a processor",
            "cores": 2,
            "threads": 2,
            "memory_gib": 23.5,
        },
        "data": {
            "name": "cifar10",
            "fingerprint": "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            "candidates": 10_000,
            "queries": 10,
        },
        "flops_convention": "one multiply-add = 1",
        "full_pass_flops": _flops(1.0, 1.0),
        "protocols": {
            "paper": {"systems": systems},
            "retrieval": {"systems": [_retrieval(s) for s in systems]},
        },
        "paper": paper_figures(),
        "training": [
            {"name": "sliced-nested", "history": history, "best_epoch": 29},
            {"name": "separate 1.0", "history": plain},
        ],
    }


def smallest(name: str = "only") -> dict[str, Any]:
    """One protocol, one system, one stage, nothing optional, everything undefined that may be."""
    stage = {
        "rate": 1.0,
        "params": 12,
        "flops": 10.0,
        "flops_increment": 10.0,
        "precision": None,
        "recall": None,
        "aggregate_recall": None,
        "candidates_in": 1,
        "candidates_out": 0,
        "seconds": 0.0,
        "mode": "fresh",
    }
    system = {
        "name": name,
        "params_held": 12,
        "flops_total": 10.0,
        "flops_per_kept_item": None,
        "seconds_total": 0.0,
        "stages": [stage],
        "inclusion": {"rates": [1.0], "matrix": [[None]]},
    }
    return {
        "schema": 1,
        "command": "slicerank run cascade.toml",
        "seed": 3,
        "versions": {"python": "3.11"},
        "machine": {"cores": 1},
        "data": {"name": "tiny", "fingerprint": "f", "candidates": 1, "queries": 1},
        "flops_convention": "one multiply-add = 1",
        "protocols": {"ranking": {"systems": [system]}},
    }


@pytest.fixture(scope="session")
def page_html() -> str:
    """The page of the full report, drawn once."""
    return render_page(validate_report(build()))


@pytest.fixture
def report() -> dict[str, Any]:
    return build()


@pytest.fixture
def smallest_report() -> Callable[..., dict[str, Any]]:
    return smallest

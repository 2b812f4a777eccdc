"""The nesting comparison against the cascade simulation of the same settings, and its tables against arithmetic."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from cascade import CascadeError
from simulations.cascade import simulate_cascade
from simulations.nesting import SYSTEMS, NestingSettings, simulate_nesting, system_settings
from simulations.nesting_tables import SeedRun, frontier_curve, nesting_csv, nesting_tables
from simulations.report.figures import MISSING
from simulations.settings import CascadeSettings
from slicing import SlicingError

TRUNK = "nested,1=trunk"


def entry(precision: list[float], recall: list[float], inclusion: float, spent: float | None) -> dict[str, Any]:
    stages = [
        {
            "rate": rate,
            "precision": p,
            "aggregate_recall": r,
            "flops": 100.0 * rate,
            "flops_increment": 50.0,
            "params": 7,
        }
        for rate, p, r in zip((0.5, 1.0), precision, recall, strict=True)
    ]
    matrix = [[1.0, inclusion], [inclusion, 1.0]]
    return {
        "name": "a",
        "stages": stages,
        "inclusion": {"matrix": matrix},
        "flops_per_kept_item": spent,
        "params_held": 2_000_000,
    }


RUNS = [
    SeedRun("a", 0, 10.0, entry([0.5, 0.8], [0.5, 0.4], 0.9, 150.0)),
    SeedRun("a", 1, 14.0, entry([0.6, 0.9], [0.6, 0.45], 0.7, 150.0)),
    SeedRun("b", 0, 3.0, entry([0.0, 0.0], [0.0, 0.0], 1.0, None)),
]


def test_tables_hold_mean_and_spread_over_seeds() -> None:
    accuracy, costs, _ = nesting_tables(RUNS, full_pass=200.0)
    assert accuracy["columns"] == ["system", "0.500", "1.000"]
    assert accuracy["rows"] == [
        ["a", f"{mean([50, 60]):.2f} ± {stdev([50, 60]):.2f}", f"{mean([80, 90]):.2f} ± {stdev([80, 90]):.2f}"],
        ["b", "0.00", "0.00"],
    ]
    kept, share, inclusion, first, full, passes, held, seconds = costs["rows"][0][1:]
    assert kept == f"42.50 ± {stdev([40, 45]):.2f}"
    assert share == "50.0 ± 0.0"  # 0.4 / 0.8 and 0.45 / 0.9
    assert inclusion == f"0.800 ± {stdev([0.9, 0.7]):.3f}"
    assert (first, full, passes) == ("0.25", "0.50", "0.75 ± 0.00")
    assert (held, seconds) == ("2.00", "12 ± 3")
    assert costs["rows"][1][2] == costs["rows"][1][6] == MISSING  # nothing right at last, nothing kept
    assert all(len(row) == len(table["columns"]) for table in (accuracy, costs) for row in table["rows"])


def test_the_frontier_marks_what_no_cheaper_system_reaches() -> None:
    runs = [
        SeedRun("dear", 0, 1.0, entry([0.5, 0.9], [0.5, 0.3], 1.0, 300.0)),
        SeedRun("nothing", 0, 1.0, entry([0.5, 0.9], [0.5, 0.0], 1.0, None)),
        SeedRun("cheap", 0, 1.0, entry([0.5, 0.6], [0.5, 0.4], 1.0, 100.0)),
        SeedRun("cheap", 1, 1.0, entry([0.5, 0.8], [0.5, 0.6], 1.0, 100.0)),
        SeedRun("middle", 0, 1.0, entry([0.5, 0.7], [0.5, 0.55], 1.0, 200.0)),
    ]
    table = nesting_tables(runs, full_pass=200.0)[-1]
    assert table["rows"] == [
        ["cheap", "0.50", "70.00", "yes", "50.00", "yes"],
        ["middle", "1.00", "70.00", MISSING, "55.00", "yes"],
        ["dear", "1.50", "90.00", "yes", "30.00", MISSING],
    ]
    points = [(each["name"], *each["x"], *each["y"]) for each in frontier_curve(runs, 200.0)["series"]]
    assert points == [("cheap", 0.5, pytest.approx(0.7)), ("middle", 1.0, 0.7), ("dear", 1.5, 0.9)]


def test_csv_has_a_row_for_every_run_and_rate() -> None:
    rows = list(csv.DictReader(nesting_csv("digits", RUNS, 200.0).splitlines()))
    assert [(row["system"], row["seed"], row["rate"]) for row in rows] == [
        (name, seed, rate) for name, seed in (("a", "0"), ("a", "1"), ("b", "0")) for rate in ("0.5", "1.0")
    ]
    assert [float(rows[2][name]) for name in ("precision", "kept_share", "lowest_inclusion")] == [0.6, 0.5, 0.7]
    assert float(rows[0]["passes_per_kept_item"]) == 0.75
    assert rows[4]["passes_per_kept_item"] == rows[4]["kept_share"] == ""


def test_systems_equal_those_of_the_cascade_simulation(tmp_path: Path) -> None:
    base = CascadeSettings(
        out=tmp_path / "nesting",
        model="mlp",
        width=0.03,
        rates=(0.5, 1.0),
        epochs=1,
        train_limit=200,
        distill=0.5,
        own=0.5,
    )
    systems = ("separate", "dense-sampled", "nested", "mixed", TRUNK)
    simulate_nesting(NestingSettings(base, seeds=(1,), systems=systems), "slicerank simulate nesting")
    report = json.loads((base.out / "report.json").read_text())
    found = {each["name"]: each for each in report["protocols"]["paper"]["systems"]}
    assert set(found) == {*systems, "dense-sampled-reuse"}
    both = replace(base, seed=1, out=tmp_path / "cascade", connectivity=("nested", "dense", "mixed@1", TRUNK))
    wanted = simulate_cascade(both, "slicerank simulate cascade")["protocols"]["paper"]["systems"]
    names = {
        "sliced-nested": "nested",
        "sliced-mixed@1": "mixed",
        "sliced-dense": "dense-sampled",
        "sliced-dense-reuse": "dense-sampled-reuse",
        f"sliced-{TRUNK}": TRUNK,
    }
    for other in wanted:
        mine = found[names.get(other["name"], "separate")]
        for name in ("precision", "aggregate_recall", "flops", "params"):
            assert [stage[name] for stage in mine["stages"]] == [stage[name] for stage in other["stages"]]
        assert mine["flops_per_kept_item"] == other["flops_per_kept_item"]
    rows = list(csv.DictReader((base.out / "nesting.csv").read_text().splitlines()))
    assert len(rows) == 2 * len(found)


def test_what_makes_each_system(tmp_path: Path) -> None:
    base = CascadeSettings(out=tmp_path, rates=(0.5, 1.0), width=0.5)
    made = {name: system_settings(name, base, 1.5) for name in SYSTEMS}
    nested = replace(base, connectivity=("nested",), scheme="joint")
    assert made == {
        "separate": base,
        "dense-sampled": replace(base, connectivity=("dense",), scheme="sampled"),
        "dense-sandwich": replace(base, connectivity=("dense",), scheme="sandwich"),
        "nested": nested,
        "nested-wide": replace(nested, width=0.75),
        "mixed": replace(nested, connectivity=("mixed@1",)),
    }


def test_a_connectivity_is_a_system_of_its_own(tmp_path: Path) -> None:
    base = replace(CascadeSettings(out=tmp_path, rates=(0.5, 1.0)), own=0.5, distill=0.25)
    assert system_settings(TRUNK, base, 1.5) == replace(base, connectivity=(TRUNK,), scheme="joint")
    mixed = "mixed@1,1=trunk"  # what its blocks alone add is not defined
    assert system_settings(mixed, base, 1.5) == replace(base, connectivity=(mixed,), scheme="joint", own=0.0)


def test_a_width_that_no_system_can_have_is_refused_before_training(tmp_path: Path) -> None:
    base = CascadeSettings(out=tmp_path, width=0.25, rates=(0.5, 1.0))
    with pytest.raises(SlicingError, match=r"width 0\.3125 makes 20 of 64 channels"):
        simulate_nesting(NestingSettings(base), "x")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_bad_systems_and_seeds_are_refused(tmp_path: Path) -> None:
    base = CascadeSettings(out=tmp_path)
    with pytest.raises(CascadeError, match=r"one of separate, .*, or a connectivity 'cheap' is unknown"):
        simulate_nesting(NestingSettings(base, systems=("cheap",)), "x")
    with pytest.raises(CascadeError, match=r"systems must be some of separate, .* got none"):
        simulate_nesting(NestingSettings(base, systems=()), "x")
    with pytest.raises(SlicingError, match=r"rule for '9', which is none of the layers"):
        simulate_nesting(NestingSettings(base, systems=("nested,9=trunk",)), "x")
    with pytest.raises(CascadeError, match="seeds must be different"):
        simulate_nesting(NestingSettings(base, seeds=(1, 1)), "x")

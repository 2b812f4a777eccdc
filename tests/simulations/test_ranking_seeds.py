"""The ranking simulation's tables and CSV by seed, against arithmetic written out."""

import csv
import math
from statistics import stdev

import numpy as np
import polars as pl
import pytest

from cascade import CallableScorer, Cascade, StageInfo, TopK, TopShare, score_all
from simulations.ranking_outcomes import FoldRun
from simulations.ranking_seeds import SeedRun, seed_csv, seed_runs, seed_tables
from simulations.ranking_systems import Trained
from simulations.report.figures import MISSING, spread

RULES = [TopShare(0.5), TopK(3)]


def table(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "qid": np.repeat(np.arange(6), 8),
            "docid": np.tile(np.arange(8), 6),
            "label": np.where(np.arange(48) < 40, rng.integers(0, 3, 48), 0),  # nothing relevant in the last query
            "a": rng.normal(size=48),
            "b": rng.normal(size=48),
        }
    )


def run(seed: int, fold: int) -> FoldRun:
    functions = [lambda frame: frame["a"].to_numpy(), lambda frame: frame["b"].to_numpy()]
    scorer = CallableScorer(functions, [StageInfo(0.5, 10, 100.0), StageInfo(1.0, 30, 400.0)])
    frame = table(10 * seed + fold)
    return FoldRun.of(
        seed, fold, Trained(scorer, rules=RULES), Cascade(scorer, RULES).run(frame), score_all(scorer, frame)
    )


def ndcg(frame: pl.DataFrame, by: str) -> list[float]:
    """Of each query with something relevant, its candidates in the order of a column, best first."""
    found = []
    for _, rows in frame.group_by("qid", maintain_order=True):
        gains = [2.0**label - 1 for label in rows.sort(by, descending=True)["label"]]
        best = sorted(gains, reverse=True)
        if best[0] > 0:
            dcg, ideal = (sum(g / math.log2(k + 2) for k, g in enumerate(each[:10])) for each in (gains, best))
            found.append(dcg / ideal)
    return found


def test_each_stage_alone_is_judged_on_all_candidates_of_all_folds() -> None:
    runs = seed_runs("mine", [run(seed, fold) for seed in (3, 4) for fold in (1, 2)])
    assert [(each.name, each.seed) for each in runs] == [("mine", 3), ("mine", 4)]
    for each in runs:
        frames = [table(10 * each.seed + fold) for fold in (1, 2)]
        wanted = [np.mean([value for frame in frames for value in ndcg(frame, by)]) for by in ("a", "b")]
        assert each.alone == pytest.approx(wanted)
        assert each.cost_per_query == 8 * 100 + 4 * 400
        assert each.train_seconds is None
    assert runs[0].alone != runs[1].alone


def seed_run(name: str, seed: int, alone: tuple[float, float], recall: float, seconds: float | None) -> SeedRun:
    stages = [{"rate": r, "aggregate_recall": 0.5, "flops": 9.0, "flops_increment": 3.0, "params": 7} for r in (0.5, 1)]
    entry = {
        "stages": stages,
        "mean_recall_by_query": recall,
        "inclusion": {"matrix": [[1.0, 0.25 * recall], [0.25 * recall, 1.0]]},
        "flops_total": 24_000.0,
        "queries": 12,
        "params_held": 1_500,
    }
    return SeedRun(name, seed, alone, alone[1] - 0.1, entry, "FLOPs" if name == "net" else "visits", seconds)


RUNS = [
    seed_run("net", 0, (0.5, 0.7), 0.4, 30.0),
    seed_run("net", 1, (0.6, 0.7), 0.8, 50.0),
    seed_run("trees", 0, (0.3, 0.4), 0.2, None),
]


def test_tables_hold_mean_and_spread_over_seeds() -> None:
    alone, costs = seed_tables(RUNS, (0.5, 1.0))
    assert alone["columns"] == ["system", "0.500", "1.000", "cascade"]
    assert alone["rows"][0] == ["net", f"0.5500 ± {stdev([0.5, 0.6]):.4f}", "0.7000 ± 0.0000", "0.6000 ± 0.0000"]
    assert costs["rows"] == [
        ["net", f"0.6000 ± {stdev([0.4, 0.8]):.4f}", f"0.150 ± {stdev([0.1, 0.2]):.3f}", "2.00 k", "1.50 k", "40 ± 14"],
        ["trees", "0.2000", "0.050", "2.00 k visits", "1.50 k", MISSING],
    ]
    assert all(len(row) == len(each["columns"]) for each in (alone, costs) for row in each["rows"])


def test_csv_has_a_row_for_every_run_and_stage() -> None:
    rows = list(csv.DictReader(seed_csv("mine", RUNS).splitlines()))
    found = [(row["system"], row["seed"], row["rate"], float(row["ndcg_alone"])) for row in rows]
    assert found == [
        (each.name, str(each.seed), rate, ndcg)
        for each in RUNS
        for rate, ndcg in zip(("0.5", "1"), each.alone, strict=True)
    ]
    assert {name: rows[2][name] for name in ("joint_recall", "lowest_inclusion", "cost_per_query", "cost_unit")} == {
        "joint_recall": "0.8",
        "lowest_inclusion": "0.2",
        "cost_per_query": "2000.0",
        "cost_unit": "FLOPs",
    }
    assert (rows[0]["train_seconds"], rows[4]["train_seconds"]) == ("30.0", "")


def test_a_spread_needs_two_numbers_and_all_of_them() -> None:
    assert spread([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"
    assert spread([1.25], 1) == "1.2"
    assert spread([1.0, None], 1) == MISSING

"""Tiers and query features from the command line: a file of tiers, train, plan, run, and the ranking simulation."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import cli
from cascade import Cascade, CascadeError, TopK
from data import synthetic, write_candidates
from simulations.ranker_costs import fetching_costs, flop_costs, path_flops
from simulations.ranker_run import RunRequest, run_cascade
from simulations.tables import RankerScorer
from simulations.tiers_file import read_tiers
from slicing import Ranker, RankerSettings, SlicingError, Tier, fit_ranker

TIERS = """
[[tier]]
rate = 0.5
cost = 2
features = ["f3"]
[[tier]]
rate = 1.0
cost = 7.5
features = ["f4", "context"]
"""


def labelled(queries: int = 20, first: int = 0) -> pl.DataFrame:
    """A synthetic table with a feature of the query."""
    frame = synthetic(queries, 10, 4, first_query=first).drop("ideal")
    query = frame["qid"].rank("dense").to_numpy() - 1
    return frame.with_columns(context=pl.Series(np.random.default_rng(first).normal(size=queries)[query]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiers.toml").write_text(TIERS, encoding="utf-8")
    write_candidates(labelled(), tmp_path / "train.parquet")
    return tmp_path


def called(*words: object, fails: bool = False) -> str:
    result = CliRunner(env={"COLUMNS": "140"}).invoke(cli.main, [str(word) for word in words])
    assert result.exit_code == (2 if fails else 0), result.output
    return result.output


@pytest.fixture
def model(folder: Path) -> Path:
    options = ["--rates", "0.25,0.5,1.0", "--hidden", "16,16", "--epochs", "1", "--quiet"]
    out = called(
        "train", folder / "train.parquet", "--tiers", folder / "tiers.toml", "--query-features", "auto", *options,
        "--out", folder / "model",
    )  # fmt: skip
    assert "feature cost per candidate" in out
    assert "1 query features (context)" in out
    return folder / "model"


def test_train_plan_and_run_account_for_the_features(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    ranker = Ranker.load(model / "model.safetensors")
    assert ranker.tiers == read_tiers(folder / "tiers.toml")
    assert json.loads((model / "train.json").read_text())["feature_costs"] == [0, 2, 9.5]
    assert fetching_costs(ranker).increment == ((0, 2, 9.5), (0, 0, 7.5), (0, 0, 0))
    goal = ["--cost", "60%", "--unit", "features", "--final-k", 3, "--quiet"]
    out = called("plan", model, folder / "train.parquet", *goal, "--out", folder / "c.toml")
    assert "feature cost per query" in out
    assert "FLOPs per query: cascade" in out
    (folder / "c.toml").write_text(
        'schema = 1\nmodel = "model/model.safetensors"\n'
        + "".join(f'[[stages]]\nrate = {r}\nkeep = "top_k"\nvalue = {k}\n' for r, k in ((0.25, 6), (0.5, 4), (1.0, 3)))
    )
    out = called("run", folder / "c.toml", folder / "train.parquet", "--out", folder / "r.parquet", "--quiet")
    assert "feature cost per query 42 (44.2%)" in out  # 6 * 2 + 4 * 7.5 of 10 * 9.5
    measured = called("evaluate", folder / "r.parquet", folder / "train.parquet", "--out", folder / "e.json")
    assert "FLOPs per query" in measured
    assert "42 (44.2%)" in measured
    (entry,) = json.loads((folder / "e.json").read_text())["results"]
    assert entry["cost"]["feature_cost"] == 20 * 42
    assert entry["cost"]["full_feature_cost"] == 20 * 10 * 9.5
    elsewhere = pl.read_parquet(folder / "r.parquet")
    elsewhere.write_parquet(folder / "plain.parquet")
    assert "per query" not in called("evaluate", folder / "plain.parquet", folder / "train.parquet")
    frame = pl.read_parquet(folder / "r.parquet").join(labelled(), on=["qid", "docid"], validate="1:1")
    every = ranker.scores({name: frame[name].to_numpy() for name in ranker.columns})
    for stage, rate in enumerate(("0.25", "0.5", "1")):
        there = frame[f"score_{rate}"].is_not_null().to_numpy()
        assert np.allclose(frame[f"score_{rate}"].to_numpy()[there], every[stage][there], atol=1e-5)


def test_a_cascade_that_ends_early_needs_no_later_columns(folder: Path, model: Path) -> None:
    (folder / "c.toml").write_text(
        'schema = 1\nmodel = "model/model.safetensors"\n[[stages]]\nrate = 0.5\nkeep = "top_k"\nvalue = 3\n'
    )
    write_candidates(labelled().drop("f4", "context"), folder / "narrow.parquet")
    called("run", folder / "c.toml", folder / "narrow.parquet", "--out", folder / "r.parquet", "--quiet")
    write_candidates(labelled().drop("f3"), folder / "less.parquet")
    out = called("run", folder / "c.toml", folder / "less.parquet", "--out", folder / "r.parquet", fails=True)
    assert "f3" in out


def test_a_later_tier_of_dropped_candidates_is_never_looked_at(model: Path) -> None:
    ranker = Ranker.load(model / "model.safetensors")
    frame = labelled(8, 100)
    cascade = Cascade(RankerScorer(ranker), [TopK(6), TopK(4), TopK(2)])
    expected = cascade.run(frame)
    stage = expected.frame.select("qid", "docid", "stage")
    rotten = frame.join(stage, on=["qid", "docid"]).with_columns(
        f3=pl.when(pl.col("stage") < 1).then(float("inf")).otherwise("f3"),
        f4=pl.when(pl.col("stage") < 2).then(float("inf")).otherwise("f4"),
        context=pl.when(pl.col("stage") < 2).then(float("inf")).otherwise("context"),
    )
    assert cascade.run(rotten.drop("stage")).frame.equals(expected.frame)
    spoilt = rotten.with_columns(f4=pl.lit(float("inf"))).drop("stage")
    with pytest.raises(SlicingError, match="'f4' is inf"):
        cascade.run(spoilt)
    mixed = frame.with_columns(context=pl.Series(np.arange(80.0)))
    place = r"the table: 'context' is \d+.0 in query 10\d, candidate \d+; it was declared constant within a query"
    with pytest.raises(SlicingError, match=place):
        cascade.run(mixed)


def test_planned_flops_share_the_query_part_over_a_querys_candidates(model: Path) -> None:
    ranker = Ranker.load(model / "model.safetensors")
    by_itself, shared = flop_costs(ranker), flop_costs(ranker, 10)
    part = ranker.query_flops()
    assert part == 8 * 1  # the last block's units read the one feature
    assert by_itself.scratch[-1] == ranker.flops()
    assert shared.scratch[-1] == ranker.flops() - part + part / 10


def test_the_ranking_simulation_charges_every_system_for_its_features(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulations.ranking_tables.SYNTHETIC", {"queries": 60, "candidates": 12, "features": 5})
    tiers = folder / "tiers.toml"
    tiers.write_text(TIERS.replace(', "context"', ""), encoding="utf-8")
    options = ["--rates", "0.25,0.5,1.0", "--keep", "0.6,0.3", "--hidden", "16", "--epochs", 1, "--trees", 6]
    called("simulate", "ranking", *options, "--tiers", tiers, "--out", folder / "out", "--quiet")
    report = json.loads((folder / "out" / "report.json").read_text())["protocols"]["ranking"]
    found = {
        entry["name"]: [stage["feature_cost_increment"] for stage in entry["stages"]] for entry in report["systems"]
    }
    tiered = [0, 2, 7.5]
    whole = [9.5, 0, 0]
    by_stage = ("sliced-nested", "nested-wider", "separate", "linear-first", "trees-separate")
    assert found == {**dict.fromkeys(by_stage, tiered), "trees-prefix": whole}
    assert "Feature cost" in [table["title"] for table in report["tables"]]
    first = report["systems"][0]
    assert first["feature_cost_total"] == sum(
        stage["candidates_in"] * cost for stage, cost in zip(first["stages"], tiered, strict=True)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[tier]]\nrate = 0.5\nfeature = ['a']", "unknown key 'feature' .did you mean 'features'"),
        ("[[tier]]\nrate = 0.5", "the key 'features' is missing"),
        ("[[tier]]\nrate = '1'\nfeatures = ['a']", r"rate must be a number in \(0, 1\], got '1'"),
        ("[[tier]]\nrate = 1\nfeatures = 'a'", "must be a list of names, got 'a'"),
        ("[tier]\nrate = 1", r"write each tier under \[\[tier\]\]"),
        ("rate = 1", r"holds \[\[tier\]\] entries alone"),
        ("rate = ", "is not a TOML file"),
    ],
)
def test_a_file_that_holds_no_tiers_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.toml").write_text(text, encoding="utf-8")
    with pytest.raises(CascadeError, match=message):
        read_tiers(tmp_path / "t.toml")
    with pytest.raises(CascadeError, match="cannot read the tiers"):
        read_tiers(tmp_path / "missing.toml")


def test_a_cost_that_is_left_out_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text("[[tier]]\nrate = 1\nfeatures = ['a']", encoding="utf-8")
    assert read_tiers(tmp_path / "t.toml") == (Tier(1.0, ("a",), 0.0),)


@pytest.mark.parametrize("spare", [0, 1, 2_000, 5_000, 20_000])
def test_a_query_never_costs_more_than_its_budget(folder: Path, model: Path, spare: int) -> None:
    (folder / "c.toml").write_text(
        'schema = 1\nmodel = "model/model.safetensors"\n'
        + "".join(f'[[stages]]\nrate = {r}\nkeep = "top_k"\nvalue = {k}\n' for r, k in ((0.25, 6), (0.5, 4), (1.0, 3)))
    )
    budget = 10 * Ranker.load(model / "model.safetensors").flops(0.25) + spare
    write_candidates(labelled(1, 50).with_columns(budget=pl.lit(budget)), folder / "one.parquet")
    request = RunRequest(folder / "c.toml", folder / "one.parquet", folder / "r.parquet", budget="budget")
    report = run_cascade(request)
    assert sum(stage.flops for stage in report.stages) <= budget
    assert (report.stages[-1].candidates_out > 0) == (spare >= 2_000)


def test_a_budget_is_charged_with_what_runs_once_per_query_once(folder: Path) -> None:
    """Four features of the candidate, one of the query; widths 256 and 512 in both layers."""
    frame = labelled(3)
    names = ["f1", "f2", "f3", "f4", "context"]
    columns = {name: frame[name].to_numpy() for name in names}
    split = columns, frame["label"].to_numpy(), frame["qid"].to_numpy()
    settings = RankerSettings(rates=(0.5, 1.0), query=("context",), hidden=(512, 512), epochs=1)
    ranker, _ = fit_ranker(*split, split, settings)
    first = 4 * 256 + 256 * 256 + 256, 256  # the query's feature into 256 units once
    second = 4 * 256 + 256 * 512 + 256, 256  # 256 new units in each layer
    assert path_flops(ranker, (0, 1)) == ((first[0], second[0]), (first[1], second[1]))
    ranker.save(folder / "m.safetensors")
    (folder / "c.toml").write_text(
        'schema = 1\nmodel = "m.safetensors"\n'
        + "".join(f'[[stages]]\nrate = {r}\nkeep = "top_k"\nvalue = {k}\n' for r, k in ((0.5, 3), (1.0, 1)))
    )
    exact = [first[1] + 10 * first[0] + (second[1] + kept * second[0] if kept else 0) for kept in (7, 2, 0)]
    for missing, passed in ((0, 7 + 2 + 0), (1, 6 + 1)):
        budgets = [exact[0] - missing, exact[1] - missing, exact[2]]
        budget = pl.Series(np.array(budgets)[frame["qid"].rank("dense").to_numpy() - 1])
        write_candidates(frame.with_columns(budget=budget), folder / "t.parquet")
        report = run_cascade(RunRequest(folder / "c.toml", folder / "t.parquet", folder / "r.parquet", budget="budget"))
        assert report.stages[0].candidates_out == passed
        spent = sum(stage.flops for stage in report.stages)
        assert spent == pytest.approx(sum(exact) - missing * 2 * second[0], rel=1e-12)


def test_the_full_network_costs_all_of_itself(folder: Path, model: Path) -> None:
    # what is constant within a query passes once per query in both: 100%, not less
    text = 'schema = 1\nmodel = "model"\n[[stages]]\nrate = 1.0\nkeep = "all"\n'
    (folder / "full.toml").write_text(text, encoding="utf-8")
    cost = run_cascade(RunRequest(folder / "full.toml", folder / "train.parquet", folder / "full.parquet")).cost
    assert 0 < cost.flops == cost.full_flops
    assert cost.full_flops < Ranker.load(model / "model.safetensors").flops() * 200


def test_ids_new_to_the_model_are_told(folder: Path) -> None:
    words = labelled().with_columns(pl.format("{}", pl.col("docid") % 5).alias("genre"))
    write_candidates(words, folder / "ids.parquet")
    options = ["--rates", "0.5,1.0", "--hidden", "8", "--epochs", "1", "--quiet", "--categorical", "genre"]
    called("train", folder / "ids.parquet", *options, "--out", folder / "ids")
    plan = ["plan", folder / "ids", "--recall", "0.1", "--out", folder / "c.toml", "--quiet"]
    assert "not seen" not in called(*plan, folder / "ids.parquet")
    run = ["run", folder / "c.toml", "--out", folder / "r.parquet", "--quiet"]
    assert "not seen" not in called(*run, folder / "ids.parquet")
    strange = pl.when(pl.col("docid") % 10 == 1).then(pl.lit("x")).otherwise("genre")
    strange = pl.when(pl.col("docid") % 10 == 2).then(None).otherwise(strange).alias("genre")
    write_candidates(words.with_columns(strange), folder / "new.parquet")
    share = 100 * (words["docid"] % 10 == 1).sum() / (words["docid"] % 10 != 2).sum()
    told = f"ids that the model has not seen in training: {share:.1f}% of 'genre'"
    assert told in called(*run, folder / "new.parquet")
    assert told in called(*plan, folder / "new.parquet")

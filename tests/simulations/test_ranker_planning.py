"""What a plan predicts is what a run does; costs are what a session spends."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

import cli
from cascade import CascadeError, StageCosts, evaluate, read_config
from cascade.promise import PromiseError
from data import DataError, split_by_query, synthetic, write_candidates
from simulations.ranker_costs import flop_costs, measured_costs
from simulations.ranker_planning import PlanRequest, cost_of, plan_cascade
from simulations.ranker_run import RunRequest, run_cascade
from slicing import FeatureTransform, IncrementalScorer, Ranker, SlicedNetwork, convert
from slicing.models import mlp


@pytest.mark.parametrize(
    ("model", "kinds"),
    [("nested", "top_k"), ("nested", "share"), ("nested", "score"), ("mixed@1", "top_k"), ("dense", "top_k")],
    indirect=["model"],
)
def test_a_run_over_the_planning_table_does_what_was_predicted(
    tmp_path: Path, model: Path, table: Path, labelled: pl.DataFrame, kinds: str
) -> None:
    out = tmp_path / "cascade.toml"
    request = PlanRequest(model, table, out, cost="80%", relevant=3, final_k=5, kinds=kinds)  # type: ignore[arg-type]
    report = plan_cascade(request)
    ran = run_cascade(RunRequest(out, table, tmp_path / "out.parquet"))
    result = pl.read_parquet(tmp_path / "out.parquet")
    # the planner's recall and nDCG are of what is kept, the measures' of the ranking: with fewer kept they differ
    kept = result.filter("kept")
    found = evaluate(kept, labelled, ["R(rel=3)@5", "nDCG@5"], without_relevant="skip").means
    assert found["R(rel=3)@5"] == pytest.approx(report.cascade.recall)
    assert found["nDCG@5"] == pytest.approx(report.cascade.ndcg)
    assert sum(stage.flops for stage in ran.stages) / 30 == pytest.approx(report.cascade.cost)
    assert ran.cost.full_flops / 30 == report.full.cost
    assert [row.candidates * 30 for row in report.stages] == [stage.candidates_in for stage in ran.stages]
    assert report.cascade.cost <= 0.8 * report.full.cost
    planned = read_config(out).plan
    assert planned is not None
    assert (planned.recall, planned.cost, planned.unit) == (report.cascade.recall, report.cascade.cost, "FLOPs")


def test_an_unjudged_candidate_is_not_relevant_to_the_plan_as_to_the_measures(
    tmp_path: Path, model: Path, labelled: pl.DataFrame
) -> None:
    rng = np.random.default_rng(0)
    hidden = pl.Series(rng.random(len(labelled)) < 0.3) | (labelled["qid"] == 4)
    some = labelled.with_columns(label=pl.when(hidden).then(None).otherwise("label"))
    none = some.with_columns(pl.col("label").fill_null(0.0))
    reports = []
    for name, frame in (("some", some), ("none", none)):
        write_candidates(frame, tmp_path / f"{name}.parquet")
        request = PlanRequest(model, tmp_path / f"{name}.parquet", tmp_path / f"{name}.toml", cost="70%", final_k=5)
        reports.append(plan_cascade(request))
    assert reports[0].plan == reports[1].plan
    run_cascade(RunRequest(tmp_path / "some.toml", tmp_path / "some.parquet", tmp_path / "out.parquet"))
    kept = pl.read_parquet(tmp_path / "out.parquet").filter("kept")
    found = evaluate(kept, some, ["R@5", "nDCG@5"], without_relevant="skip").means
    assert found["R@5"] == pytest.approx(reports[0].cascade.recall)
    assert found["nDCG@5"] == pytest.approx(reports[0].cascade.ndcg)


def test_the_full_network_on_everything_is_its_own_ranking(
    tmp_path: Path, model: Path, table: Path, labelled: pl.DataFrame
) -> None:
    report = plan_cascade(PlanRequest(model, table, tmp_path / "c.toml", recall=0.3))
    ranker = Ranker.load(model / "model.safetensors")
    scores = ranker.scores({name: labelled[name].to_numpy() for name in ranker.columns})[-1]
    ranking = labelled.select("qid", "docid").with_columns(score=pl.Series(scores))
    means = evaluate(ranking, labelled, ["R@10", "nDCG@10"]).means
    assert report.full.recall == pytest.approx(means["R@10"])
    assert report.full.ndcg == pytest.approx(means["nDCG@10"])
    assert report.full.cost == 20 * ranker.flops(1.0)


def test_the_frontier_lies_beside_the_plan(tmp_path: Path, model: Path, table: Path) -> None:
    report = plan_cascade(PlanRequest(model, table, tmp_path / "c.toml", recall=0.4))
    with (tmp_path / "c.frontier.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report.frontier) > 1
    assert all(float(a["cost"]) < float(b["cost"]) for a, b in pairwise(rows))
    assert all(float(a["recall"]) < float(b["recall"]) for a, b in pairwise(rows))
    cheapest = min(float(row["cost"]) for row in rows if float(row["recall"]) >= 0.4)
    assert report.plan.cost <= cheapest + 1e-9
    assert {rate for row in rows for rate in row["rates"].split()} <= {"0.25", "0.5", "1"}
    assert (tmp_path / "c.frontier.png").read_bytes().startswith(b"\x89PNG")


def test_a_promise_is_written_down(tmp_path: Path, model: Path, table: Path) -> None:
    out = tmp_path / "c.toml"
    report = plan_cascade(PlanRequest(model, table, out, recall=0.1, confidence=0.8))
    planned = read_config(out).plan
    assert planned is not None
    assert report.promise is not None
    assert (planned.promised, planned.confidence) == (0.1, 0.8)
    assert planned.theorem == report.promise.theorem
    with pytest.raises(PromiseError, match="can't be promised"):
        plan_cascade(PlanRequest(model, table, tmp_path / "d.toml", recall=0.99, confidence=0.99))
    assert not (tmp_path / "d.toml").exists()


def test_the_model_is_found_from_another_folder(tmp_path: Path, model: Path, table: Path) -> None:
    (tmp_path / "plans").mkdir()
    plan_cascade(PlanRequest(model, table, tmp_path / "plans" / "c.toml", recall=0.3))
    assert read_config(tmp_path / "plans" / "c.toml").model == "../model/model.safetensors"
    run_cascade(RunRequest(tmp_path / "plans" / "c.toml", table, tmp_path / "out.parquet"))


def test_flops_are_those_that_a_session_spends(model: Path) -> None:
    ranker = Ranker.load(model / "model.safetensors")
    costs = flop_costs(ranker)
    assert costs.scratch == tuple(ranker.flops(rate) for rate in ranker.rates)
    features = np.random.default_rng(0).standard_normal((5, 6))
    inputs = ranker.inputs({name: features[:, i] for i, name in enumerate(ranker.columns)})
    session = IncrementalScorer(ranker.network).start(*inputs)
    spent = []
    for rate in ranker.rates:
        session.widen(rate)
        spent.append(session.flops)
    assert list(costs.path((0, 1, 2))) == spent


def test_a_step_to_where_a_segment_begins_costs_a_whole_pass_but_for_the_trunk() -> None:
    rates = (0.25, 0.5, 1.0)
    spec = convert(mlp([6, 512, 128, 512, 512, 1]), rates, "dense").spec
    transform = FeatureTransform.fit(np.random.default_rng(0).normal(size=(9, 6)), names=list("abcdef"))

    def costs(connectivity: str) -> StageCosts:
        network = SlicedNetwork(spec, rates, connectivity).eval()
        return flop_costs(Ranker(network, transform, dict.fromkeys("abcdef", 1), {}))

    front, rest = 6 * 512 + 512 * 128, 128 * 512 + 512 * 512 + 512
    plain, trunk = costs("mixed@1"), costs("mixed@1,0=trunk,2=trunk")
    for each in (plain, trunk):
        assert each.of(-1, 2) == front + rest
        assert each.of(0, 1) == each.of(-1, 1) - each.of(-1, 0)
    assert [plain.of(start, 2) for start in (0, 1)] == [front + rest] * 2
    assert [trunk.of(start, 2) for start in (0, 1)] == [rest] * 2


def test_milliseconds_are_measured_for_every_step(model: Path, labelled: pl.DataFrame) -> None:
    costs = measured_costs(Ranker.load(model / "model.safetensors"), labelled, repeats=1)
    assert costs.unit == "ms"
    assert all(cost > 0 for cost in costs.scratch)
    assert costs.increment is not None
    assert all(costs.increment[j][k] > 0 for j in range(3) for k in range(j + 1, 3))
    with pytest.raises(CascadeError, match="at least 2 candidates, got 1"):
        measured_costs(Ranker.load(model / "model.safetensors"), labelled.head(1))


def test_a_cost_is_a_number_or_a_share() -> None:
    assert cost_of("25%", 200.0) == 50.0
    assert cost_of("1e3", 200.0) == 1000.0
    with pytest.raises(CascadeError, match="'cheap'"):
        cost_of("cheap", 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "either a recall or a cost"),
        ({"recall": 0.5, "cost": "5"}, "either a recall or a cost"),
        ({"cost": "50%", "confidence": 0.9}, "--confidence goes with a recall"),
        ({"recall": 0.5, "metric": "ndcg"}, "best for a cost"),
        ({"recall": 0.5, "confidence": 0.9, "last": "any"}, "end with the full network"),
    ],
)
def test_goals_that_contradict_themselves_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(CascadeError, match=said):
        PlanRequest(Path("m"), Path("t"), Path("c.toml"), **options)  # type: ignore[arg-type]


def test_what_can_not_be_planned_leaves_no_file(
    tmp_path: Path, model: Path, table: Path, labelled: pl.DataFrame
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_candidates(labelled.rename({"label": "lable"}), tmp_path / "bare.parquet")
    with pytest.raises(DataError, match=r"unable to find column 'label'; valid columns: .* Did you mean 'lable'"):
        plan_cascade(PlanRequest(model, tmp_path / "bare.parquet", out / "c.toml", recall=0.5))
    with pytest.raises(CascadeError, match="no cascade costs as little"):
        plan_cascade(PlanRequest(model, table, out / "c.toml", cost="1"))
    with pytest.raises(CascadeError, match=r"ends in \.toml"):
        plan_cascade(PlanRequest(model, table, out / "c.txt", recall=0.5))
    write_candidates(labelled.drop("f6"), tmp_path / "short.parquet")
    with pytest.raises(DataError, match="unable to find column 'f6'"):
        plan_cascade(PlanRequest(model, tmp_path / "short.parquet", out / "c.toml", recall=0.5))
    assert not list(out.iterdir())


TIERS = '[[tier]]\nrate = 1.0\ncost = 3\nfeatures = ["f4"]\n'


@pytest.mark.parametrize("tiers", [False, True])
def test_a_plan_knows_the_queries_that_its_model_was_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiers: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiers.toml").write_text(TIERS)
    # the same ids and labels over and over: only the features tell the data sets apart
    for name, first in (("train", 0), ("fresh", 40)):
        frame = synthetic(40, 10, 4, first_query=first).with_columns(pl.col("qid") - first, label=pl.col("docid") % 2)
        write_candidates(frame, f"{name}.parquet")
        frame.sample(fraction=1.0, shuffle=True, seed=1).write_csv(f"{name}.csv")
    words = ["--tiers", "tiers.toml"] if tiers else []
    train = ["train", "train.parquet", "--rates", "0.5,1.0", "--hidden", "8,8", "--epochs", "1", "--quiet", *words]
    assert CliRunner().invoke(cli.main, [*train, "--out", "model"]).exit_code == 0
    _, held = split_by_query(pl.read_parquet("train.parquet"), (0.8, 0.2), 0)
    write_candidates(held, "held.parquet")
    exported = ["export", "model", "--rate", "0.5", "--out", "half"]
    assert CliRunner().invoke(cli.main, exported).exit_code == 0

    def planned(model: str, table: str, *more: str) -> Result:
        words = ["plan", model, table, "--recall", "0.1", "--quiet", "--out", "c.toml", *more]
        return CliRunner().invoke(cli.main, words)

    for model in ("model", "half", "model/model.safetensors"):
        for table in ("train.parquet", "train.csv"):
            told = planned(model, table)
            assert told.exit_code == 0
            assert (
                f"warning: 32 of 40 queries compared in {table} are ones that the model was trained on" in told.stderr
            )
            Path("c.toml").unlink()
            refused = planned(model, table, "--confidence", "0.5")
            assert refused.exit_code == 2
            assert f"not trained on, 32 of 40 queries compared in {table}" in refused.stderr.splitlines()[-1]
            assert not Path("c.toml").exists()
        for more in ((), ("--confidence", "0.5")):
            fresh, chosen = planned(model, "fresh.parquet", *more), planned(model, "held.parquet", *more)
            assert (fresh.exit_code, fresh.stderr, chosen.exit_code) == (0, "", 0)
            assert ("8 of 8 queries compared in held.parquet" in chosen.stderr) == bool(more)

"""The ranking simulation end to end on a small synthetic table, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from cascade import Cascade, CascadeError, TopK, TopShare, check_scorer, score_all
from cli import main
from data import synthetic
from simulations.nesting import system_settings
from simulations.ranking import simulate_ranking
from simulations.ranking_folds import joined_results, joined_scores, mean_by_seed, mean_over_seeds, of_run
from simulations.ranking_settings import CONTROLLED, SYSTEMS, RankingSettings
from simulations.ranking_systems import Fitter, FoldData, _rising
from simulations.settings import CascadeSettings
from simulations.sliced_systems import SLICED_SYSTEMS, system_changes
from slicing import RankerSettings

SMALL = RankerSettings(rates=(0.25, 0.5, 1.0), hidden=(16, 16), epochs=2)
KEEP = (0.5, 0.3)


@pytest.fixture(scope="module")
def fold():
    parts = [
        synthetic(40, 25, 6, first_query=first).drop("ideal").with_columns(group=pl.col("docid") % 5)
        for first in (0, 100, 200)
    ]
    numeric = tuple(name for name in parts[0].columns if name.startswith("f"))
    return FoldData(1, *parts, numeric, ("group",))


@pytest.fixture(scope="module")
def fitter(fold, tmp_path_factory):
    out = tmp_path_factory.mktemp("ranking")
    return Fitter(RankingSettings(out, keep=KEEP, ranker=SMALL, trees=30), fold, None)


@pytest.mark.parametrize("system", [*SYSTEMS, *CONTROLLED])
def test_every_system_is_a_scorer_that_keeps_the_protocol(fitter, fold, system):
    """And only a dense network with approximate reuse has scores that depend on the stages before."""
    trained = fitter.fit(system)
    assert len(trained.scorer.stages) == 3
    measured = check_scorer(lambda: trained.scorer, fold.test)
    assert (max(measured.reuse_error) > 1e-3) == system.endswith("-reuse")


def test_dense_networks_cost_what_separate_ones_do_and_approximate_reuse_less(fitter, fold):
    rules = [TopShare(0.5), TopShare(0.3), TopK(3)]

    def spent(system):
        return [stage.flops for stage in Cascade(fitter.fit(system).scorer, rules).run(fold.test).stages]

    separate, dense, reused, mixed, nested = map(
        spent, ("separate", "dense-sampled", "dense-sampled-reuse", "mixed", "sliced-nested")
    )
    assert dense == separate
    assert reused[0] == dense[0]
    assert all(a < b for a, b in zip(reused[1:], dense[1:], strict=True))
    assert mixed == [*nested[:2], separate[2]]  # the last rate recomputed, all units reading all


def test_the_wider_nested_cascade_keeps_more_for_what_it_may_spend(fitter, fold):
    nested, wider = fitter.fit("sliced-nested"), fitter.fit("nested-wider")
    assert wider.training == nested.training
    assert nested.rules == [TopShare(0.5), TopShare(0.3), TopK(10)]
    shares = [rule.share for rule in wider.rules[:-1]]
    assert shares[0] / 0.5 == pytest.approx(shares[1] / 0.3)
    assert shares[0] > 0.5
    separate = [info.flops for info in fitter.fit("separate").scorer.stages]
    own = nested.scorer.stages[0].flops, nested.increments[0][1], nested.increments[1][2]
    spent = own[0] + shares[0] * own[1] + shares[1] * own[2]
    usual = own[0] + 0.5 * own[1] + 0.3 * own[2]
    whole = separate[0] + 0.5 * separate[1] + 0.3 * separate[2]
    assert spent == pytest.approx(usual + 0.1 * (whole - usual))


@pytest.mark.parametrize(("keep", "reinvest", "shares"), [((0.99, 0.9), 1.0, (1.0, 1.0)), (KEEP, 0.0, KEEP)])
def test_the_wider_cascade_keeps_all_at_most_and_the_same_for_nothing(fitter, fold, keep, reinvest, shares):
    other = Fitter(replace(fitter.settings, keep=keep, reinvest=reinvest, resume=True), fold, None)
    assert other.wider_shares(other.fit("sliced-nested")) == pytest.approx(shares)


def test_a_reinvestment_out_of_range_is_refused(tmp_path):
    with pytest.raises(CascadeError, match=r"reinvest must be a share in \[0, 1\], got 1\.5; try 0\.1"):
        simulate_ranking(RankingSettings(tmp_path, reinvest=1.5), "x")


def test_systems_that_share_a_network_train_it_once(fitter):
    dense, reused = fitter.fit("dense-sampled"), fitter.fit("dense-sampled-reuse")
    assert dense.training == reused.training
    assert set(fitter.fit("linear-first").training) == {"separate-0.5", "separate-1"}


def test_rankers_are_trained_as_the_systems_of_the_nesting_comparison(tmp_path):
    for name in SLICED_SYSTEMS:
        base = CascadeSettings(out=tmp_path, rates=SMALL.rates)
        images, changes = system_settings(name, base, 1.0), system_changes(name, SMALL.rates)
        assert (changes.pop("connectivity"),) == images.connectivity
        assert changes.items() <= vars(images).items()
        replace(SMALL, **changes).training_scheme()  # a setting that the scheme has no use for is refused


def test_separate_rankers_have_the_nested_networks_widths_and_its_narrowest_cost(fitter):
    nested, separate = fitter.fit("sliced-nested").scorer, fitter.fit("separate").scorer
    assert [info.rate for info in separate.stages] == [0.25, 0.5, 1.0]
    assert separate.stages[0].flops == nested.stages[0].flops
    assert all(n.flops < s.flops for n, s in list(zip(nested.stages, separate.stages, strict=True))[1:])
    assert separate.params_held == sum(info.params for info in separate.stages)


def test_folds_joined_are_the_sum_of_the_folds(fitter, fold):
    trained = fitter.fit("sliced-nested")
    rules = [TopShare(0.5), TopShare(0.3), TopK(3)]
    results = [Cascade(trained.scorer, rules).run(part) for part in (fold.test, fold.validation)]
    scores = [score_all(trained.scorer, part) for part in (fold.test, fold.validation)]
    named = [
        type(result)(of_run(result.frame, f"0/{k}"), result.stages, result.seconds, result.params_held)
        for k, result in enumerate(results)
    ]
    joined = joined_results(named)
    assert len(joined.frame) == sum(len(result.frame) for result in results)
    assert joined.frame["qid"].n_unique() == 80
    for k, stage in enumerate(joined.stages):
        assert stage.candidates_out == sum(result.stages[k].candidates_out for result in results)
        assert stage.flops == results[0].stages[k].flops
        assert stage.seconds == pytest.approx(sum(result.stages[k].seconds for result in results))
    every = joined_scores([type(s)(of_run(s.frame, f"0/{k}"), s.stages) for k, s in enumerate(scores)])
    assert every.frame.select("qid", "docid").equals(every.frame.select("qid", "docid").sort("qid", "docid"))


def test_means_over_seeds_and_by_seed_are_the_plain_means():
    per_query = pl.DataFrame({"qid": ["3/1/a/b", "3/2/a/b", "4/1/a/b", "4/2/a/b"], "nDCG": [0.1, 0.2, 0.5, 1.0]})
    over = mean_over_seeds(per_query)
    assert over["qid"].to_list() == ["1/a/b", "2/a/b"]
    assert over["nDCG"].to_list() == pytest.approx([0.3, 0.6])
    by = mean_by_seed(per_query)
    assert by["seed"].to_list() == ["3", "4"]
    assert by["nDCG"].to_list() == pytest.approx([0.15, 0.75])


def test_seeds_are_trained_apart_and_compared_query_by_query(tmp_path):
    """Two seeds are the two runs of one seed each: measures are their means, queries count once."""
    settings = RankingSettings(tmp_path, keep=KEEP, ranker=SMALL, systems=("sliced-nested", "trees-prefix"), trees=10)
    both = simulate_ranking(replace(settings, out=tmp_path / "both", seeds=2), "test")
    tables = tmp_path / "both" / "data"  # the second seed alone would draw another synthetic table
    apart = [
        simulate_ranking(
            replace(settings, out=tmp_path / f"{seed}", data="prepared", data_dir=tables, seed=seed), "test"
        )
        for seed in (0, 1)
    ]
    assert both["data"]["seeds"] == [0, 1]
    assert both["data"]["queries"] == 2 * apart[0]["data"]["queries"]
    names = ("nDCG(dcg='exp-log2')@10", "joint recall")
    for k, system in enumerate(both["protocols"]["ranking"]["systems"]):
        single = [report["protocols"]["ranking"]["systems"][k] for report in apart]
        assert system["measured_queries"] == single[0]["measured_queries"]
        for name in names:
            values = [each["measures"][name] for each in single]
            assert k or values[0] != values[1]  # the trees draw nothing
            assert [row[name] for row in system["measures_by_seed"]] == pytest.approx(values)
            assert system["measures"][name] == pytest.approx(np.mean(values))
    rows, *single = (pl.read_csv(tmp_path / name / "ranking.csv").drop("train_seconds") for name in ("both", "0", "1"))
    alone = pl.concat([each.with_columns(data=pl.lit("synthetic")) for each in single]).sort("system", "seed", "rate")
    assert_frame_equal(rows.sort("system", "seed", "rate"), alone, abs_tol=1e-9)
    for row in both["comparisons"]:
        assert row["queries"] == apart[0]["comparisons"][0]["queries"]
    assert (tmp_path / "both" / "seed1" / "models" / "fold1" / "sliced-nested.safetensors").exists()


def test_counts_of_trees_rise_strictly_and_end_in_the_last():
    assert _rising([4, 8, 15, 30], 30) == [4, 8, 15, 30]
    assert _rising([1, 1, 2, 4], 4) == [1, 2, 3, 4]
    assert _rising([1, 2, 3, 6], 4) == [1, 2, 3, 4]
    with pytest.raises(CascadeError, match="at least 4 trees, early stopping left 3"):
        _rising([1, 1, 2, 3], 3)


def test_the_command_writes_the_report_and_prints_the_tables(tmp_path):
    arguments = ["simulate", "ranking", "--hidden", "16,16", "--rates", "0.5,1.0", "--keep", "0.5", "--epochs", "1"]
    arguments += ["--trees", "10", "--quiet", "--out", str(tmp_path)]
    ran = CliRunner().invoke(main, arguments)
    assert ran.exit_code == 0, ran.output
    assert "Differences, query by query" in ran.output
    report = json.loads((tmp_path / "report.json").read_text())
    systems = report["protocols"]["ranking"]["systems"]
    assert [system["name"] for system in systems] == list(SYSTEMS)
    for system in systems:
        assert system["stages"][0]["candidates_in"] == report["data"]["candidates"]
        assert 0 < system["measures"]["joint recall"] < 1
        assert ("cost_unit" in system) == system["name"].startswith("trees")
        hits = system["hit_rate"]["HR@10"][0]
        for figure in (hits["alone"], hits["joint"], system["kendall_tau"][0][1]):
            assert f"{figure:.4f}" in ran.output
            assert f"{figure:.4f}" in (tmp_path / "report.html").read_text()
        assert [row["queries"] for row in system["recall_at_k"]] == [system["measured_queries"]] * 2
    assert {row["baseline"] for row in report["comparisons"]} == {"sliced-nested"}
    curve = report["protocols"]["ranking"]["curves"][0]["series"][0]
    assert np.all(np.diff(curve["x"]) > 0)
    assert np.all(np.diff(curve["y"]) > 0)
    assert "Joint recall against cost" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "models" / "fold1" / "sliced-nested.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keep": (0.5,)}, "a share for each stage but the last, 2 in all"),
        ({"data": "mq2008"}, "pass --data-dir"),
        ({"systems": ("none",)}, "systems must be some of"),
        ({"folds": (3,)}, "has folds 1 to 1, got 3"),
    ],
)
def test_bad_settings_are_refused_in_one_line(tmp_path, change, words):
    settings = {"keep": KEEP, "ranker": SMALL, **change}
    with pytest.raises(CascadeError, match=words) as refused:
        simulate_ranking(RankingSettings(tmp_path, **settings), "slicerank simulate ranking")
    assert "\n" not in str(refused.value)

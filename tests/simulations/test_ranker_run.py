"""A run is what its cascade file says, however it is cut into parts, and it can be interrupted."""

import errno
from dataclasses import replace
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cascade import Cascade, CascadeConfig, CascadeError, KeepRule, StageConfig, TopK, TopShare, write_config
from data import DataError, read_run, write_candidates
from simulations.ranker_costs import flop_costs
from simulations.ranker_run import RunRequest, run_cascade
from slicing import Ranker

RULES: dict[float, KeepRule] = {0.25: TopShare(0.45), 0.5: TopK(6), 1.0: TopK(3)}


@pytest.fixture
def cascade(tmp_path: Path, model: Path) -> Path:
    path = tmp_path / "cascade.toml"
    stages = tuple(StageConfig(rate, rule) for rate, rule in RULES.items())
    write_config(path, CascadeConfig("model/model.safetensors", stages))
    return path


def by_hand(frame: pl.DataFrame, model: Path, second: dict[int, int] | None = None) -> pl.DataFrame:
    """The same cascade query by query and candidate by candidate. second: another k of the second stage by query."""
    ranker = Ranker.load(model / "model.safetensors")
    frame = frame.sort("qid", "docid")
    every = ranker.scores({name: frame[name].to_numpy() for name in ranker.columns})
    rows = []
    for (qid,), part in frame.with_row_index().group_by("qid", maintain_order=True):
        alive = part["index"].to_list()
        doc = dict(zip(part["index"], part["docid"], strict=True))
        k = 6 if second is None else second.get(int(qid), 6)  # type: ignore[call-overload]
        order: list[int] = []
        stage_of, kept = {}, []
        for stage, count in enumerate((ceil(0.45 * len(part)), k, 3)):
            for row in alive:
                stage_of[row] = stage
            ranked = sorted(alive, key=lambda row: (-every[stage, row], doc[row]))
            alive, dropped = ranked[:count], ranked[count:]
            order = dropped + order
            kept = alive
        order = alive + order
        for rank, row in enumerate(order, start=1):
            stage = stage_of[row]
            scores = [float(every[s, row]) if s <= stage else None for s in range(3)]
            rows.append((qid, doc[row], rank, scores[stage], stage, *scores, row in kept))
    names = ["qid", "docid", "rank", "score", "stage", "score_0.25", "score_0.5", "score_1", "kept"]
    return pl.DataFrame(rows, schema=names, orient="row").sort("qid", "rank")


def ran(request: RunRequest) -> pl.DataFrame:
    run_cascade(request)
    return pl.read_parquet(request.out, glob=False)


@pytest.mark.parametrize("rows", [1, 45, 10_000])
def test_a_run_is_the_cascade_done_by_hand(
    tmp_path: Path, cascade: Path, model: Path, table: Path, labelled: pl.DataFrame, rows: int
) -> None:
    found = ran(RunRequest(cascade, table, tmp_path / "out.parquet", rows=rows))
    expected = by_hand(labelled, model)
    assert found.columns == expected.columns
    assert_frame_equal(found, expected, check_dtypes=False, abs_tol=1e-5)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("suffix", [".parquet", ".run"])
def test_the_final_cut_alone_is_what_a_whole_run_keeps(
    tmp_path: Path, cascade: Path, model: Path, table: Path, labelled: pl.DataFrame, suffix: str
) -> None:
    whole, cut = (RunRequest(cascade, table, tmp_path / f"{name}{suffix}", rows=45) for name in ("whole", "cut"))
    cut = replace(cut, only_kept=True)
    reports = run_cascade(whole), run_cascade(cut)
    kept = by_hand(labelled, model).filter("kept")
    if suffix == ".run":  # whose scores fall by one with the rank, from the number of candidates
        names = ["qid", "docid", "rank"]
        expected = kept.select(pl.col("qid", "docid").cast(pl.String), pl.col("rank").cast(pl.Int64))
        assert read_run(cut.out).select(names).rows() == expected.rows()
    else:
        expected = pl.read_parquet(whole.out).filter("kept").drop("stage", "kept")
        assert pl.read_parquet(cut.out).equals(expected)
        assert len(expected) == len(kept)
    assert reports[0].candidates == reports[1].candidates == len(labelled)
    assert reports[0].cost == reports[1].cost


def test_a_cascade_may_name_its_models_folder(tmp_path: Path, cascade: Path, table: Path) -> None:
    (tmp_path / "folder.toml").write_text(cascade.read_text().replace("model/model.safetensors", "model"))
    expected = ran(RunRequest(cascade, table, tmp_path / "a.parquet"))
    assert ran(RunRequest(tmp_path / "folder.toml", table, tmp_path / "b.parquet")).equals(expected)


def test_the_order_of_the_rows_does_not_matter(
    tmp_path: Path, cascade: Path, table: Path, labelled: pl.DataFrame
) -> None:
    write_candidates(labelled.sample(fraction=1.0, shuffle=True, seed=4), tmp_path / "scattered.parquet")
    ordered = ran(RunRequest(cascade, table, tmp_path / "a.parquet", rows=100))
    scattered = ran(RunRequest(cascade, tmp_path / "scattered.parquet", tmp_path / "b.parquet", rows=100))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert ordered.equals(scattered)


def test_the_account_is_of_all_parts(tmp_path: Path, cascade: Path, model: Path, table: Path) -> None:
    report = run_cascade(RunRequest(cascade, table, tmp_path / "out.parquet", rows=100))
    ranker = Ranker.load(model / "model.safetensors")
    assert [stage.candidates_in for stage in report.stages] == [30 * 20, 30 * 9, 30 * 6]
    assert [stage.candidates_out for stage in report.stages] == [30 * 9, 30 * 6, 30 * 3]
    assert report.stages[0].flops == 30 * 20 * ranker.flops(0.25)
    assert (report.candidates, report.queries, report.resumed) == (600, 30, 0)
    assert report.cost.full_flops == 600 * ranker.flops(1.0)


def test_a_trec_run_has_the_same_order(tmp_path: Path, cascade: Path, table: Path) -> None:
    ranking = ran(RunRequest(cascade, table, tmp_path / "out.parquet"))
    run_cascade(RunRequest(cascade, table, tmp_path / "out.run", rows=50))
    trec = read_run(tmp_path / "out.run")
    assert trec["rank"].to_list() == ranking["rank"].to_list()
    assert trec["docid"].to_list() == ranking["docid"].cast(pl.String).to_list()
    falls = trec.sort("qid", "score", descending=[False, True])
    assert falls.select("qid", "rank").equals(trec.sort("qid", "rank").select("qid", "rank"))


def test_a_column_replaces_a_cutoff_where_it_has_a_value(
    tmp_path: Path, cascade: Path, model: Path, labelled: pl.DataFrame
) -> None:
    wanted = {0: 4, 3: 8, 7: 3}
    budget = pl.col("qid").replace_strict(wanted, default=None, return_dtype=pl.Int64)
    write_candidates(labelled.with_columns(budget=budget), tmp_path / "own.parquet")
    request = RunRequest(cascade, tmp_path / "own.parquet", tmp_path / "out.parquet", {0.5: "budget"}, rows=100)
    assert_frame_equal(ran(request), by_hand(labelled, model, wanted), check_dtypes=False, abs_tol=1e-5)
    with pytest.raises(CascadeError, match=r"no stage has rate 0.75"):
        run_cascade(RunRequest(cascade, tmp_path / "own.parquet", tmp_path / "x.parquet", {0.75: "budget"}))
    with pytest.raises(DataError, match=r"'budgt'.*Did you mean 'budget'"):
        run_cascade(RunRequest(cascade, tmp_path / "own.parquet", tmp_path / "x.parquet", {0.5: "budgt"}))


def test_a_budget_column_bounds_what_each_query_costs(
    tmp_path: Path, cascade: Path, model: Path, labelled: pl.DataFrame
) -> None:
    ranker = Ranker.load(model / "model.safetensors")
    path = flop_costs(ranker).path((0, 1, 2))
    planned = 20 * path[0] + 9 * path[1] + 6 * path[2]
    wanted = {0: planned, 1: planned - 1, 2: 20 * sum(path), 3: 20 * path[0] + path[1] + path[2], 4: 20 * path[0]}
    budget = pl.col("qid").replace_strict(wanted, default=None, return_dtype=pl.Int64)
    write_candidates(labelled.with_columns(budget=budget), tmp_path / "own.parquet")
    request = RunRequest(cascade, tmp_path / "own.parquet", tmp_path / "out.parquet", budget="budget", rows=100)
    report = run_cascade(request)
    found = pl.read_parquet(tmp_path / "out.parquet")
    each = pl.col("stage").replace_strict(dict(enumerate(np.cumsum(path))), return_dtype=pl.Float64)
    costs = dict(found.group_by("qid").agg(each.sum()).rows())
    assert {qid: costs[qid] for qid in (0, 2, 3, 4)} == {qid: wanted[qid] for qid in (0, 2, 3, 4)}
    assert costs[1] < planned
    assert all(costs[qid] == planned for qid in range(5, 30))
    assert sum(stage.flops for stage in report.stages) == sum(costs.values())
    ordinary = by_hand(labelled, model).filter(pl.col("qid") != 1, pl.col("qid").is_between(2, 4).not_())
    assert_frame_equal(found.join(ordinary, on="qid", how="semi"), ordinary, check_dtypes=False, abs_tol=1e-5)
    write_candidates(labelled.with_columns(budget=pl.lit(int(20 * path[0]) - 1)), tmp_path / "low.parquet")
    with pytest.raises(CascadeError, match=r"'budget' must hold whole numbers of at least .* for 20 candidates"):
        run_cascade(RunRequest(cascade, tmp_path / "low.parquet", tmp_path / "x.parquet", budget="budget"))
    assert not list(tmp_path.glob("*x.parquet*"))


@pytest.mark.parametrize("dtype", [pl.Int32, pl.UInt64, pl.Float64])
def test_a_cutoff_may_be_a_feature_of_the_model_too(
    tmp_path: Path, cascade: Path, model: Path, labelled: pl.DataFrame, dtype: pl.DataType
) -> None:
    wanted = {qid: 2 + qid % 7 for qid in range(30)}
    own = labelled.with_columns(f3=pl.col("qid").replace_strict(wanted, return_dtype=dtype))
    write_candidates(own, tmp_path / "own.parquet")
    request = RunRequest(cascade, tmp_path / "own.parquet", tmp_path / "out.parquet", {0.5: "f3"}, rows=100)
    assert_frame_equal(ran(request), by_hand(own, model, wanted), check_dtypes=False, abs_tol=1e-5)
    whole = own.with_columns(f3=pl.lit(10**12))
    write_candidates(whole, tmp_path / "own.parquet")
    budget = RunRequest(cascade, tmp_path / "own.parquet", tmp_path / "out.parquet", budget="f3")
    assert all(stage.candidates_out == 600 for stage in run_cascade(budget).stages[:2])


def test_whatever_the_labels_are_they_are_not_looked_at(
    tmp_path: Path, cascade: Path, table: Path, labelled: pl.DataFrame
) -> None:
    expected = ran(RunRequest(cascade, table, tmp_path / "out.parquet"))
    for number, label in enumerate((pl.lit(None), pl.lit("good"), pl.lit(-1.0), pl.lit(float("nan")))):
        write_candidates(labelled.with_columns(label=label), tmp_path / f"{number}.parquet")
        assert ran(RunRequest(cascade, tmp_path / f"{number}.parquet", tmp_path / "out.parquet")).equals(expected)


class Interrupted:
    """Cascade.run, that raises KeyboardInterrupt at one call and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int | None) -> None:
        self.calls, self.at, self.real = 0, at, Cascade.run
        monkeypatch.setattr(Cascade, "run", lambda cascade, *args, **kwargs: self(cascade, *args, **kwargs))

    def __call__(self, cascade: Cascade, *args: object, **kwargs: object) -> object:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.real(cascade, *args, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".parquet", ".run"])
def test_an_interrupted_run_goes_on_to_the_same_file(tmp_path: Path, cascade: Path, table: Path, suffix: str) -> None:
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    expected = run_cascade(RunRequest(cascade, table, whole, rows=100))
    with pytest.MonkeyPatch.context() as patch:
        Interrupted(patch, at=4)
        with pytest.raises(KeyboardInterrupt):
            run_cascade(RunRequest(cascade, table, cut, rows=100))
    assert not cut.exists()
    with pytest.MonkeyPatch.context() as patch:
        counted = Interrupted(patch, at=None)
        report = run_cascade(RunRequest(cascade, table, cut, rows=100, resume=True))
    assert counted.calls == 3  # of 6 parts, 3 were there
    assert report.resumed == 300
    assert [stage.flops for stage in report.stages] == [stage.flops for stage in expected.stages]
    assert whole.read_bytes() == cut.read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("what", ["table", "model", "cascade", "rows at a time"])
def test_a_changed_input_refuses_to_resume(
    tmp_path: Path, cascade: Path, model: Path, table: Path, labelled: pl.DataFrame, what: str
) -> None:
    out, rows = tmp_path / "out.parquet", 100
    with pytest.MonkeyPatch.context() as patch:
        Interrupted(patch, at=3)
        with pytest.raises(KeyboardInterrupt):
            run_cascade(RunRequest(cascade, table, out, rows=rows))
    if what == "table":
        write_candidates(labelled.with_columns(f1=-pl.col("f1")), table)
    elif what == "model":
        file = model / "model.safetensors"
        Ranker.load(file).save(file, {"again": 1})
    elif what == "cascade":
        cascade.write_text(cascade.read_text().replace("value = 6", "value = 5"))
    else:
        rows = 50
    with pytest.raises(CascadeError, match=f"can't resume: the {what} changed"):
        run_cascade(RunRequest(cascade, table, out, rows=rows, resume=True))
    assert not out.exists()
    run_cascade(RunRequest(cascade, table, out, rows=rows))  # without resume it starts over
    assert out.exists()
    assert not list(tmp_path.glob(".*"))


def test_bad_input_late_in_the_table_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, cascade: Path, labelled: pl.DataFrame
) -> None:
    out = tmp_path / "out.parquet"
    out.write_bytes(b"old")
    late = pl.when(pl.col("qid") == 25).then(float("nan")).otherwise("f2").alias("f2")
    write_candidates(labelled.with_columns(late), tmp_path / "bad.parquet")
    place = r"bad\.parquet: 'f2' is missing in query 25, candidate 0; it never was in training"
    with pytest.raises(ValueError, match=place):
        run_cascade(RunRequest(cascade, tmp_path / "bad.parquet", out, rows=100))
    assert out.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*"))


def test_a_cascade_of_rates_that_the_model_lacks_is_refused(tmp_path: Path, model: Path, table: Path) -> None:
    path = tmp_path / "other.toml"
    write_config(path, CascadeConfig("model/model.safetensors", (StageConfig(0.75, TopK(3)),)))
    with pytest.raises(CascadeError, match=r"uses rate 0.75, the model has \[0.25, 0.5, 1.0\]"):
        run_cascade(RunRequest(path, table, tmp_path / "out.parquet"))
    with pytest.raises(CascadeError, match=r"must end in \.parquet, \.trec or \.run"):
        run_cascade(RunRequest(path, table, tmp_path / "out.json"))


def test_features_in_one_list_column_give_the_same_ranking(
    tmp_path: Path, cascade: Path, model: Path, labelled: pl.DataFrame
) -> None:
    names = [f"f{index + 1}" for index in range(6)]
    listed = labelled.select("qid", "docid", features=pl.concat_list(names))
    write_candidates(listed, tmp_path / "listed.parquet")
    ranker = Ranker.load(model / "model.safetensors")  # whose columns then are f0 to f5
    renamed = Ranker(ranker.network, ranker.transform, {f"f{i}": 1 for i in range(6)}, {})
    expected = by_hand(labelled, model)
    renamed.save(model / "model.safetensors")
    found = ran(RunRequest(cascade, tmp_path / "listed.parquet", tmp_path / "out.parquet"))
    assert np.allclose(found["score"], expected["score"], atol=1e-5)
    assert found["docid"].to_list() == expected["docid"].to_list()


def interrupt(request: RunRequest, at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Interrupted(patch, at=at)
        with pytest.raises(KeyboardInterrupt):
            run_cascade(request)


@pytest.mark.parametrize("scattered", [True, False])
def test_a_path_is_taken_to_the_letter(
    tmp_path: Path, cascade: Path, table: Path, labelled: pl.DataFrame, scattered: bool
) -> None:
    expected = ran(RunRequest(cascade, table, tmp_path / "out.parquet", rows=100))
    folder = tmp_path / "r[2] *"
    folder.mkdir()
    write_candidates(labelled.sample(fraction=1, shuffle=True, seed=0) if scattered else labelled, folder / "t.parquet")
    other = labelled.with_columns(pl.col("qid") + 1000)
    write_candidates(other, tmp_path / "other.parquet")
    interrupt(RunRequest(cascade, tmp_path / "other.parquet", folder / "r1.parquet", rows=100), 4)
    found = ran(RunRequest(cascade, folder / "t.parquet", folder / "r[1].parquet", rows=100))
    assert found.equals(expected)  # and not what "r[1]" as a pattern would find, the parts of r1


@pytest.mark.parametrize("left", [0, 100])
def test_a_damaged_part_is_made_again(tmp_path: Path, cascade: Path, table: Path, left: int) -> None:
    expected = ran(RunRequest(cascade, table, tmp_path / "out.parquet", rows=100))
    request = RunRequest(cascade, table, tmp_path / "cut.parquet", rows=100)
    interrupt(request, 5)
    part = tmp_path / ".cut.parquet.parts" / "part-000003.arrow"
    part.write_bytes(part.read_bytes()[:left])
    assert run_cascade(replace(request, resume=True)).resumed == 200
    assert pl.read_parquet(request.out).equals(expected)


def test_a_full_disk_loses_no_part(tmp_path: Path, cascade: Path, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = RunRequest(cascade, table, tmp_path / "cut.parquet", rows=100)
    real, calls = pl.DataFrame.write_ipc, []

    def full(frame: pl.DataFrame, *args: object, **kwargs: object) -> object:
        calls.append(frame)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(frame, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(pl.DataFrame, "write_ipc", full)
    with pytest.raises(ValueError, match=r"No space left on device; free some space"):
        run_cascade(request)
    assert run_cascade(replace(request, resume=True)).resumed == 300

"""Ranked files against judgements: the numbers of ir_measures, whatever the files' formats."""

import json
from dataclasses import replace
from pathlib import Path

import ir_measures
import numpy as np
import polars as pl
import pytest

from cascade import CascadeError
from data import DataError, write_candidates, write_qrels, write_run
from simulations.evaluation import EvaluateRequest, evaluate_files


def ranking(labelled: pl.DataFrame, seed: int, skill: float = 1.0) -> pl.DataFrame:
    noise = np.random.default_rng(seed).standard_normal(len(labelled))
    return labelled.select("qid", "docid", score=skill * pl.col("label") + pl.Series(noise))


def expected(run: pl.DataFrame, labelled: pl.DataFrame, measures: list[str]) -> dict[str, float]:
    strings = [pl.col("qid", "docid").cast(pl.String)]
    run, judged = (frame.with_columns(strings) for frame in (run, labelled))
    qrels = [ir_measures.Qrel(q, d, int(label)) for q, d, label in judged.select("qid", "docid", "label").iter_rows()]
    docs = [ir_measures.ScoredDoc(q, d, s) for q, d, s in run.select("qid", "docid", "score").iter_rows()]
    wanted = [ir_measures.parse_measure(name) for name in measures]
    return {str(m): value for m, value in ir_measures.calc_aggregate(wanted, qrels, docs).items()}


@pytest.mark.parametrize("result", ["r.parquet", "r.csv", "r.run"])
@pytest.mark.parametrize("judgements", ["table.parquet", "j.qrels", "j.txt", "j.svmlight"])
def test_every_pair_of_formats_gives_the_numbers_of_ir_measures(
    tmp_path: Path, table: Path, labelled: pl.DataFrame, result: str, judgements: str
) -> None:
    run = ranking(labelled, 0)
    if result.endswith(".run"):
        write_run(run, tmp_path / result)
    elif result.endswith(".csv"):
        run.write_csv(tmp_path / result)
    else:
        run.rename({"docid": "doc_id"}).write_parquet(tmp_path / result)
    if judgements.endswith(".svmlight"):
        write_candidates(labelled, tmp_path / judgements)
    elif judgements.startswith("j"):
        write_qrels(labelled, tmp_path / judgements)
    names = ["nDCG@10", "RR", "AP(rel=2)", "P@5"]
    report = evaluate_files(EvaluateRequest((tmp_path / result,), tmp_path / judgements, tuple(names)))
    assert report.evaluations["r"].means == pytest.approx(expected(run, labelled, names), abs=1e-9)
    assert report.comparisons is None


def test_several_results_are_compared_pair_by_pair(tmp_path: Path, table: Path, labelled: pl.DataFrame) -> None:
    for seed, (name, skill) in enumerate({"good": 3.0, "fair": 1.0, "none": 0.0}.items()):
        ranking(labelled, seed, skill).write_parquet(tmp_path / f"{name}.parquet")
    files = tuple(tmp_path / f"{name}.parquet" for name in ("none", "fair", "good"))
    report = evaluate_files(EvaluateRequest(files, table, ("nDCG@10",), out=tmp_path / "n.json"))
    assert report.comparisons is not None
    assert report.comparisons.select("system", "baseline").rows() == [
        ("fair", "none"),
        ("good", "none"),
        ("good", "fair"),
    ]
    assert (report.comparisons["p_holm"] >= report.comparisons["p"]).all()
    assert report.comparisons["p_holm"].max() < 0.01  # type: ignore[operator]
    written = json.loads((tmp_path / "n.json").read_text())
    assert [each["name"] for each in written["results"]] == ["none", "fair", "good"]
    assert written["comparisons"] == report.comparisons.to_dicts()
    only = evaluate_files(EvaluateRequest(files, table, ("RR",), baseline="fair", out=tmp_path / "n.csv"))
    assert only.comparisons is not None
    assert only.comparisons["baseline"].to_list() == ["fair", "fair"]
    means = pl.read_csv(tmp_path / "n.csv")
    assert means.columns == ["result", "measure", "mean", "queries"]
    assert means["mean"].to_list() == [only.evaluations[name].means["RR"] for name in ("none", "fair", "good")]
    assert len(pl.read_csv(tmp_path / "n.comparisons.csv")) == 2


def test_what_can_not_be_measured_is_refused(tmp_path: Path, table: Path, labelled: pl.DataFrame) -> None:
    result = tmp_path / "r.parquet"
    ranking(labelled, 0).write_parquet(result)
    labelled.select("qid", "docid").write_parquet(tmp_path / "bare.parquet")
    for request, error, said in (
        (EvaluateRequest((), table), CascadeError, "at least one result"),
        (EvaluateRequest((result, result), table), CascadeError, "more than once"),
        (EvaluateRequest((result,), table, baseline="x"), CascadeError, "'x'"),
        (EvaluateRequest((result,), table, out=tmp_path / "n.txt"), CascadeError, r"\.json or \.csv"),
        (EvaluateRequest((result,), table, ("nDGC@10",)), CascadeError, "nDCG"),
        (EvaluateRequest((tmp_path / "bare.parquet",), table), DataError, "'rank' or 'score'"),
        (EvaluateRequest((result,), table, by="rank"), DataError, "'rank'"),
        (EvaluateRequest((result,), tmp_path / "bare.parquet"), DataError, "'label'"),
        (EvaluateRequest((tmp_path / "gone.parquet",), table), DataError, "there is no file"),
    ):
        with pytest.raises(error, match=said):
            evaluate_files(request)


def test_ids_of_csv_are_those_of_the_judgements(tmp_path: Path, labelled: pl.DataFrame) -> None:
    padded = labelled.with_columns(pl.col("qid", "docid").cast(pl.String).str.zfill(5))
    run = ranking(padded, 0)
    run.write_csv(tmp_path / "r.csv")
    padded.select("qid", "docid", "label").write_csv(tmp_path / "t.csv")
    write_qrels(padded, tmp_path / "j.qrels")
    for judgements in ("t.csv", "j.qrels"):
        report = evaluate_files(EvaluateRequest((tmp_path / "r.csv",), tmp_path / judgements, ("nDCG@10", "RR")))
        assert report.evaluations["r"].means == pytest.approx(expected(run, padded, ["nDCG@10", "RR"]), abs=1e-9)


def test_a_result_of_other_queries_or_candidates_is_refused(tmp_path: Path, labelled: pl.DataFrame) -> None:
    ranking(labelled, 0).write_csv(tmp_path / "r.csv")
    padded = pl.format("0{}", pl.col("qid"))
    labelled.with_columns(qid=padded).write_parquet(tmp_path / "q.parquet")
    with pytest.raises(CascadeError, match=r"no query of .*r\.csv is judged in .*: .* such as '0', .* such as '00';"):
        evaluate_files(EvaluateRequest((tmp_path / "r.csv",), tmp_path / "q.parquet"))
    labelled.with_columns(docid=pl.format("d{}", pl.col("docid"))).write_parquet(tmp_path / "d.parquet")
    with pytest.raises(CascadeError, match=r"no candidate of .*r\.csv is judged in .*d\.parquet: in query 0 its"):
        evaluate_files(EvaluateRequest((tmp_path / "r.csv",), tmp_path / "d.parquet"))


def test_mixed_ids_and_late_fractions_in_csv(tmp_path: Path) -> None:
    rows = [f"q,{i},{i % 2},{i + 1}" for i in range(150)] + ["q,d150,0.5,151"]
    (tmp_path / "mix.csv").write_text("\n".join(["qid,docid,label,rank", *rows]))
    report = evaluate_files(EvaluateRequest((tmp_path / "mix.csv",), tmp_path / "mix.csv", ("RR",)))
    assert report.evaluations["mix"].means == {"RR": 0.5}
    (tmp_path / "mix.csv").write_text("\n".join(["qid,docid,label,rank", *rows, "q,d151,0,last"]))
    with pytest.raises(DataError, match=r"mix\.csv, line 153: column 'rank' must be numeric, got 'last'"):
        evaluate_files(EvaluateRequest((tmp_path / "mix.csv",), tmp_path / "mix.csv", ("RR",)))


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Date])
def test_ids_of_other_types_are_refused(
    tmp_path: Path, table: Path, labelled: pl.DataFrame, dtype: pl.DataType
) -> None:
    run = ranking(labelled, 0)
    run.write_parquet(tmp_path / "good.parquet")
    odd = labelled.with_columns(pl.col("qid").cast(pl.Int32).cast(dtype))
    odd.write_parquet(tmp_path / "odd.parquet")
    run.with_columns(odd["qid"]).write_parquet(tmp_path / "run.parquet")
    for result, judgements in (("run", table), ("good", tmp_path / "odd.parquet")):
        with pytest.raises(DataError, match=f"column 'qid' must be integer or string, got {dtype}: cast it first"):
            evaluate_files(EvaluateRequest((tmp_path / f"{result}.parquet",), judgements, ("RR",)))


def test_labels_of_true_and_false_are_1_and_0(tmp_path: Path, labelled: pl.DataFrame) -> None:
    ranking(labelled, 0).write_parquet(tmp_path / "r.parquet")
    good = pl.col("label") > 1
    labelled.with_columns(label=good).write_parquet(tmp_path / "b.parquet")
    labelled.with_columns(label=good.cast(pl.Int8)).write_parquet(tmp_path / "i.parquet")
    means = [
        evaluate_files(EvaluateRequest((tmp_path / "r.parquet",), tmp_path / name, ("nDCG@10", "RR")))
        .evaluations["r"]
        .means
        for name in ("b.parquet", "i.parquet")
    ]
    assert means[0] == means[1]
    assert means[0]["RR"] > 0


def test_labels_whose_gain_would_be_infinite_are_refused(tmp_path: Path, labelled: pl.DataFrame) -> None:
    ranking(labelled, 0).write_parquet(tmp_path / "r.parquet")
    labelled.with_columns(label=pl.lit(2000)).write_parquet(tmp_path / "high.parquet")
    request = EvaluateRequest((tmp_path / "r.parquet",), tmp_path / "high.parquet", ("nDCG(dcg='exp-log2')@10",))
    with pytest.raises(CascadeError, match=r"labels must be at most 1000 where the gain is 2\^label - 1, got 2000"):
        evaluate_files(request)
    assert evaluate_files(replace(request, measures=("nDCG@10",))).evaluations["r"].means["nDCG@10"] == pytest.approx(1)

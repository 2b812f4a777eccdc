"""`evaluate --stages`: the figures of a ranking are those of the cascade that wrote it."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import cli
from cascade import (
    Cascade,
    CascadeError,
    KeepAll,
    StageRanks,
    TopK,
    agreement,
    hit_rate,
    inclusion_matrix,
    loss_by_stage,
    recall_k_at_m,
    relevant_pairs,
    score_all,
    stage_recall,
)
from data import DataError
from simulations.evaluation import EvaluateRequest, evaluate_files
from simulations.ranker_files import load_ranker
from simulations.ranker_run import score_column
from simulations.tables import RankerScorer
from slicing import SlicingError

BUDGETS = (12, 8, 5)


@pytest.fixture
def cascade(model: Path) -> Cascade:
    return Cascade(RankerScorer(load_ranker(model)), [TopK(k) for k in BUDGETS])


def write(cascade: Cascade, labelled: pl.DataFrame, path: Path) -> None:
    frame = cascade.run(labelled).frame
    names = {f"score_{i}": score_column(info.rate or 0) for i, info in enumerate(cascade.scorer.stages)}
    frame = frame.rename(names).select("qid", "docid", "rank", "score", "stage", *names.values(), "kept")
    frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)


@pytest.fixture
def files(tmp_path: Path, cascade: Cascade, labelled: pl.DataFrame) -> tuple[Path, Path, Path]:
    """A ranking as Parquet, the same as CSV, and every stage's scores of everything."""
    paths = tmp_path / "r.parquet", tmp_path / "r.csv", tmp_path / "all.parquet"
    for path in paths[:2]:
        write(cascade, labelled, path)
    write(Cascade(cascade.scorer, [KeepAll()] * 3), labelled, paths[2])
    return paths


def test_with_all_scores_every_figure_is_that_of_the_cascade(
    tmp_path: Path, files: tuple[Path, Path, Path], cascade: Cascade, table: Path, labelled: pl.DataFrame
) -> None:
    result, scores, relevant = cascade.run(labelled), score_all(cascade.scorer, labelled), relevant_pairs(labelled, 2)
    ranks, alone = StageRanks.of(scores), scores.alone(cascade.rules)
    for path in files[:2]:
        out = tmp_path / "n.json"
        request = EvaluateRequest((path,), table, ("RR",), rel=2, stages=True, all_scores=files[2], k=4, out=out)
        evaluate_files(request)
        found = json.loads(out.read_text())["results"][0]["stages"]
        assert found["loss_by_stage"] == loss_by_stage(result, relevant).to_dicts()
        assert found["recall_at_k"] == stage_recall(ranks, result, relevant, [4]).to_dicts()
        assert found["recall_k_at_m"] == recall_k_at_m(ranks, relevant, 4, [4, 8, 20]).to_dicts()
        assert found["hit_rate"] == {"HR@4": hit_rate(ranks, result, alone.kept, 4).to_dicts()}
        assert found["kendall_tau"] == [list(row) for row in agreement(ranks).mean]
        assert found["inclusion"]["matrix"] == [list(row) for row in inclusion_matrix(alone, relevant).matrix]
        assert [stage["candidates_out"] for stage in found["stages"]] == [30 * k for k in BUDGETS]


def test_every_number_is_printed_whatever_the_width(
    files: tuple[Path, Path, Path], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", str(files[0]), str(table), "--rel", "2", "--k", "4", "--stages"]
    for more in ([], ["--all-scores", str(files[2])]):
        stages = evaluate_files(
            EvaluateRequest(files[:1], table, rel=2, k=4, stages=True, all_scores=files[2] if more else None)
        ).stages["r"]
        wanted = [f"{row['lost']:,}" for row in stages["loss_by_stage"][1:]]
        wanted += [f"{row['joint_recall']:.4f}" for row in stages["stages"]]
        wanted += [f"{row[how]:.4f}" for row in stages["recall_at_k"] for how in ("alone", "joint") if row[how]]
        wanted += [f"{tau:.4f}" for row in stages["kendall_tau"] for tau in row]
        if more:
            wanted += [f"{row[how]:.4f}" for row in stages["hit_rate"]["HR@4"] for how in ("alone", "joint")]
            wanted += [f"{share:.4f}" for row in stages["inclusion"]["matrix"] for share in row]
        for width in ("60", "80", "200"):
            monkeypatch.setenv("COLUMNS", width)
            result = CliRunner().invoke(cli.main, [*words, *more])
            assert result.exit_code == 0, result.output
            assert set(wanted) <= set(result.output.split())
            assert ("--all-scores tells" in " ".join(result.output.split())) == (not more)


def test_a_ranking_alone_needs_no_judgements(files: tuple[Path, Path, Path]) -> None:
    report = evaluate_files(EvaluateRequest(files[:1], None, stages=True, all_scores=files[2]))
    assert report.evaluations == {}
    assert report.stages["r"]["loss_by_stage"] is None
    assert report.stages["r"]["hit_rate"]["HR@10"][0]["joint"] is not None
    result = CliRunner().invoke(cli.main, ["evaluate", str(files[0]), "--stages"])
    assert result.exit_code == 0, result.output
    assert "tau-b" in result.output


def test_what_has_no_stages_is_refused(tmp_path: Path, files: tuple[Path, Path, Path], table: Path) -> None:
    (tmp_path / "r.run").write_text("1 Q0 2 1 0.5 x\n")
    pl.read_parquet(files[0]).drop("kept").write_parquet(tmp_path / "bare.parquet")
    pl.read_parquet(files[0]).drop("kept", "stage").write_parquet(tmp_path / "cut.parquet")
    files[0].with_suffix(".json").touch()
    for request, error, said in (
        (
            EvaluateRequest((tmp_path / "r.run",), None, stages=True),
            DataError,
            r"\.parquet, or from \.csv, got '\.run'",
        ),
        (EvaluateRequest((tmp_path / "bare.parquet",), table, stages=True), DataError, "'kept'"),
        (EvaluateRequest((tmp_path / "cut.parquet",), table, stages=True), DataError, "without --only-kept"),
        (EvaluateRequest(files[:1], None), CascadeError, "name both"),
        (EvaluateRequest(files[:1], table, all_scores=files[2]), CascadeError, "without --stages"),
        (EvaluateRequest(files[:1], table, stages=True, all_scores=files[0]), CascadeError, "scores are missing"),
        (EvaluateRequest(files[:1], table, stages=True, k=0), CascadeError, "k must be at least 1, got 0"),
        (EvaluateRequest(files[:1], None, stages=True, out=tmp_path / "n.csv"), CascadeError, "as .json"),
        (EvaluateRequest(files[:1], table, stages=True, out=tmp_path / "n.csv"), CascadeError, "as .json"),
        (
            EvaluateRequest(
                files[:1],
                table,
                out=files[0].with_suffix(".json"),
                stages=True,
                all_scores=files[0].with_suffix(".json"),
            ),
            SlicingError,
            "would overwrite",
        ),
        (EvaluateRequest((tmp_path / "gone.parquet",), None, stages=True), DataError, "there is no file"),
    ):
        with pytest.raises(error, match=said):
            evaluate_files(request)

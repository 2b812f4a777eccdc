"""No command writes over what it reads, whatever name that goes by."""

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import cli
from cascade import CascadeConfig, StageConfig, TopK, write_config
from data import write_candidates


@pytest.fixture
def folder(tmp_path: Path, model: Path, labelled: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tables, a model, cascade files and a report: what the commands below read."""
    monkeypatch.chdir(tmp_path)
    for name in ("table.parquet", "v.csv", "v.frontier.csv"):
        write_candidates(labelled, name)
    labelled.select("qid", "docid", score="f1").write_parquet("ranking.parquet")
    labelled.select("qid", "docid", score="f2").write_parquet("other.parquet")
    Path("n.comparisons.csv").write_bytes(Path("v.csv").read_bytes())
    stages = (StageConfig(0.5, TopK(6)), StageConfig(1.0, TopK(3)))
    for name in ("model/model.safetensors", "odd.run"):
        write_config(f"{Path(name).stem}.toml", CascadeConfig(name, stages))
    Path("odd.run").write_bytes(Path("model/model.safetensors").read_bytes())
    Path("link.parquet").symlink_to("table.parquet")
    Path("again").symlink_to("model")
    Path("report").mkdir()
    Path("report/report.json").write_text("{}")
    return tmp_path


def invoke(command: str) -> Result:
    return CliRunner().invoke(cli.main, command.split())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("command", "input"),
    [
        ("plan model v.frontier.csv --recall 0.2 --out v.toml", "v.frontier.csv"),
        ("plan model/model.safetensors table.parquet --recall 0.2 --out odd.toml", None),
        ("run model.toml table.parquet --out table.parquet", "table.parquet"),
        ("run model.toml table.parquet --out link.parquet", "table.parquet"),
        ("run odd.toml table.parquet --out odd.run", "odd.run"),
        ("evaluate ranking.parquet v.csv --out v.csv", "v.csv"),
        ("evaluate ranking.parquet other.parquet n.comparisons.csv --out n.csv", "n.comparisons.csv"),
        ("export model --rate 0.5 --out model", "model/model.safetensors"),
        ("export again/model.safetensors --rate 0.5 --out model", "again/model.safetensors"),
        ("report report --out report/report.json", "report/report.json"),
    ],
)
def test_inputs_stay_as_they_are(folder: Path, command: str, input: str | None) -> None:
    before = contents(folder)
    result = invoke(command)
    if input is None:  # only the names resemble each other
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 2, result.output
    assert f"would overwrite {input}, which this command reads" in result.output.splitlines()[-1]
    assert contents(folder) == before


def test_a_plan_leaves_a_table_of_its_name_alone(folder: Path) -> None:
    before = Path("v.csv").read_bytes()
    result = invoke("plan model v.csv --recall 0.2 --out v.toml")
    # (the fixture's v.frontier.csv is no input here and is replaced)
    assert result.exit_code == 0, result.output
    assert Path("v.csv").read_bytes() == before
    assert Path("v.frontier.png").exists()


def test_a_split_does_not_replace_the_folder_that_its_table_is_in(folder: Path) -> None:
    first = invoke("data split table.parquet --shares 0.4,0.3,0.3 --out parts")
    assert first.exit_code == 0, first.output
    before = contents(folder)
    again = invoke("data split parts/train.parquet --shares 0.4,0.3,0.3 --out parts")
    assert again.exit_code == 2
    assert "would overwrite parts/train.parquet" in again.output.splitlines()[-1]
    assert contents(folder) == before
    kept = invoke("data split table.parquet --shares 0.4,0.3,0.3 --out parts")
    assert kept.exit_code == 0, kept.output

"""docs/guide-ranking.md keeps its word: its commands run, in order, in an empty folder, and leave what it says."""

import json
import re
import shlex
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import cli
from cascade import read_config

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "guide-ranking.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL)
FILES = dict(re.findall(r"```toml\n# (\S+\.toml)\n(.*?)```", GUIDE, re.DOTALL))
COMMANDS = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]


def test_every_command_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    assert {shlex.split(command)[1] for command in COMMANDS} == {"data", "train", "plan", "run", "evaluate", "export"}
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[0] == "slicerank"
        result = CliRunner().invoke(cli.main, words[1:])
        assert result.exit_code == 0, f"{command}\n{result.output}"
        assert Path(words[words.index("--out") + 1]).exists() if "--out" in words else True
    promised, planned = (read_config(name) for name in ("promised.toml", "cascade.toml"))
    assert planned.plan is not None
    assert promised.plan is not None
    assert promised.plan.promised == 0.95
    assert (planned.plan.recall or 0) >= 0.95
    assert promised.plan.cost >= planned.plan.cost
    numbers = json.loads(Path("numbers.json").read_text())
    assert [each["name"] for each in numbers["results"]] == ["cheap", "ranking", "promised"]
    assert len(numbers["comparisons"]) == 6
    stages = json.loads(Path("stages.json").read_text())["results"][0]["stages"]
    assert stages["stages"][-1]["joint_recall"] == numbers["results"][1]["means"]["R(rel=3)@10"]
    assert 0 < stages["hit_rate"]["HR@10"][0]["joint"] <= 1
    kept = pl.read_parquet("ranking.parquet").filter("kept")
    assert kept.group_by("qid").len()["len"].unique().to_list() == [10]


def test_the_guide_shows_the_columns_that_commands_print() -> None:
    shown = "\n".join(BLOCKS)
    for words in (
        "recall@10",
        "FLOPs per query",
        "candidates out",
        "p (Holm)",
        "full network on everything",
        "HR@10 joint",
    ):
        assert words in shown

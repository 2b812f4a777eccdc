"""The README keeps its word: its Python runs, its commands exist."""

import re
from pathlib import Path

import click
import pytest

import cli

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_python_examples_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^slicerank [^#\n]*", README, re.MULTILINE))))
def test_commands_parse(line: str) -> None:
    words = line.split()[1:]
    command: click.Command = cli.main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    if "--help" not in words:
        command.make_context(command.name, words)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", README, re.MULTILINE))
    assert {a or b for a, b in named} <= targets


def test_bench_refuses_an_unknown_case() -> None:
    from click.testing import CliRunner

    result = CliRunner().invoke(cli.main, ["bench", "--case", "sprint"])
    assert result.exit_code == 2
    assert "'sprint'" in result.output
    assert "mlp-funnel" in result.output


def test_the_help_of_bench_names_every_case() -> None:
    from click.testing import CliRunner

    from bench.run import CASES

    text = " ".join(CliRunner().invoke(cli.main, ["bench", "--help"]).output.split())
    assert f"Cases: {', '.join(CASES)}." in text.replace("- ", "-")

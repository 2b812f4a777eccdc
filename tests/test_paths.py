"""Files of users are read by the names they have: polars otherwise takes brackets and stars in a path for a pattern."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("cascade", "data", "simulations", "slicing", "bench")
READERS = {f"{verb}_{kind}" for verb in ("read", "scan") for kind in ("parquet", "csv", "ipc", "ndjson")}
NO_GLOB = {"read_ipc", "read_parquet_schema"}  # which can't be told to take a path to the letter


def careless(text: str) -> list[int]:
    """Lines of polars' readers that expand patterns."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            literal = any(word.arg == "glob" and ast.unparse(word.value) == "False" for word in node.keywords)
            if node.func.attr in NO_GLOB or (node.func.attr in READERS and not literal):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("package", PACKAGES)
def test_every_reader_takes_its_path_to_the_letter(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(file.relative_to(ROOT)): careless(file.read_text(encoding="utf-8")) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_a_careless_reader_is_found() -> None:
    assert careless("pl.read_ipc(path)\npl.scan_csv(path, glob=True)\npl.scan_csv(path, glob=False)") == [1, 2]

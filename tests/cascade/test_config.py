import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.config import CascadeConfig, Planned, StageConfig, read_config, write_config
from cascade.errors import CascadeError
from cascade.keep import (
    KeepAll,
    KeepRule,
    PointwiseRule,
    PredictedClass,
    ScoreAtLeast,
    ScoreDrop,
    TopK,
    TopKColumn,
    TopShare,
)

RULES = st.one_of(
    st.builds(ScoreAtLeast, st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(ScoreDrop, st.floats(0, 1e9)),
    st.builds(TopShare, st.just(0.25), st.just(3)),
    st.builds(TopKColumn, st.text(min_size=1), st.none() | st.integers(1, 99)),
    st.just(KeepAll()),
    st.just(PredictedClass()),
    st.just(TopK(7)),
)
SHARES = st.none() | st.floats(0, 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PLANS = st.builds(Planned, TEXTS, st.floats(0, 1e12), TEXTS, SHARES, SHARES, SHARES, SHARES, st.none() | TEXTS)

GOOD = """schema = 1
model = "model.safetensors"

[[stages]]
rate = 0.25
keep = "top_k"
value = 60

[[stages]]
rate = 1.0
keep = "top_k"
value = 10

[plan]
goal = "recall >= 0.98"
cost = 1234.5
unit = "FLOPs"
recall = 0.985
"""


@settings(max_examples=50, deadline=None)
@given(st.lists(RULES, min_size=1, max_size=4), st.none() | PLANS)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rules: list[KeepRule], plan: Planned
) -> None:
    path = tmp_path_factory.mktemp("config") / "cascade.toml"
    rates = [(i + 1) / len(rules) for i in range(len(rules))]
    stages = tuple(map(StageConfig, rates, rules))
    config = CascadeConfig('models/"ü" \x7f\n.safetensors', stages, plan)
    write_config(path, config)
    assert read_config(path) == config
    assert [entry.name for entry in path.parent.iterdir()] == ["cascade.toml"]


def test_the_file_is_as_the_docstring_says(tmp_path: Path) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(GOOD)
    config = read_config(path)
    assert (config.rates, config.rules, config.final_k) == ((0.25, 1.0), (TopK(60), TopK(10)), 10)
    assert config.plan == Planned("recall >= 0.98", 1234.5, "FLOPs", recall=0.985)
    write_config(tmp_path / "again.toml", config)
    assert tomllib.loads((tmp_path / "again.toml").read_text()) == tomllib.loads(GOOD)


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("schema = 1", "schema = 2", "schema must be 1, got 2"),
        ("schema = 1\n", "", "the key 'schema' is missing; add it"),
        ("schema = 1", "schema = 1\nmodle = 3", "unknown key 'modle' .did you mean 'model'"),
        ('"model.safetensors"', '"/model.safetensors"', "relative to the cascade file"),
        ('"model.safetensors"', "3", "model must name the model file, got 3"),
        ("rate = 0.25", "rate = 1.5", r"stage 0: rate must be in \(0, 1\], got 1.5"),
        ("rate = 0.25", "rate = 1.0", "rates must rise from stage to stage, got 1.0 after 1.0"),
        ("rate = 0.25\n", "", "stage 0: the key 'rate' is missing"),
        ("value = 60", "value = 5", "cutoffs must never grow: stage 1 has k=10 after k=5"),
        ("value = 60", "value = 6.5", "stage 0: TopK: k must be a whole number"),
        ("value = 60", 'value = 60\nvalve = "x"', "stage 0: unknown key 'valve' .did you mean 'value'"),
        ("value = 60\n", "", "stage 0: the key 'value' is missing"),
        (
            'keep = "top_k"\nvalue = 60',
            'keep = "topk"\nvalue = 60',
            "keep must be one of .* .did you mean 'top_k'",
        ),
        ('keep = "top_k"\nvalue = 60', "keep = 3\nvalue = 60", "stage 0: keep must be one of"),
        ('keep = "top_k"\nvalue = 60', 'keep = "all"\nvalue = 60', "stage 0: unknown key 'value'"),
        ("cost = 1234.5", "cost = inf", "plan.cost must be a finite number of at least 0, got inf"),
        ("recall = 0.985", "recall = 98.5", r"plan.recall must be a number in \[0, 1\], got 98.5"),
        ('unit = "FLOPs"', "unit = 1", "plan.unit must be a string, got 1"),
        ("cost = 1234.5\n", "", "plan: the key 'cost' is missing"),
        ("[plan]", "[plant]", "unknown key 'plant' .did you mean 'plan'"),
        ("[[stages]]", "[[stages", "is not a TOML file"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(tmp_path: Path, old: str, new: str, text: str) -> None:
    path = tmp_path / "cascade.toml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(CascadeError, match=text) as error:
        read_config(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stages", ["stages = 3", "stages = []", "[stages]\nrate = 1.0", "stages = [1]"])
def test_stages_must_be_tables(tmp_path: Path, stages: str) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(f'schema = 1\nmodel = "m"\n{stages}\n')
    with pytest.raises(CascadeError, match="stages"):
        read_config(path)


def test_missing_binary_and_unwritable_files_are_refused(tmp_path: Path) -> None:
    config = CascadeConfig("m", (StageConfig(1.0, TopK(1)),))
    with pytest.raises(CascadeError, match="no cascade file at"):
        read_config(tmp_path / "none.toml")
    with pytest.raises(CascadeError, match="cannot read"):
        read_config(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(CascadeError, match="is not a TOML file"):
        read_config(tmp_path / "binary.toml")
    with pytest.raises(CascadeError, match="it is a folder"):
        write_config(tmp_path, config)
    with pytest.raises(CascadeError, match="there is no folder"):
        write_config(tmp_path / "none" / "cascade.toml", config)


def test_a_rule_without_a_word_leaves_the_old_file(tmp_path: Path) -> None:
    class Odd(PointwiseRule):
        def kept(self, scores, hits):  # type: ignore[no-untyped-def]
            return scores > 0

    path = tmp_path / "cascade.toml"
    path.write_text(GOOD)
    with pytest.raises(CascadeError, match="no word for the rule"):
        write_config(path, CascadeConfig("m", (StageConfig(1.0, Odd()),)))
    assert path.read_text() == GOOD


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(GOOD)

    def full(self: Path, target: Path) -> Path:
        assert self.parent == target.parent
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CascadeError, match=r"cannot write .*: No space left on device; free some space"):
        write_config(path, CascadeConfig("m", (StageConfig(1.0, TopK(1)),)))
    assert path.read_text() == GOOD
    assert list(tmp_path.iterdir()) == [path]

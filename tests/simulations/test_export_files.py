"""An exported rate gives the model's scores at that rate, as a ranker, as a network and as a program of torch alone."""

import json
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import CliRunner

import cli
from cascade import StageConfig, TopK, read_config
from data import synthetic, write_candidates
from slicing import FeatureTransform, Ranker, SlicedNetwork, Vocabulary, convert, load, save
from slicing.models import small_cnn
from slicing.models.ranker import input_shapes, ranker_module


def export(*words: object) -> str:
    result = CliRunner().invoke(cli.main, ["export", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def with_ids(tmp_path: Path) -> Path:
    """A ranker of two features, one at times missing, and one id."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((50, 2)).astype(np.float32)
    features[3, 1] = np.nan
    transform = FeatureTransform.fit(features, names=["a", "b"])
    words = Vocabulary.fit(np.array(["x", "y", "z"]))
    module = ranker_module([transform.width], [words.rows], embedding=8, hidden=(16, 16))
    rates = (0.25, 0.5, 1.0)
    spec = convert(module, rates, "dense", input_shape=input_shapes([transform.width], 1)).spec
    torch.manual_seed(0)
    network = SlicedNetwork(spec, rates, "nested").eval()
    Ranker(network, transform, {"a": 1, "b": 1}, {"word": words}).save(tmp_path / "ids.safetensors")
    return tmp_path / "ids.safetensors"


@pytest.mark.parametrize("position", [0, 1, 2])
def test_an_exported_ranker_scores_like_the_rate(tmp_path: Path, with_ids: Path, position: int) -> None:
    ranker = Ranker.load(with_ids)
    rate = ranker.rates[position]
    said = export(with_ids, "--rate", rate, "--out", tmp_path / "out")
    columns = {
        "a": np.array([0.3, -2.0, 9.0]),
        "b": np.array([np.nan, 0.5, 0.1]),
        "word": np.array(["z", "new", "x"]),
    }
    expected = ranker.scores(columns)[position]
    alone = Ranker.load(tmp_path / "out" / "model.safetensors")
    assert alone.rates == (1.0,)
    assert np.allclose(alone.scores(columns)[0], expected, atol=1e-6)
    assert f"{sum(p.numel() for p in alone.network.parameters()):,} parameters" in said
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    for rows in (3, 1):  # the number of candidates is free
        inputs = alone.inputs({name: column[:rows] for name, column in columns.items()})
        assert np.allclose(program(*inputs).detach().numpy()[:, 0], expected[:rows], atol=1e-6)
    with zipfile.ZipFile(tmp_path / "out" / "model.pt2") as archive:
        name = next(name for name in archive.namelist() if name.endswith("slicerank.json"))
        facts = json.loads(archive.read(name))
    assert facts == {
        "schema": 1,
        "rate": rate,
        "weights": "model.safetensors",
        "kind": "ranker",
        "numeric": {"a": 1, "b": 1},
        "categorical": ["word"],
    }


def test_an_exported_ranker_runs_like_any_other(tmp_path: Path, model: Path, labelled: pl.DataFrame) -> None:
    export(model, "--rate", 0.5, "--out", tmp_path / "half")
    whole, half = Ranker.load(model / "model.safetensors"), Ranker.load(tmp_path / "half" / "model.safetensors")
    columns = {name: labelled[name].to_numpy() for name in whole.columns}
    assert np.allclose(half.scores(columns)[0], whole.scores(columns)[1], atol=1e-6)
    assert half.flops() == 6 * 16 + 16 * 16 + 16  # plain layers of half the units


@pytest.mark.parametrize("kinds", ["top-k", "share", "score"])
@pytest.mark.parametrize(
    "goal", ["--recall 0.2", "--cost 100%", "--recall 0.1 --confidence 0.8", "--cost 1e9 --unit ms"]
)
def test_an_exported_ranker_is_planned_like_any_other(
    tmp_path: Path, model: Path, table: Path, goal: str, kinds: str
) -> None:
    export(model, "--rate", 0.5, "--out", tmp_path / "half")
    out = tmp_path / "c.toml"
    words = ["plan", tmp_path / "half", table, *goal.split(), "--kinds", kinds, "--final-k", 5, "--out", out, "--quiet"]
    result = CliRunner().invoke(cli.main, list(map(str, words)))
    assert result.exit_code == 0, result.output
    assert read_config(out).stages == (StageConfig(1.0, TopK(5)),)  # one rate leaves nothing to choose
    assert len(pl.read_csv(tmp_path / "c.frontier.csv")) == 1


def test_an_exported_network_of_images_scores_like_the_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = convert(small_cnn(5, width=0.25), [0.25, 0.5, 1.0], "dense").eval()
    save(network, tmp_path / "net.safetensors")
    export(tmp_path / "net.safetensors", "--rate", 0.5, "--image", "1,12,12", "--out", tmp_path / "out")
    images = torch.randn(6, 1, 12, 12)
    expected = network(images, rate=0.5)
    assert torch.allclose(load(tmp_path / "out" / "model.safetensors")(images), expected, atol=1e-5)
    program = torch.export.load(tmp_path / "out" / "model.pt2").module()
    assert torch.allclose(program(images), expected, atol=1e-5)


TIERS = '[[tier]]\nrate = 1.0\ncost = 3\nfeatures = ["f4"]\n'


def test_tiers_and_query_features(tmp_path: Path) -> None:
    frame = synthetic(20, 10, 4).drop("ideal").with_columns(context=pl.col("qid").sin())
    write_candidates(frame, tmp_path / "train.parquet")
    (tmp_path / "tiers.toml").write_text(TIERS)
    words = ["--tiers", "tiers.toml", "--query-features", "context", "--rates", "0.5,1.0", "--hidden", "16,16"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        command = ["train", "train.parquet", *words, "--epochs", "1", "--quiet", "--out", "model"]
        trained = CliRunner().invoke(cli.main, command)
    assert trained.exit_code == 0, trained.output
    whole = Ranker.load(tmp_path / "model" / "model.safetensors")
    export(tmp_path / "model", "--rate", 0.5, "--out", tmp_path / "half")
    half = Ranker.load(tmp_path / "half" / "model.safetensors")
    assert set(half.columns) == {"f1", "f2", "f3", "context"}
    assert half.query == ("context",)
    columns = {name: frame[name].to_numpy() for name in whole.columns}
    assert np.allclose(half.scores(columns)[0], whole.scores(columns)[0], atol=1e-6)
    program = torch.export.load(tmp_path / "half" / "model.pt2").module()
    assert np.allclose(program(*half.inputs(columns)).detach()[:, 0], whole.scores(columns)[0], atol=1e-6)
    refused = CliRunner().invoke(cli.main, ["export", str(tmp_path / "model"), "--out", str(tmp_path / "all")])
    assert refused.exit_code == 2
    assert "rate 1 reads features of several tiers" in refused.output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nowhere"], "no model at nowhere"),
        (["net.safetensors"], "must be told; pass --image"),
        (["net.safetensors", "--image", "3,12,12"], "reads 1 units at this rate got 3; check the input's shape"),
        (["net.safetensors", "--image", "1,1,1"], "can't take inputs of the shapes [(1, 1, 1)]"),
        (["net.safetensors", "--image", "1,12,12", "--rate", "0.3"], "0.3"),
        (["ids.safetensors", "--image", "1,12,12"], "is a ranker, an image's shape"),
        (["broken.safetensors"], "is not a readable model"),
    ],
)
def test_what_can_not_be_exported_is_refused_in_one_line(
    tmp_path: Path, with_ids: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    save(convert(small_cnn(5, width=0.25), [0.5, 1.0], "dense").eval(), "net.safetensors")
    Path("broken.safetensors").write_bytes(with_ids.read_bytes()[:100])
    result = CliRunner().invoke(cli.main, ["export", *words, "--out", "out"])
    assert result.exit_code == 2, result.output
    assert text in result.output.splitlines()[-1]
    assert not list(Path().glob("out/*.pt2"))

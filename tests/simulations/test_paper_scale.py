"""`--scale paper` and ImageNet's network: what they build, and what they say without data. Nothing is trained long."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn

from cli import main
from data import ImageData, ImageSplit
from simulations import elastic, tradeoff
from simulations.baselines import Point
from simulations.degradation import SCALES as DEGRADATION_SCALES
from simulations.degradation import DegradationSettings
from simulations.elastic import Workbench
from simulations.elastic_settings import SCALES, ElasticSettings
from simulations.image_models import separate_network, sliced_network
from simulations.language_settings import SCALES as LANGUAGE_SCALES
from slicing import SlicedNetwork, convert, parameter_count
from slicing.models.language import LanguageModel

COMMANDS = [
    "tradeoff",
    "schedules",
    "lower-bound",
    "scaling-factors",
    "learning-curves",
    "language-model",
    "degradation",
]


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_papers_scale_without_its_data_ends_with_one_line(tmp_path: Path, command: str) -> None:
    result = simulate(command, "--scale", "paper", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error")]
    assert "--data-dir" in line
    assert not list(tmp_path.glob("out/*.json"))


def cifar_like() -> ImageData:
    labels = torch.arange(20) % 10
    images = ImageSplit(torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8), labels)
    classes = tuple("abcdefghij")
    return ImageData("cifar10", classes, images, images, images, (0.5,) * 3, (0.25,) * 3, "0" * 64)


def params(network: nn.Module) -> float:
    """In millions, of two decimals, as Table 1 prints them."""
    return round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 2)


@pytest.mark.slow
def test_tradeoff_builds_every_network_of_the_papers_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: dict[str, nn.Module] = {}
    asked: dict[str, int | None] = {}

    def fit(
        bench: Workbench, name: str, network: nn.Module, scheme: object, *, epochs: int | None = None, **_: object
    ) -> Any:
        built[name], asked[name] = network, epochs
        bench.histories.append({})
        return SimpleNamespace(history=(), seconds=0.0)

    def points(bench: Workbench, network: SlicedNetwork) -> list[Point]:
        return [Point(f"{rate:g}", 1.0, 1, 0.5) for rate in network.rates]

    @torch.no_grad()  # as the real one
    def accuracy(bench: Workbench, predict: Callable[[torch.Tensor], torch.Tensor]) -> float:
        assert predict(torch.zeros(1, *bench.shape)).shape == (1, 10)
        return 0.5

    written: dict[str, Any] = {}
    monkeypatch.setattr(elastic, "load_data", lambda *_: cifar_like())
    monkeypatch.setattr(Workbench, "fit", fit)
    monkeypatch.setattr(Workbench, "points", points)
    monkeypatch.setattr(Workbench, "accuracy", accuracy)
    monkeypatch.setattr(Workbench, "write", lambda _, command, headline, protocol, **parts: written.update(parts))
    tradeoff.simulate_tradeoff(ElasticSettings(tmp_path, "paper", tmp_path), "slicerank simulate tradeoff")
    assert {"vgg13-sliced", "resnet-nested", "resnet-depth-110", "msdnet", "skipnet-0.5", "slimming-0.5"} <= set(built)
    rates = (0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    for name, million in (("vgg13", 9.42), ("resnet", 1.72), ("resnet-56-2", 2.35), ("wrn-28-10", 36.49)):  # Table 1
        for way in ("sliced", "nested"):
            network = built[f"{name}-{way}"]
            assert isinstance(network, SlicedNetwork)
            assert (network.rates, network.connectivity) == (rates, "dense" if way == "sliced" else way)
        assert params(built[f"{name}-sliced"]) == params(built[f"{name}-separate-1"]) == million
        alone = built[f"{name}-separate-0.375"]
        assert parameter_count(built[f"{name}-sliced"], 0.375) == sum(each.numel() for each in alone.parameters())
    assert {name for name, count in asked.items() if count is not None} == {
        f"wrn-28-10-{way}" for way in ("sliced", "nested", "separate-0.375", "separate-0.625", "separate-1")
    }
    assert len(written["tables"]) == 2
    assert "resnet is ResNet-164-1; WRN-28-10 trains 200 epochs" in written["tables"][0]["text"]


def test_the_other_image_experiments_build_the_papers_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic, "load_data", lambda *_: cifar_like())
    bench = Workbench(ElasticSettings(tmp_path, "paper", tmp_path), None)
    assert (bench.config.epochs, bench.config.batch_size) == (SCALES["paper"].epochs, 128)
    for rates in ([k / 16 for k in range(4, 17)], [k / 8 for k in range(3, 9)]):
        assert params(bench.sliced(bench.chain(), rates)) == 9.42
    assert params(bench.separate(bench.chain(), 0.375)) == pytest.approx(9.42 * 0.375**2, abs=0.02)


def test_degradation_builds_the_papers_networks(tmp_path: Path) -> None:
    settings = DegradationSettings(tmp_path, DEGRADATION_SCALES["paper"])
    training = settings.training()
    assert sliced_network(training, cifar_like(), "nested").rates == settings.scale.rates
    assert params(separate_network(training, cifar_like(), 1.0)) == 9.42


def test_the_papers_language_model_is_two_layers_of_640_units_on_650() -> None:
    scale = LANGUAGE_SCALES["paper"]
    plain = LanguageModel(100, scale.embedding, scale.units, dropout=scale.dropout)
    network = convert(plain, scale.separate, "dense", whole=["embedding"])
    lstm = sum(4 * 640 * (inputs + 640 + 2) for inputs in (650, 640))
    assert parameter_count(network) == 100 * 650 + lstm + 100 * 641


@pytest.mark.slow
def test_vgg16_learns_from_a_folder_laid_out_as_imagenet(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            (tmp_path / "net" / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (40 + i, 50, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "net" / split / name / f"{name}_{i}.JPEG")
    options = "--image-size 32 --model vgg16 --width 0.25 --rates 0.5,1 --epochs 1 --batch 4 --workers 2 --quiet"
    where = ["--data", "images", "--data-dir", str(tmp_path / "net"), "--out", str(tmp_path / "out")]
    result = simulate("cascade", *where, *options.split())
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "report.json").exists()

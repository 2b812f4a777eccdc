"""`simulate tradeoff --data images`: VGG-16 on a tiny folder laid out as ImageNet; the paper's size without weights."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from cli import main
from data import ImageData, ImageSplit
from simulations import elastic, elastic_settings, paper_images
from simulations.elastic import Workbench
from simulations.elastic_settings import FOLDER_SCALES, ElasticSettings
from simulations.report.schema import Report
from simulations.settings import CascadeSettings
from simulations.tradeoff import ABOVE, SEPARATE, simulate_tradeoff
from slicing import SlicingError

CLASSES = 6
VGG_16 = 138_357_544  # torchvision's count; Table 1 prints 138.36M
NORMALISATION = 2 * (2 * 64 + 2 * 128 + 3 * 256 + 6 * 512)
WAYS = ("sliced", "nested", "widths", "lb 1.0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few pictures of each class, of no one size."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 10), ("val", 2)):
        for name in range(CLASSES):
            (root / split / f"n{name}").mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (36 + i, 40, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / f"n{name}" / f"{i}.JPEG")
    return root


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> tuple[Report, Report, list[dict[str, str]]]:
    """Of few classes; and of the same run resumed with top-5 measured, with the rows of its CSV."""
    out = tmp_path_factory.mktemp("out")
    settings = ElasticSettings(out, "small", folder, "images", epochs=1, train_limit=12, workers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FOLDER_SCALES, "small", replace(FOLDER_SCALES["small"], image_size=32, batch_size=6))
        few = simulate_tradeoff(settings, "slicerank simulate tradeoff")
        patch.setattr(elastic, "TOP5_CLASSES", CLASSES)
        many = simulate_tradeoff(replace(settings, resume=True), "again")
    with (out / "tradeoff.csv").open(newline="") as file:
        return few, many, list(csv.DictReader(file))


def beside(report: Report) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in report["protocols"]["tradeoff"]["tables"][1]["rows"]}


def test_vgg16_alone_is_trained_by_width(reports: tuple[Report, Report, list[dict[str, str]]]) -> None:
    few, _, cells = reports
    assert {cell["system"] for cell in cells} == {f"vgg16 {way}" for way in WAYS}
    assert [run["name"] for run in few["training"]] == [
        *("vgg16-sliced", "vgg16-nested"),
        *(f"vgg16-separate-{rate:g}" for rate in SEPARATE),
    ]
    assert (few["data"]["train"], few["data"]["candidates"]) == (12, 2 * CLASSES)
    assert few["headline"].startswith("At scale small (images, 12 images, 1 epochs")
    assert "vgg16 sliced to 0.375 keeps" in few["headline"]
    assert "Slimming" not in few["protocols"]["tradeoff"]["tables"][0]["text"]


def test_table_3_shows_the_papers_rows_of_vgg16(reports: tuple[Report, Report, list[dict[str, str]]]) -> None:
    few, many, cells = reports
    for report, top5 in ((few, False), (many, True)):
        rows = beside(report)
        assert ("  paper: VGG-16 top5" in rows) == ("vgg16 sliced, top 5" in rows) == top5
        assert [float(x) for x in rows["  paper: VGG-16 top1"]] == list(paper_images.IMAGENET_ERROR["VGG-16 top1"])
        assert not any("VGG-13" in name for name in rows)
        assert "ImageNet" in report["protocols"]["tradeoff"]["tables"][1]["text"]
    assert [float(x) for x in beside(many)["  paper: VGG-16 top5"]] == list(paper_images.IMAGENET_ERROR["VGG-16 top5"])
    of = {(cell["system"], float(cell["point"])): cell for cell in cells}
    for name, column in (("vgg16 sliced", "accuracy"), ("vgg16 sliced, top 5", "top5")):
        right = [float(of["vgg16 sliced", rate][column]) for rate in paper_images.RATES]
        assert [float(x) for x in beside(many)[name]] == pytest.approx([100 * (1 - share) for share in right], abs=0.01)


def test_measuring_top_5_leaves_top_1_as_it_was(reports: tuple[Report, Report, list[dict[str, str]]]) -> None:
    few, many, cells = reports
    without, measured = (report["protocols"]["tradeoff"]["tables"][0] for report in (few, many))
    assert [row[:5] for row in measured["rows"]] == without["rows"]
    assert measured["columns"] == [*without["columns"], "top-5 (%)"]
    assert few["protocols"]["tradeoff"]["curves"] == many["protocols"]["tradeoff"]["curves"]
    assert all(float(cell["accuracy"]) <= float(cell["top5"]) <= 1 for cell in cells)
    assert {float(cell["top5"]) for cell in cells} != {float(cell["accuracy"]) for cell in cells}


def imagenet_like(asked: CascadeSettings) -> ImageData:
    side, classes = asked.image_size or 0, tuple(f"n{k}" for k in range(1000))
    images = ImageSplit(torch.zeros(2, 3, side, side, dtype=torch.uint8), torch.arange(2))
    return ImageData("images", classes, images, images, images, (0.5,) * 3, (0.25,) * 3, "0" * 64)


def test_the_papers_scale_is_vgg16_as_it_was_trained_on_imagenet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[CascadeSettings] = []

    def load(settings: CascadeSettings, _: Any) -> ImageData:
        asked.append(settings)
        return imagenet_like(settings)

    monkeypatch.setattr(elastic, "load_data", load)
    bench = Workbench(ElasticSettings(tmp_path, "paper", tmp_path, "images", workers=3), None)
    assert [(each.data, each.image_size, each.train_limit, each.workers) for each in asked] == [
        ("images", 224, None, 3)
    ]
    assert (bench.config.epochs, bench.config.batch_size, bench.config.learning_rate) == (90, 128, 0.05)  # 5.3.2
    with torch.device("meta"):  # half a gigabyte otherwise
        for connectivity in ("dense", "nested"):
            network = bench.sliced(bench.chain(), ABOVE, connectivity)
            assert network.rates == ABOVE
            assert sum(each.numel() for each in network.parameters()) == VGG_16 + NORMALISATION
            assert network(torch.zeros(1, *bench.shape), rate=0.375).shape == (1, 1000)


@pytest.mark.parametrize(("scale", "dropout", "warmup"), [("small", 0, 0.3), ("paper", 0.5, 0.05)])
def test_small_is_trained_gently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: Any, dropout: float, warmup: float
) -> None:
    monkeypatch.setattr(elastic, "load_data", lambda asked, _: imagenet_like(asked))
    bench = Workbench(ElasticSettings(tmp_path, scale, tmp_path, "images"), None)
    with torch.device("meta"):
        assert {each.p for each in bench.chain() if isinstance(each, torch.nn.Dropout)} == {dropout}
    assert bench.config.warmup == warmup


@pytest.mark.parametrize("data", ["images", "cifar10", "mnist"])
def test_a_data_set_that_the_scale_is_not_of_is_refused(tmp_path: Path, data: Any) -> None:
    with pytest.raises(SlicingError, match=f"smoke must be of digits, got data {data}; pass --scale small or"):
        Workbench(ElasticSettings(tmp_path, data=data, data_dir=tmp_path), None)
    assert ElasticSettings(tmp_path, "paper", data="cifar10").sizes == elastic_settings.SCALES["paper"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--data images", "scale smoke must be of digits, got data images; pass --scale small"),
        ("--scale paper --data images", "scale paper needs images; pass --data-dir with its folder"),
        ("--scale small --data images --data-dir nowhere", "data folder nowhere does not exist"),
    ],
)
def test_bad_input_ends_with_one_line(tmp_path: Path, options: str, said: str) -> None:
    result = CliRunner().invoke(main, ["simulate", "tradeoff", *options.split(), "--out", str(tmp_path)])
    assert result.exit_code == 2
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error")]
    assert said in line
    assert not list(tmp_path.glob("*.json"))

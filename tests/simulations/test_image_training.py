"""Training on images that stay on disk: interrupted, resumed, and decoded by other threads, to the same network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from data import load_images
from simulations.cascade import load_data
from simulations.image_models import sliced_network
from simulations.image_training import Trainer
from simulations.settings import CascadeSettings
from slicing import TrainConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes with 30 pictures each, one brighter than the other."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for name, low in (("dark", 0), ("light", 100)):
        (root / name).mkdir()
        for i in range(30):
            pixels = rng.integers(low, low + 156, (12 + i % 5, 14, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def trained(
    out: Path, folder: Path, stop: int | None = None, resume: bool = False, workers: int = 2
) -> dict[str, Tensor]:
    settings = CascadeSettings(
        out,
        "images",
        folder,
        image_size=8,
        model="small-cnn",
        width=0.25,
        rates=(0.5, 1.0),
        resume=resume,
        workers=workers,
    )
    data = load_data(settings, None)
    network = sliced_network(settings, data, "nested")
    config = TrainConfig(epochs=3, batch_size=8, learning_rate=0.05)

    def on_epoch(epoch: int, _: torch.nn.Module) -> None:
        if epoch == stop:
            raise KeyboardInterrupt

    out.mkdir(exist_ok=True)
    Trainer(settings, data, config, out, None).fit("one", network, on_epoch=on_epoch)
    return network.state_dict()


def test_an_interrupted_training_resumes_to_the_identical_network(tmp_path: Path, folder: Path) -> None:
    whole = trained(tmp_path / "whole", folder)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "cut", folder, stop=1)
    resumed = trained(tmp_path / "cut", folder, resume=True, workers=3)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_loading_shows_progress_over_the_files(tmp_path: Path, folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    load_images("images", folder, image_size=8, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(60, 60)]

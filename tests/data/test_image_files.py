"""Images that stay on disk: cut as torchvision cuts them, the same whatever decodes them, few of them in memory."""

import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data import Augment, DataError, epoch_batches, image_files, load_images, ordered_batches
from data.augment import resized_crop_box
from data.image_files import AHEAD, ImageFiles, ResizedCrop
from data.torchvision_shim import torchvision


def picture(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8))


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 2**40))
@settings(max_examples=60, deadline=None)
def test_the_crops_box_is_the_one_that_torchvision_draws(height: int, width: int, seed: int) -> None:
    torchvision()
    from torchvision.transforms import RandomResizedCrop

    left, upper, right, lower = resized_crop_box(height, width, torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        top, beside, high, wide = RandomResizedCrop.get_params(
            Image.new("L", (width, height)), scale=[0.08, 1.0], ratio=[3 / 4, 4 / 3]
        )
    assert (upper, left, lower - upper, right - left) == (top, beside, high, wide)


@pytest.mark.parametrize(("height", "width"), [(300, 400), (411, 256), (224, 224), (100, 90), (256, 997)])
def test_evaluation_resizes_to_256_and_takes_the_centre_224(height: int, width: int) -> None:
    torchvision()
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    recipe = Compose([Resize(256), CenterCrop(224), PILToTensor()])
    assert torch.equal(ResizedCrop(224).plain(picture(height, width)), recipe(picture(height, width)))


def test_training_resizes_the_box_and_mirrors_half_of_them() -> None:
    whole, cut, mirrored = picture(40, 60), ResizedCrop(16), 0
    for seed in range(40):
        box = resized_crop_box(40, 60, torch.Generator().manual_seed(seed))
        straight = np.asarray(whole.crop(box).resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        plain = cut.random(whole, False, torch.Generator().manual_seed(seed)).numpy()
        flipped = cut.random(whole, True, torch.Generator().manual_seed(seed)).numpy()
        assert np.array_equal(plain, straight)
        assert np.array_equal(flipped, straight) or np.array_equal(flipped, straight[:, :, ::-1])
        mirrored += not np.array_equal(flipped, straight)
    assert 8 < mirrored < 32


@pytest.fixture
def folder(tmp_path: Path, write_picture) -> Path:
    """Two classes with 14 pictures each, of many sizes."""
    for name in ("ant", "bee"):
        for i in range(14):
            write_picture(tmp_path / "own" / name / f"{i:02}.png", (8 + i, 20 - i, 3))
    return tmp_path / "own"


def load(folder: Path, **options):
    return load_images("images", folder, image_size=8, validation_share=0.2, **options)


def epoch(data, number: int = 0, batch_size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    images = data.train.augmented(data.mirror_safe)
    return list(epoch_batches(images, batch_size, seed=3, epoch=number, mean=data.mean, std=data.std))


def test_an_epoch_is_the_same_whatever_the_workers_and_what_ran_before(folder: Path) -> None:
    first = epoch(load(folder, workers=1), 2)
    data = load(folder, workers=5)
    epoch(data, 1)
    torch.rand(3)
    again = epoch(data, 2)
    assert len(first) == len(again) > 1
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)
    assert not torch.equal(first[0][0], epoch(data, 3)[0][0])


def test_augmented_pictures_of_one_size_become_one_of_their_padded_crops(tmp_path: Path, write_picture) -> None:
    for name in "ab":
        for i in range(5):
            write_picture(tmp_path / name / f"{i}.png", (8, 8, 3))
    files = load_images("images", tmp_path, validation_share=0.3).train
    rows = [torch.arange(len(files))]
    (plain,) = files.batches(rows, torch.Generator())
    (augmented,) = files.augmented(True).batches(rows, torch.Generator().manual_seed(0))
    crops = [Augment(1)(plain, torch.Generator().manual_seed(seed)) for seed in range(300)]
    for row, image in enumerate(augmented):
        assert any(torch.equal(image, crop[row]) for crop in crops)
    assert not torch.equal(plain, augmented)


class Alive:
    """Counts the decoded images that exist at once."""

    def __init__(self) -> None:
        self.lock, self.now, self.most, self.all = threading.Lock(), 0, 0, 0

    def watch(self, pixels: torch.Tensor) -> torch.Tensor:
        with self.lock:
            self.now, self.all = self.now + 1, self.all + 1
            self.most = max(self.most, self.now)
        weakref.finalize(pixels, self.gone)
        return pixels

    def gone(self) -> None:
        self.now -= 1


@pytest.mark.parametrize("pictures", [40, 120])
def test_only_a_few_batches_are_in_memory_however_many_images_there_are(
    tmp_path: Path, write_picture, monkeypatch: pytest.MonkeyPatch, pictures: int
) -> None:
    for name in "ab":
        for i in range(pictures // 2):
            write_picture(tmp_path / name / f"{i}.png", (8, 8, 3))
    data = load(tmp_path, workers=2)
    alive, real = Alive(), image_files._pixels
    monkeypatch.setattr(image_files, "_pixels", lambda picture: alive.watch(real(picture)))
    for images, _ in ordered_batches(data.train, 4, mean=data.mean, std=data.std):
        assert len(images) <= 4
    assert alive.all == len(data.train)
    assert alive.most <= 4 * (AHEAD + 2)  # those ahead, the one being stacked, the one just stacked
    assert alive.now == 0


def test_a_truncated_file_is_named_when_its_batch_comes_and_nothing_is_left_running(folder: Path) -> None:
    path = folder / "bee" / "05.png"
    path.write_bytes(path.read_bytes()[:-60])
    data = load_files(folder)
    with pytest.raises(DataError, match=r"05\.png is no readable image .*replace or remove it") as caught:
        list(data.batches(torch.arange(len(data)).split(4), torch.Generator()))
    assert "\n" not in str(caught.value)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]


def load_files(folder: Path) -> ImageFiles:
    from data.folder import read_folder
    from data.image_split import ImageRequest

    source = read_folder(ImageRequest(folder, image_size=8, workers=2)).train
    assert isinstance(source, ImageFiles)
    return source


def test_a_file_that_is_gone_or_of_another_size_since_it_was_listed_is_named(tmp_path: Path, write_picture) -> None:
    for name in "ab":
        for i in range(5):
            write_picture(tmp_path / name / f"{i}.png", (6, 6, 3))
    data = load_images("images", tmp_path, validation_share=0.3)
    every = [torch.arange(len(data.train))]
    for path in tmp_path.glob("*/*.png"):
        write_picture(path, (6, 7, 3))
    with pytest.raises(DataError, match=r"\.png must be 6x6 pixels as when it was listed, got 7x6"):
        list(data.train.batches(every, torch.Generator()))
    for path in tmp_path.glob("*/*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"\.png is no readable image .*No such file"):
        list(data.train.batches(every, torch.Generator()))


def test_leaving_an_epoch_early_ends_its_threads(folder: Path) -> None:
    data = load_files(folder)
    batches = data.batches(torch.arange(len(data)).split(2), torch.Generator())
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("images")]

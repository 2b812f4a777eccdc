import dataclasses
from pathlib import Path

import pytest
import torch

from data import DataError, ImageSplit, load_images
from data.image_split import SourceImages
from data.images import IMAGE_DATA_SETS, _fingerprint


def rows(split: ImageSplit) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def test_validation_is_a_stratified_share_of_the_training_images(digits):
    assert len(digits.train) + len(digits.validation) == 1437
    assert len(digits.validation) == round(0.1 * 1437)
    assert rows(digits.train).isdisjoint(rows(digits.validation))
    per_class = torch.bincount(torch.cat([digits.train.labels, digits.validation.labels]))
    assert (torch.bincount(digits.validation.labels) - 0.1 * per_class).abs().max() < 1


def test_the_test_split_never_depends_on_the_seed_or_the_shares(digits):
    other = load_images("digits", seed=5, validation_share=0.3, train_limit=100)
    assert torch.equal(other.test.images, digits.test.images)
    assert torch.equal(other.test.labels, digits.test.labels)
    assert rows(digits.test).isdisjoint(rows(digits.train) | rows(digits.validation))


def test_the_seed_decides_the_validation_split(digits):
    again, other = load_images("digits"), load_images("digits", seed=1)
    assert torch.equal(again.validation.images, digits.validation.images)
    assert torch.equal(again.train.images, digits.train.images)
    assert not torch.equal(other.validation.images, digits.validation.images)


def test_train_limit_takes_a_stratified_subset_and_leaves_validation_alone(digits):
    limited = load_images("digits", train_limit=200)
    assert len(limited.train) == 200
    assert rows(limited.train) < rows(digits.train)
    assert torch.equal(limited.validation.images, digits.validation.images)
    expected = 200 * torch.bincount(digits.train.labels) / len(digits.train)
    assert (torch.bincount(limited.train.labels) - expected).abs().max() < 1


def ranks_in_class(limited: ImageSplit, full: ImageSplit) -> list[tuple[int, int]]:
    """Say which training images a limit kept, each as (class, place among the images of that class)."""
    kept, places, counts = rows(limited), [], [0] * 10
    for image, label in zip(full.images, full.labels.tolist(), strict=True):
        if image.numpy().tobytes() in kept:
            places.append((label, counts[label]))
        counts[label] += 1
    return sorted(places)


def test_the_seed_decides_the_limited_subset():
    chosen = [
        ranks_in_class(load_images("digits", train_limit=200, seed=seed).train, load_images("digits", seed=seed).train)
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0] != chosen[2]


def test_statistics_are_those_of_the_training_images(cifar10_batches):
    data = load_images("cifar10", cifar10_batches[0], validation_share=0.2, train_limit=30)
    pixels = data.train.images.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist(), abs=1e-12)


def test_the_fingerprint_is_of_the_content_alone(cifar10_batches, digits):
    folder, _, _ = cifar10_batches
    prints = {
        load_images("cifar10", folder, seed=seed, validation_share=share, train_limit=limit).fingerprint
        for seed, share, limit in ((0, 0.2, None), (1, 0.4, None), (2, 0.2, 20))
    }
    assert len(prints) == 1
    assert len(prints.pop()) == 64
    # any change of the code that moves this one makes old reports incomparable with new ones
    assert digits.fingerprint == "71b1601d7e7519f349e31a301f0fca81147afe15cdf6121b10e2c69532166c42"


def test_the_fingerprint_notices_every_part():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    split = ImageSplit(images, torch.tensor([0, 1]))
    one_pixel = images.clone()
    one_pixel[1, 2, 3, 3] += 1
    source = SourceImages(("a", "b"), split, split)
    variants = [
        source,
        dataclasses.replace(source, classes=("a", "c")),
        dataclasses.replace(source, train=ImageSplit(one_pixel, split.labels)),
        dataclasses.replace(source, test=ImageSplit(images, torch.tensor([1, 1]))),
        dataclasses.replace(source, test=ImageSplit(images.view(2, 3, 2, 8), split.labels)),
    ]
    assert len({_fingerprint(variant) for variant in variants}) == len(variants)
    assert _fingerprint(dataclasses.replace(source, mirror_safe=False)) == _fingerprint(source)


@pytest.mark.parametrize(
    ("name", "near"),
    [("cifar-10", "cifar10"), ("CIFAR100", "cifar100"), ("fashion", "fashion-mnist"), ("digit", "digits")],
)
def test_an_unknown_name_gets_the_nearest(name, near):
    with pytest.raises(DataError, match=f"unknown data set '{name}'; known: digits, .*Did you mean '{near}'") as caught:
        load_images(name)
    assert all(known in str(caught.value) for known in IMAGE_DATA_SETS)


def test_a_name_far_from_all_gets_none():
    with pytest.raises(DataError) as caught:
        load_images("zzz")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_validation_share_out_of_range(share):
    with pytest.raises(DataError, match="validation_share must lie between 0 and 1, both excluded, got"):
        load_images("digits", validation_share=share)


@pytest.mark.parametrize("share", [0.001, 0.9999])
def test_validation_share_that_starves_a_class(share):
    with pytest.raises(
        DataError, match=rf"validation split \(validation_share {share}\) must hold between 10 and 1427"
    ):
        load_images("digits", validation_share=share)


@pytest.mark.parametrize("limit", [-1, 0, 9, 1294])
def test_train_limit_out_of_range(limit):
    message = rf"limited training split \(train_limit\) must hold between 10 and 1293 of 1293 images .*got {limit}"
    with pytest.raises(DataError, match=message):
        load_images("digits", train_limit=limit)


def test_other_arguments_out_of_range(tmp_path):
    with pytest.raises(DataError, match="seed must not be negative, got -1"):
        load_images("digits", seed=-1)
    with pytest.raises(DataError, match="image_size resizes the data set 'images' only, got 8 with 'digits'"):
        load_images("digits", image_size=8)
    with pytest.raises(DataError, match="cannot be downloaded"):
        load_images("images", tmp_path, download=True)


def test_too_few_images_of_a_class_for_the_validation_split(cifar10_batches, writers, rng):
    folder, images, _ = cifar10_batches
    place = folder / "cifar-10-batches-py"
    for i in range(1, 6):  # a frog, class 6, in the first batch only
        labels = [label if i == 1 or label != 6 else 5 for label in range(10)]
        (place / f"data_batch_{i}").write_bytes(writers["python2_batch"](images[:10].reshape(10, -1), labels))
    with pytest.raises(
        DataError, match=r"too few images of class 'frog' for the validation split .*at least 2 needed, got 1"
    ):
        load_images("cifar10", folder, validation_share=0.5)


def test_a_class_without_test_images(cifar10_batches, writers):
    folder, images, _ = cifar10_batches
    path = folder / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(writers["python2_batch"](images[50:].reshape(10, -1), [*range(9), 8]))
    with pytest.raises(DataError, match="the test split must have an image of each class, it has none of 'truck'"):
        load_images("cifar10", folder, validation_share=0.2)


def test_a_constant_channel(cifar10_batches, writers):
    folder, images, _ = cifar10_batches
    images[:, 1] = 51
    for i in range(1, 6):
        content = writers["python2_batch"](images[:10].reshape(10, -1), list(range(10)))
        (folder / "cifar-10-batches-py" / f"data_batch_{i}").write_bytes(content)
    with pytest.raises(DataError, match="channel 1 must vary over the training images, it is 51 everywhere"):
        load_images("cifar10", folder, validation_share=0.2)


def test_an_unreadable_file_is_named(cifar10_batches, monkeypatch):
    folder, _, _ = cifar10_batches

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(DataError, match="data_batch_1 cannot be read: Permission denied"):
        load_images("cifar10", folder)


def test_a_folder_in_place_of_a_file(cifar10_batches):
    folder, _, _ = cifar10_batches
    path = folder / "cifar-10-batches-py" / "test_batch"
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="missing: test_batch"):
        load_images("cifar10", folder)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64), "images must be uint8 of shape"),
        (
            torch.zeros(2, 2, 4, 4, dtype=torch.uint8),
            torch.zeros(2, dtype=torch.int64),
            r"\(N, 1 or 3, H, W\)",
        ),
        (
            torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
            torch.zeros(3, dtype=torch.int64),
            r"int64 of shape \(2,\)",
        ),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2), "labels must be int64"),
    ],
)
def test_what_a_split_must_be(images, labels, message):
    with pytest.raises(DataError, match=message):
        ImageSplit(images, labels)

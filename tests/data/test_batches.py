import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from data import Augment, DataError, ImageSplit, epoch_batches, load_images, normalise, ordered_batches
from data.batches import _AUGMENTATION, _ORDER, _generator
from data.torchvision_shim import torchvision

MEAN, STD = (0.5, 0.25, 0.125), (0.5, 0.2, 0.1)


def make(count: int, channels: int = 3, height: int = 8, width: int = 8) -> ImageSplit:
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(256, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    return ImageSplit(images, torch.arange(count))  # the label tells which image it is


def crops(image: torch.Tensor, padding: int, flip: bool) -> list[torch.Tensor]:
    """Every result that augmenting one image may have, by plain slicing; (C, H, W) in and out."""
    channels, height, width = image.shape
    canvas = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    canvas[:, padding : padding + height, padding : padding + width] = image
    every = [canvas[:, y : y + height, x : x + width] for y in range(2 * padding + 1) for x in range(2 * padding + 1)]
    return every + [crop.flip(-1) for crop in every] if flip else every


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 3),
    st.booleans(),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 999),
)
def test_each_image_becomes_one_of_its_crops(padding, flip, count, height, width, seed):
    images = make(count, 3, height, width).images
    augmented = Augment(padding, flip)(images, torch.Generator().manual_seed(seed))
    assert augmented.shape == images.shape
    assert augmented.dtype == torch.uint8
    for before, after in zip(images, augmented, strict=True):
        assert any(torch.equal(after, crop) for crop in crops(before, padding, flip))


def test_every_crop_occurs_equally_often_and_independently_of_its_neighbours():
    image = make(1, 1, 3, 3).images
    every = crops(image[0], 1, flip=True)
    count = 18 * 200
    augmented = Augment(1)(image.expand(count, -1, -1, -1), torch.Generator().manual_seed(0))
    which = torch.tensor([next(i for i, c in enumerate(every) if torch.equal(a, c)) for a in augmented])
    frequency = torch.bincount(which, minlength=18)
    # chi-squared with 17 degrees of freedom stays below 40.8 in 999 of 1000 draws
    assert ((frequency - 200) ** 2 / 200).sum() < 40.8
    repeats = (which[1:] == which[:-1]).double().mean()
    assert repeats == pytest.approx(1 / 18, abs=0.02)


def test_agrees_with_the_common_recipe_on_what_padding_is():
    """torchvision pads raw pixels with 0, then crops; a corner crop shows the padding."""
    torchvision()
    from torchvision.transforms import v2

    white = torch.full((64, 3, 8, 8), 255, dtype=torch.uint8)
    ours = Augment(2, flip=False)(white, torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    recipe = v2.RandomCrop(8, padding=2)
    theirs = torch.stack([recipe(image) for image in white])
    assert {tuple(image.flatten().tolist()) for image in ours} <= {
        tuple(crop.flatten().tolist()) for crop in crops(white[0], 2, flip=False)
    }
    assert set(ours.unique().tolist()) == set(theirs.unique().tolist()) == {0, 255}


def test_standard_augmentation_by_data_set(cifar10_batches):
    digits = load_images("digits")
    assert digits.train.augmented(digits.mirror_safe).augment == Augment(padding=1, flip=False)
    cifar = load_images("cifar10", cifar10_batches[0], validation_share=0.2)
    assert cifar.train.augmented(cifar.mirror_safe).augment == Augment(padding=4, flip=True)
    assert make(2, 1, 28, 28).augmented(True).augment == Augment(padding=3, flip=True)
    assert cifar.train.augment is None


def test_normalise_equals_torchvision():
    images = make(5).images
    torchvision()
    from torchvision.transforms import v2

    recipe = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    got = normalise(images, MEAN, STD)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, recipe(images), rtol=0, atol=1e-6)
    # one pixel written out: (51 / 255 - .5) / .5
    assert normalise(torch.full((1, 3, 1, 1), 51, dtype=torch.uint8), MEAN, STD)[0, 0] == pytest.approx(-0.6)


def test_normalised_training_images_have_mean_0_and_deviation_1():
    data = load_images("digits")
    images = normalise(data.train.images, data.mean, data.std)
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def epoch(split: ImageSplit, batch_size: int = 4, seed: int = 0, number: int = 0, augment: Augment | None = None):
    split = dataclasses.replace(split, augment=augment)
    return list(epoch_batches(split, batch_size, seed=seed, epoch=number, mean=MEAN, std=STD))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**63), st.integers(0, 2**40))
def test_an_epoch_shows_every_image_once_with_its_label(count, batch_size, seed, number):
    split = make(count)
    batches = epoch(split, batch_size, seed, number)
    sizes = [len(labels) for _, labels in batches]
    assert sizes == [batch_size] * (count // batch_size) + ([count % batch_size] if count % batch_size else [])
    labels = torch.cat([labels for _, labels in batches])
    assert sorted(labels.tolist()) == list(range(count))
    images = torch.cat([images for images, _ in batches])
    assert torch.equal(images, normalise(split.images, MEAN, STD)[labels])


def test_an_epoch_depends_on_its_seed_and_number_alone():
    split = make(50)
    first = epoch(split, number=3, augment=Augment(1))
    torch.manual_seed(99)
    torch.rand(7)
    epoch(split, number=2, augment=Augment(1))
    again = epoch(split, number=3, augment=Augment(1))
    for (images, labels), (images_again, labels_again) in zip(first, again, strict=True):
        assert torch.equal(images, images_again)
        assert torch.equal(labels, labels_again)


def test_orders_differ_between_epochs_seeds_and_their_sums():
    split = make(50)
    orders = {
        (seed, number): tuple(torch.cat([labels for _, labels in epoch(split, 50, seed, number)]).tolist())
        for seed in range(3)
        for number in range(3)
    }
    assert len(set(orders.values())) == 9
    assert orders[0, 0] != tuple(range(50))


def test_augmentation_does_not_change_the_order_and_differs_between_epochs():
    split = make(50)
    plain = torch.cat([labels for _, labels in epoch(split)])
    augmented = torch.cat([labels for _, labels in epoch(split, augment=Augment(2))])
    assert torch.equal(plain, augmented)

    def shown(number: int) -> torch.Tensor:
        batches = epoch(split, 50, number=number, augment=Augment(2))
        return batches[0][0][batches[0][1].argsort()]

    assert not torch.equal(shown(0), shown(1))


def test_order_and_augmentation_are_drawn_from_separate_streams():
    assert _generator(1, 2, _ORDER).initial_seed() != _generator(1, 2, _AUGMENTATION).initial_seed()


def test_batches_leave_the_data_alone_and_do_not_touch_the_global_generator():
    split = make(9)
    before, state = split.images.clone(), torch.get_rng_state()
    for images, _ in epoch(split, augment=Augment(1)):
        images.zero_()
    for images, _ in ordered_batches(split, 4, mean=MEAN, std=STD):
        images.zero_()
    assert torch.equal(split.images, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_ordered_batches_keep_the_order():
    split = make(10)
    batches = list(ordered_batches(split, 4, mean=MEAN, std=STD))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.cat([labels for _, labels in batches]).tolist() == list(range(10))
    assert torch.equal(torch.cat([images for images, _ in batches]), normalise(split.images, MEAN, STD))


def test_bad_arguments_are_refused_before_the_first_batch():
    split = make(3)
    with pytest.raises(DataError, match="batch_size must be at least 1, got 0"):
        epoch_batches(split, 0, seed=0, epoch=0, mean=MEAN, std=STD)
    with pytest.raises(DataError, match="batch_size must be at least 1, got -2"):
        ordered_batches(split, -2, mean=MEAN, std=STD)
    with pytest.raises(DataError, match="seed and epoch must not be negative, got 0 and -1"):
        epoch_batches(split, 1, seed=0, epoch=-1, mean=MEAN, std=STD)
    with pytest.raises(DataError, match="padding must not be negative, got -1"):
        Augment(-1)
    with pytest.raises(DataError, match="images must be uint8"):
        normalise(split.images.float(), MEAN, STD)
    with pytest.raises(DataError, match="one value for each of 3 channels"):
        normalise(split.images, (0.5,), (0.5,))
    with pytest.raises(DataError, match="std must be positive"):
        normalise(split.images, MEAN, (0.1, 0.0, 0.1))


def test_zero_padding_is_black_after_normalisation_too():
    white = torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)
    black = normalise(torch.zeros_like(white), MEAN, STD)[0, :, 0, 0]
    shown = normalise(F.pad(white, [1] * 4), MEAN, STD)
    assert torch.equal(shown[0, :, 0, 0], black)
    split = ImageSplit(white.expand(64, -1, -1, -1), torch.zeros(64, dtype=torch.int64))
    values = {
        tuple(pixel.tolist())
        for images, _ in epoch(split, 64, augment=Augment(1))
        for pixel in images.permute(0, 2, 3, 1).reshape(-1, 3)
    }
    assert tuple(black.tolist()) in values
    assert len(values) == 2

import numpy as np
import torch
from sklearn.datasets import load_digits

from data.digits import TEST_IMAGES, read_digits
from data.image_split import ImageRequest


def test_every_digit_is_there_once_scaled_to_255():
    source = read_digits(ImageRequest(None))
    pixels, labels = load_digits(return_X_y=True)
    expected = sorted((int(label), *row) for label, row in zip(labels, np.rint(pixels * 255 / 16), strict=True))
    got = [
        (int(label), *image.flatten().tolist())
        for split in (source.train, source.test)
        for label, image in zip(split.labels, split.images, strict=True)
    ]
    assert sorted(got) == expected
    assert source.train.images.shape == (1797 - TEST_IMAGES, 1, 8, 8)
    assert source.train.images.max() == 255
    assert source.classes == tuple("0123456789")
    assert not source.mirror_safe


def test_the_test_split_is_a_stratified_fifth():
    source = read_digits(ImageRequest(None))
    assert len(source.test) == TEST_IMAGES == 360
    shares = torch.bincount(source.test.labels) / torch.bincount(torch.cat([source.test.labels, source.train.labels]))
    assert (shares - 0.2).abs().max() < 0.01


def test_the_test_split_never_changes():
    """Published figures rest on these very images; their labels, in order, stand for them."""
    labels = read_digits(ImageRequest(None)).test.labels
    assert labels[:20].tolist() == [5, 8, 8, 9, 5, 0, 7, 1, 7, 7, 5, 5, 2, 1, 1, 3, 9, 1, 7, 2]

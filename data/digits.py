"""scikit-learn's handwritten digits (Alpaydin 1998): 1797 grey images of 8x8 pixels, part of the package."""

import numpy as np
import torch

from data.image_split import ImageRequest, ImageSplit, SourceImages
from data.splits import remaining, stratified_sample

CLASSES = tuple("0123456789")
TEST_IMAGES = 360
"""A fifth, rounded up; always the same images, whatever seed the user sets."""

_TEST_SEED = 1797  # part of the data set's definition: changing it changes every published figure
_DARKEST = 16  # the package stores 17 levels of ink, 0 to 16


def read_digits(request: ImageRequest) -> SourceImages:
    """Read the digits, scaled from 0..16 to 0..255; a fixed fifth is the test split, as none is published."""
    from sklearn.datasets import load_digits  # takes a second to import: only this source pays for it

    pixels, labels = load_digits(return_X_y=True)
    images = np.rint(pixels.reshape(-1, 1, 8, 8) * (255 / _DARKEST)).astype(np.uint8)
    everything = ImageSplit(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))
    test = stratified_sample(everything.labels, TEST_IMAGES, CLASSES, [_TEST_SEED], purpose="the test split", leave=1)
    train = remaining(test, len(everything))
    return SourceImages(CLASSES, everything.take(train), everything.take(test), mirror_safe=False)

"""Image data sets by name, divided into training, validation and test images."""

import difflib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from data.cifar import read_cifar10, read_cifar100
from data.digits import read_digits
from data.errors import DataError
from data.fashion_mnist import read_fashion_mnist
from data.folder import read_folder
from data.image_split import ImageRequest, ImageSet, Progress, SourceImages
from data.splits import remaining, stratified_sample

_SOURCES: dict[str, Callable[[ImageRequest], SourceImages]] = {
    "digits": read_digits,
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "fashion-mnist": read_fashion_mnist,
    "images": read_folder,
}
IMAGE_DATA_SETS = tuple(_SOURCES)
"""The names that :func:`load_images` knows."""

_VALIDATION, _LIMIT = 1, 2  # separate random streams, so that the two choices are independent
_STATISTICS = 200_000_000  # numbers that mean and deviation are taken from at most: all of CIFAR, 1,328 of ImageNet
_STATISTICS_BATCH = 1000
_MOST_WORKERS = 16


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set ready for training.

    Attributes:
        name: the name it was loaded by.
        classes: the name of each class, in the order of the class numbers.
        train: the images to learn from.
        validation: the images to make choices by; taken from the publisher's training images.
        test: the images to report on; never depends on a seed.
        mean: of each channel over ``train`` (over evenly spread images of it where they hold more than 200 million
            numbers), in [0, 1].
        std: population standard deviation of each channel over the same, in (0, 0.5].
        fingerprint: SHA-256 of classes, images and labels before validation and limit are taken off: the same
            for every seed, share and limit. Of images that stay on disk, names and sizes of the files.
        mirror_safe: whether an image flipped left to right still shows its class.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    mirror_safe: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (C, H, W)."""
        return self.train.shape


def load_images(
    name: str,
    data_dir: str | Path | None = None,
    *,
    download: bool = False,
    validation_share: float = 0.1,
    train_limit: int | None = None,
    image_size: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int | None = None,
) -> ImageData:
    """Load a data set of images.

    Args:
        name: one of :data:`IMAGE_DATA_SETS`. ``digits`` ships with scikit-learn and needs no folder;
            ``images`` is a folder with a subfolder for each class.
        data_dir: the folder to read, for every name but ``digits``.
        download: fetch the data set into ``data_dir`` when it is not there (CIFAR and Fashion-MNIST).
        validation_share: share of the training images that becomes the validation split, in (0, 1).
        train_limit: number of training images kept, at least one of each class; None keeps all that the
            validation split leaves. The validation split is the same with and without a limit.
        image_size: for ``images``: make squares of so many pixels a side as is usual for ImageNet: for evaluation
            the shorter side is resized to 256/224 of it and the centre cropped, for training a random part resized.
        seed: non-negative; determines the validation split and the limited subset, never the test split.
        progress: called as ``progress(done, total)`` while images are decoded (Parquet) or looked at (folders).
        workers: for ``images``: threads that decode the batches, at least 1; None is one for each processor, at most
            16. Results do not depend on it.

    Raises:
        DataError: an unknown name, an argument out of range, data that is missing or damaged, too few images
            of a class.
    """
    if name not in _SOURCES:
        near = difflib.get_close_matches(name.lower(), _SOURCES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"unknown data set {name!r}; known: {', '.join(_SOURCES)}.{hint}")
    if not 0 < validation_share < 1:
        raise DataError(f"validation_share must lie between 0 and 1, both excluded, got {validation_share}")
    if seed < 0:
        raise DataError(f"seed must not be negative, got {seed}")
    if image_size is not None and name != "images":
        raise DataError(f"image_size resizes the data set 'images' only, got {image_size} with {name!r}: leave it out")
    if workers is not None and name != "images":
        raise DataError(f"workers decode the data set 'images' only, got {workers} with {name!r}: leave it out")
    if workers is not None and workers < 1:
        raise DataError(f"workers must be at least 1, got {workers}: leave it out for one a processor")
    if download and name == "images":
        raise DataError("the data set 'images' is your own folder and cannot be downloaded: leave download out")
    folder = None if data_dir is None else Path(data_dir)
    try:
        source = _SOURCES[name](ImageRequest(folder, download, image_size, progress, workers or _processors()))
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror or error}") from error
    _refuse_gaps(source.test, source.classes)
    train, validation = _divide(source, validation_share, train_limit, seed)
    mean, std = _channel_statistics(train)
    return ImageData(
        name,
        source.classes,
        train,
        validation,
        source.test,
        mean,
        std,
        _fingerprint(source),
        source.mirror_safe,
    )


def _refuse_gaps(test: ImageSet, classes: tuple[str, ...]) -> None:
    for number, count in enumerate(torch.bincount(test.labels, minlength=len(classes)).tolist()):
        if count == 0:
            raise DataError(f"the test split must have an image of each class, it has none of {classes[number]!r}")


def _divide(
    source: SourceImages, validation_share: float, train_limit: int | None, seed: int
) -> tuple[ImageSet, ImageSet]:
    labels, classes = source.train.labels, source.classes
    held_out = stratified_sample(
        labels,
        round(validation_share * len(labels)),
        classes,
        [seed, _VALIDATION],
        purpose=f"the validation split (validation_share {validation_share})",
        leave=1,
    )
    kept = remaining(held_out, len(labels))
    if train_limit is not None:
        kept = kept[
            stratified_sample(
                labels[kept],
                train_limit,
                classes,
                [seed, _LIMIT],
                purpose="the limited training split (train_limit)",
            )
        ]
    return source.train.take(kept), source.train.take(held_out)


def _channel_statistics(split: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and population standard deviation of each channel in [0, 1] units, from exact counts."""
    channels = split.shape[0]
    looked_at = min(len(split), max(1, _STATISTICS // prod(split.shape)))
    rows = torch.arange(looked_at) * len(split) // looked_at
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for images in split.batches(rows.split(_STATISTICS_BATCH), torch.Generator()):
        for channel in range(channels):
            counts[channel] += torch.bincount(images[:, channel].flatten(), minlength=256)
    means, deviations = [], []
    levels = torch.arange(256, dtype=torch.float64) / 255
    for channel, share in enumerate(counts.double() / counts[0].sum()):
        mean = float(share @ levels)
        deviation = float((share @ (levels - mean).square()).sqrt())
        if share.max() == 1:
            raise DataError(f"channel {channel} must vary over the training images, it is {mean * 255:.0f} everywhere")
        means.append(mean)
        deviations.append(deviation)
    return tuple(means), tuple(deviations)


def _fingerprint(source: SourceImages) -> str:
    digest = hashlib.sha256("\0".join(source.classes).encode())
    for split in (source.train, source.test):
        split.feed(digest.update)
    return digest.hexdigest()


def _processors() -> int:
    return min(_MOST_WORKERS, os.cpu_count() or 1)

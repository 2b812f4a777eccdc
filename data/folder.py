"""Images in a folder per class: ``DIR/train/<class>/*`` with ``DIR/test/<class>/*``, or ``DIR/<class>/*``."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data.errors import DataError
from data.image_files import ImageFiles, Look, ResizedCrop, WholePicture, look_at
from data.image_split import ImageRequest, SourceImages, existing_folder
from data.splits import remaining, stratified_sample

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
"""What counts as an image, in any case of letters; other files are left alone."""

TEST_SHARE = 0.2
"""Share that becomes the test split where the folder has none."""

_TEST_NAMES = ("test", "val")  # ImageNet's labelled images for evaluation are called val
_TEST_SEED = 0  # fixed: the test images must not depend on the user's seed
_LOOKS = 100  # headers read between two calls of the progress callback


@dataclass(frozen=True)
class _Listing:
    """Files by class: ``names`` are paths below the data folder, as the system encodes them."""

    classes: tuple[str, ...]
    names: list[bytes]
    labels: torch.Tensor


def read_folder(request: ImageRequest) -> SourceImages:
    """List a folder of images, one subfolder a class, class numbers in the order of the sorted names.

    With ``train`` and ``test`` (or ``val``) below the folder each is such a folder, with the same classes. Otherwise
    a stratified fifth of the images, the same for every seed, becomes the test split. All images are grey when
    every file is grey, and RGB otherwise; transparency is dropped. Hidden files and files of other types are
    skipped. Of the files only the headers are read; the pixels follow when a batch asks for them.

    With ``image_size`` they are prepared as ImageNet is (:class:`data.image_files.ResizedCrop`), otherwise taken as
    they are.

    Raises:
        DataError: no classes, an empty class, different classes in train and test, a file that is no image, images
            of different sizes while no ``image_size`` is set.
    """
    folder = existing_folder(request, "images")
    if request.image_size is not None and request.image_size < 1:
        raise DataError(f"image_size must be at least 1 pixel, got {request.image_size}")
    train_folder = folder / "train"
    test_folder = next((folder / name for name in _TEST_NAMES if _subfolders(folder / name)), folder / _TEST_NAMES[0])
    if not (_subfolders(train_folder) or _subfolders(test_folder)):
        found = _list(folder, folder)
        everything, labels = _files(folder, found, request), found.labels
        test = stratified_sample(
            labels, round(TEST_SHARE * len(labels)), found.classes, [_TEST_SEED], purpose="the test split", leave=1
        )
        return SourceImages(found.classes, everything.take(remaining(test, len(labels))), everything.take(test))
    train, held_out = _list(train_folder, folder), _list(test_folder, folder)
    if train.classes != held_out.classes:
        differing = sorted(set(train.classes) ^ set(held_out.classes))[0]
        raise DataError(
            f"{folder}: train and {test_folder.name} must have the same classes, only one has {differing!r}"
        )
    both = _Listing(train.classes, train.names + held_out.names, torch.cat([train.labels, held_out.labels]))
    everything, count = _files(folder, both, request), len(train.names)
    rows = torch.arange(len(everything))
    return SourceImages(train.classes, everything.take(rows[:count]), everything.take(rows[count:]))


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _list(place: Path, root: Path) -> _Listing:
    """The images of the classes below ``place``, in the order of their names."""
    classes = _subfolders(place)
    if len(classes) < 2:
        raise DataError(f"{place} must hold a subfolder of images for each of two or more classes, got {len(classes)}")
    names: list[bytes] = []
    labels: list[int] = []
    for number, each in enumerate(classes):
        images = sorted(_images(each))
        if not images:
            raise DataError(f"{each} holds no image ({' '.join(SUFFIXES)}): add images or remove the folder")
        below = each.relative_to(root)
        names += [os.fsencode(below / name) for name in images]
        labels += [number] * len(images)
    return _Listing(tuple(each.name for each in classes), names, torch.tensor(labels, dtype=torch.int64))


def _images(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file():
                yield entry.name


def _files(root: Path, found: _Listing, request: ImageRequest) -> ImageFiles:
    """All listed files as one set, after a look at every header."""
    names = np.array(found.names)
    grey = np.empty(len(names), dtype=np.bool_)
    pixels = np.empty((len(names), 2), dtype=np.int64)
    sizes = np.empty(len(names), dtype=np.int64)
    for row, look in enumerate(_looks(root, names, request)):
        grey[row], pixels[row], sizes[row] = look.grey, look.size, look.bytes
    channels = 1 if grey.all() else 3
    side = request.image_size
    if side is not None:
        return ImageFiles(root, names, sizes, found.labels, (channels, side, side), ResizedCrop(side), request.workers)
    height, width = pixels[0].tolist()
    odd = np.flatnonzero((pixels != pixels[0]).any(1))
    if odd.size:
        first, other = (root / os.fsdecode(names[row]) for row in (0, odd[0]))
        other_height, other_width = pixels[odd[0]]
        raise DataError(
            f"all images must have one size: {other} is {other_width}x{other_height} pixels, {first} is "
            f"{width}x{height}: set image_size (--image-size N) to resize and crop them"
        )
    return ImageFiles(root, names, sizes, found.labels, (channels, height, width), WholePicture(), request.workers)


def _looks(root: Path, names: NDArray[np.bytes_], request: ImageRequest) -> Iterator[Look]:
    with ThreadPoolExecutor(request.workers) as pool:
        for start in range(0, len(names), _LOOKS):
            paths = [root / os.fsdecode(name) for name in names[start : start + _LOOKS]]
            yield from pool.map(look_at, paths)
            if request.progress:
                request.progress(start + len(paths), len(names))

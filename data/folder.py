"""Images in a folder per class: ``DIR/train/<class>/*`` with ``DIR/test/<class>/*``, or ``DIR/<class>/*``."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from data.errors import DataError
from data.image_split import ImageRequest, ImageSplit, SourceImages, existing_folder
from data.splits import remaining, stratified_sample

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm")
"""What counts as an image, in any case of letters; other files are left alone."""

TEST_SHARE = 0.2
"""Share that becomes the test split where the folder has none."""

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")
_TEST_SEED = 0  # fixed: the test images must not depend on the user's seed
_REPORT_EVERY = 100


def read_folder(request: ImageRequest) -> SourceImages:
    """Read a folder of images, one subfolder a class, class numbers in the order of the sorted names.

    With ``train`` and ``test`` below the folder each is such a folder, with the same classes. Otherwise a
    stratified fifth of the images, the same for every seed, becomes the test split. All images are grey when
    every file is grey, and RGB otherwise; transparency is dropped. Hidden files and files of other types are
    skipped.

    Raises:
        DataError: no classes, an empty class, different classes in train and test, a damaged image, images of
            different sizes while no ``image_size`` is set.
    """
    folder = existing_folder(request, "images")
    if request.image_size is not None and request.image_size < 1:
        raise DataError(f"image_size must be at least 1 pixel, got {request.image_size}")
    train_folder, test_folder = folder / "train", folder / "test"
    if not (_subfolders(train_folder) or _subfolders(test_folder)):
        classes, paths, labels = _list(folder)
        everything = ImageSplit(_decode(paths, request), labels)
        test = stratified_sample(
            labels, round(TEST_SHARE * len(labels)), classes, [_TEST_SEED], purpose="the test split", leave=1
        )
        return SourceImages(classes, everything.take(remaining(test, len(labels))), everything.take(test))
    classes, train_paths, train_labels = _list(train_folder)
    test_classes, test_paths, test_labels = _list(test_folder)
    if classes != test_classes:
        differing = sorted(set(classes) ^ set(test_classes))[0]
        raise DataError(f"{folder}: train and test must have the same classes, only one has {differing!r}")
    images = _decode(train_paths + test_paths, request)
    return SourceImages(
        classes,
        ImageSplit(images[: len(train_paths)], train_labels),
        ImageSplit(images[len(train_paths) :], test_labels),
    )


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _list(folder: Path) -> tuple[tuple[str, ...], list[Path], torch.Tensor]:
    """Return the classes, the images' paths in the order of their names, and their labels."""
    classes = _subfolders(folder)
    if len(classes) < 2:
        raise DataError(f"{folder} must hold a subfolder of images for each of two or more classes, got {len(classes)}")
    paths, labels = [], []
    for number, place in enumerate(classes):
        images = sorted(_images(place))
        if not images:
            raise DataError(f"{place} holds no image ({' '.join(SUFFIXES)}): add images or remove the folder")
        paths += images
        labels += [number] * len(images)
    return tuple(place.name for place in classes), paths, torch.tensor(labels, dtype=torch.int64)


def _images(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file():
            yield path


def _decode(paths: list[Path], request: ImageRequest) -> torch.Tensor:
    """Return uint8, shape (N, C, H, W)."""
    pictures: list[np.ndarray] = []
    for path in paths:
        pixels = _decode_one(path, request.image_size)
        if pictures and pixels.shape[:2] != pictures[0].shape[:2]:
            (height, width), (first_height, first_width) = pixels.shape[:2], pictures[0].shape[:2]
            raise DataError(
                f"all images must have one size: {path} is {width}x{height} pixels, {paths[0]} is "
                f"{first_width}x{first_height}: set image_size (--image-size N) to resize and crop them"
            )
        pictures.append(pixels)
        if request.progress and (len(pictures) % _REPORT_EVERY == 0 or len(pictures) == len(paths)):
            request.progress(len(pictures), len(paths))
    if any(pixels.ndim == 3 for pixels in pictures):
        pictures = [pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2) for pixels in pictures]
        return torch.from_numpy(np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2)))
    return torch.from_numpy(np.stack(pictures)[:, None])


def _decode_one(path: Path, image_size: int | None) -> np.ndarray:
    """Return uint8, shape (H, W) for a grey image, (H, W, 3) otherwise."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{path} must have 8 bits a channel, got mode {image.mode}: convert it first")
            picture = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    except DataError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more on damaged files
        raise DataError(f"{path} is no readable image ({error}): replace or remove it") from error
    if image_size is not None:
        picture = ImageOps.fit(picture, (image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(picture)

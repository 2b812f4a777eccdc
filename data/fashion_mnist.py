"""Fashion-MNIST (Xiao et al. 2017): the published idx files, plain or .gz, or Hugging Face's Parquet."""

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from data.download import fetch
from data.errors import DataError
from data.image_split import ImageRequest, ImageSplit, SourceImages, checked_labels, existing_folder
from data.parquet_images import ParquetLayout, find_shards, read_shards
from data.torchvision_shim import torchvision

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_TITLE = "Fashion-MNIST"
_SIZE = (28, 28)
_STEMS = tuple(f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
_PARQUET_FOLDERS = ("data", "fashion_mnist", "fashion-mnist")


def read_fashion_mnist(request: ImageRequest) -> SourceImages:
    """Read Fashion-MNIST: 28x28 grey, 60,000 training and 10,000 test images in 10 classes."""
    folder = existing_folder(request, "fashion-mnist")
    files = _find_files(folder)
    if files is None and (shards := find_shards(folder, _PARQUET_FOLDERS)):
        return SourceImages(
            CLASSES, *read_shards(shards, ParquetLayout("L", _SIZE, ("label",), CLASSES), request.progress)
        )
    if files is None:
        if not request.download:
            raise DataError(
                f"no {_TITLE} in {folder}: looked for {_STEMS[0]}[.gz] (also in FashionMNIST/raw) and for "
                f"train-*.parquet (Parquet shards, also in {', '.join(_PARQUET_FOLDERS)}): "
                "set data_dir (--data-dir DIR) to either, or fetch the idx files with download (--download)"
            )
        files = _download(folder)
    train_images, train_labels, test_images, test_labels = files
    return SourceImages(CLASSES, _read_pair(train_images, train_labels), _read_pair(test_images, test_labels))


def _find_files(folder: Path) -> tuple[Path, ...] | None:
    """Return the four files, images before labels, training before test; None where there is none of them."""
    for place in (folder / "FashionMNIST" / "raw", folder):
        found = [
            next((path for path in (place / stem, place / f"{stem}.gz") if path.is_file()), None) for stem in _STEMS
        ]
        missing = [stem for stem, path in zip(_STEMS, found, strict=True) if path is None]
        if not missing:
            return tuple(path for path in found if path is not None)
        if len(missing) < len(_STEMS):
            raise DataError(
                f"{place} must hold four idx files, missing: {', '.join(missing)} (with or without .gz): "
                "remove the folder and fetch it again (--download)"
            )
    return None


def _download(folder: Path) -> tuple[Path, ...]:
    published = torchvision().datasets.FashionMNIST
    target = folder / "FashionMNIST" / "raw"
    fetch(published.resources, published.mirrors, target, _TITLE)
    return tuple(target / f"{stem}.gz" for stem in _STEMS)


def _read_pair(images: Path, labels: Path) -> ImageSplit:
    pixels, numbers = _read_idx(images, 3), _read_idx(labels, 1)
    if pixels.shape[1:] != _SIZE:
        got = f"{pixels.shape[2]}x{pixels.shape[1]}"
        raise DataError(f"{images} must hold images of 28x28 pixels, got {got}: is this {_TITLE}?")
    if len(pixels) != len(numbers):
        raise DataError(f"{labels} must hold a label for each of {len(pixels)} images, got {len(numbers)}")
    return ImageSplit(torch.from_numpy(pixels[:, None]), torch.from_numpy(checked_labels(numbers, CLASSES, labels)))


def _read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an idx file of unsigned bytes: 0, 0, 8, number of dimensions, the big-endian sizes, the values."""
    header = 4 + 4 * dimensions
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            head = file.read(header)
            if head[:4] != bytes((0, 0, 8, dimensions)) or len(head) < header:
                raise DataError(f"{path} must be an idx file of {dimensions}-dimensional bytes: fetch it again")
            shape = struct.unpack(f">{dimensions}I", head[4:])
            expected = int(np.prod(shape, dtype=object))
            content = file.read(expected + 1)  # one more, to notice a surplus without reading all of it
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged ({error}): fetch it again") from error
    if len(content) != expected:
        raise DataError(f"{path} must hold {expected} values after its header, it does not: fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape).copy()

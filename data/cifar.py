"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the original Python batches or Hugging Face's Parquet shards."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES
from data.download import fetch
from data.errors import DataError
from data.image_split import ImageRequest, ImageSplit, SourceImages, checked_labels, existing_folder
from data.parquet_images import ParquetLayout, find_shards, read_shards
from data.restricted_pickle import read_pickled_dict
from data.torchvision_shim import torchvision

_SHAPE = (3, 32, 32)


@dataclass(frozen=True)
class _Variant:
    name: str
    title: str  # as people write it, and, without the hyphen, torchvision's class
    batches: str  # folder of the original files
    train: tuple[str, ...]
    test: tuple[str, ...]
    batch_labels: str  # key of the labels in an original file
    parquet_labels: tuple[str, ...]
    parquet_folders: tuple[str, ...]
    classes: tuple[str, ...]


_CIFAR10 = _Variant(
    name="cifar10",
    title="CIFAR-10",
    batches="cifar-10-batches-py",
    train=tuple(f"data_batch_{i}" for i in range(1, 6)),
    test=("test_batch",),
    batch_labels="labels",
    parquet_labels=("label",),
    parquet_folders=("data", "plain_text", "cifar10"),
    classes=CIFAR10_CLASSES,
)
_CIFAR100 = _Variant(
    name="cifar100",
    title="CIFAR-100",
    batches="cifar-100-python",
    train=("train",),
    test=("test",),
    batch_labels="fine_labels",
    parquet_labels=("fine_label", "label"),
    parquet_folders=("data", "cifar100"),
    classes=CIFAR100_CLASSES,
)


def read_cifar10(request: ImageRequest) -> SourceImages:
    """Read CIFAR-10: 32x32 RGB, 50,000 training and 10,000 test images in 10 classes."""
    return _read(request, _CIFAR10)


def read_cifar100(request: ImageRequest) -> SourceImages:
    """Read CIFAR-100 with its 100 fine labels: 32x32 RGB, 50,000 training and 10,000 test images."""
    return _read(request, _CIFAR100)


def _read(request: ImageRequest, variant: _Variant) -> SourceImages:
    folder = existing_folder(request, variant.name)
    batches = _find_batches(folder, variant)
    if batches is None and (shards := find_shards(folder, variant.parquet_folders)):
        layout = ParquetLayout("RGB", _SHAPE[1:], variant.parquet_labels, variant.classes)
        return SourceImages(variant.classes, *read_shards(shards, layout, request.progress))
    if batches is None:
        if not request.download:
            raise DataError(
                f"no {variant.title} in {folder}: looked for {variant.batches}/{variant.train[0]} "
                f"(original batches) and for train-*.parquet (Parquet shards, also in "
                f"{', '.join(variant.parquet_folders)}): "
                "set data_dir (--data-dir DIR) to either, or fetch the original with download (--download)"
            )
        batches = _download(folder, variant)
    train, test = (_read_batches(batches, names, variant) for names in (variant.train, variant.test))
    return SourceImages(variant.classes, train, test)


def _find_batches(folder: Path, variant: _Variant) -> Path | None:
    names = variant.train + variant.test
    for place in (folder / variant.batches, folder):
        missing = [name for name in names if not (place / name).is_file()]
        if not missing:
            return place
        if len(missing) < len(names):
            raise DataError(
                f"{place} must hold {', '.join(names)}, missing: {', '.join(missing)}: "
                "remove the folder and fetch it again (--download)"
            )
    return None


def _download(folder: Path, variant: _Variant) -> Path:
    published = getattr(torchvision().datasets, variant.title.replace("-", ""))
    target = folder / variant.batches
    mirror = published.url.removesuffix(published.filename)
    fetch(
        [(published.filename, published.tgz_md5)],
        [mirror],
        target,
        variant.title,
        unpack=published.base_folder,
    )
    return target


def _read_batches(folder: Path, names: tuple[str, ...], variant: _Variant) -> ImageSplit:
    images, labels = [], []
    for name in names:
        path = folder / name
        batch = read_pickled_dict(path)
        for key in ("data", variant.batch_labels):
            if key not in batch:
                raise DataError(f"{path} must hold {key!r}, got {', '.join(batch)}: is this {variant.title}?")
        pixels, numbers = batch["data"], batch[variant.batch_labels]
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != np.prod(_SHAPE):
            got = pixels.shape if isinstance(pixels, np.ndarray) else type(pixels).__name__
            raise DataError(f"{path}: 'data' must be rows of {np.prod(_SHAPE)} values (3x32x32 pixels), got {got}")
        if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
            raise DataError(f"{path}: {variant.batch_labels!r} must be a list of integers")
        if len(numbers) != len(pixels):
            raise DataError(f"{path} must hold a label for each of {len(pixels)} images, got {len(numbers)}")
        images.append(pixels.reshape(-1, *_SHAPE))
        labels.append(checked_labels(np.array(numbers, dtype=np.int64), variant.classes, path))
    return ImageSplit(torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels)))

"""What a source of images hands over: labelled images, training and test apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from data.augment import Augment
from data.errors import DataError

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``, in images."""


class ImageSet(Protocol):
    """Labelled images of one size, wherever they lie: given in batches, by their row numbers."""

    @property
    def labels(self) -> torch.Tensor:
        """int64, shape (N,), class numbers from 0."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (C, H, W); C is 1 (grey) or 3 (RGB)."""

    def __len__(self) -> int:
        """N, the number of images."""

    def take(self, rows: torch.Tensor) -> "ImageSet":
        """Return the images at ``rows`` (int64, shape (M,)), in that order."""

    def augmented(self, flip: bool) -> "ImageSet":
        """Return the same images, cropped anew in every batch in the way that is standard for them.

        flip: whether an image may be mirrored left to right as well.
        """

    def batches(self, rows: Sequence[torch.Tensor], generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield the images at each of ``rows`` (int64, shape (B,)): uint8, shape (B, C, H, W), values 0 to 255.

        Beyond what is held anyway, a few batches at a time are in memory. ``generator``, on the CPU, is drawn from
        by an augmented set alone.
        """

    def feed(self, update: Callable[[bytes | memoryview], None]) -> None:
        """Give what the images and labels are to a hash's ``update``; equal sets give equal bytes."""


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """An :class:`ImageSet` held in memory.

    Attributes:
        images: uint8, shape (N, C, H, W), C being 1 (grey) or 3 (RGB), values 0 to 255.
        labels: int64, shape (N,), class numbers from 0.
        augment: applied to the raw pixels of each batch; None for none.

    Raises:
        DataError: another dtype or shape, or not as many labels as images.
    """

    images: torch.Tensor
    labels: torch.Tensor
    augment: Augment | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] not in (1, 3):
            raise DataError(
                "images must be uint8 of shape (N, 1 or 3, H, W), "
                f"got {self.images.dtype} of shape {tuple(self.images.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise DataError(
                f"labels must be int64 of shape ({len(self.images)},), one for each image, "
                f"got {self.labels.dtype} of shape {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def take(self, rows: torch.Tensor) -> "ImageSplit":
        """Return the images at ``rows`` (int64, shape (M,)), in that order."""
        return replace(self, images=self.images[rows], labels=self.labels[rows])

    def augmented(self, flip: bool) -> "ImageSplit":
        """Return the same images under :meth:`Augment.standard`."""
        return replace(self, augment=Augment.standard(self.shape, flip))

    def batches(self, rows: Sequence[torch.Tensor], generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield the images at each of ``rows``."""
        for own in rows:
            images = self.images[own.to(self.images.device)]
            yield images if self.augment is None else self.augment(images, generator)

    def feed(self, update: Callable[[bytes | memoryview], None]) -> None:
        """Give both tensors' types, shapes and values."""
        for tensor in (self.images, self.labels):
            update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            update(tensor.contiguous().numpy().data)


@dataclass(frozen=True, eq=False)
class SourceImages:
    """A data set as its publisher divided it.

    Attributes:
        classes: the name of each class, in the order of the class numbers.
        train: the training images, from which the validation images are still to be taken.
        test: the test images.
        mirror_safe: whether an image flipped left to right still shows its class (false for digits).
    """

    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    mirror_safe: bool = True


@dataclass(frozen=True)
class ImageRequest:
    """What a source is asked for.

    Attributes:
        folder: where the data lies; None where the source needs no folder.
        download: whether a missing data set may be fetched into ``folder``.
        image_size: side in pixels to which images of a folder are resized and cropped; None keeps them.
        progress: called while images are decoded, or a folder's files looked at.
        workers: threads that read and decode a folder's images.
    """

    folder: Path | None
    download: bool = False
    image_size: int | None = None
    progress: Progress | None = None
    workers: int = 1


def existing_folder(request: ImageRequest, name: str) -> Path:
    """Return the requested folder, which must be given and exist, unless a download is going to make it."""
    if request.folder is None:
        raise DataError(f"data set {name!r} is read from a folder, none was given: set data_dir (--data-dir DIR)")
    if not request.folder.is_dir() and not request.download:
        raise DataError(
            f"data folder {request.folder} does not exist: set data_dir (--data-dir DIR) to an existing one"
        )
    return request.folder


def checked_labels(labels: np.ndarray, classes: tuple[str, ...], where: Path) -> np.ndarray:
    """Return ``labels``, shape (N,), as int64; each must be an integer in ``[0, len(classes))``."""
    if labels.ndim != 1 or not (np.issubdtype(labels.dtype, np.integer) or labels.size == 0):
        raise DataError(f"{where}: labels must be a list of integers, got {labels.dtype} of shape {labels.shape}")
    outside = np.flatnonzero((labels < 0) | (labels >= len(classes)))
    if outside.size:
        row = int(outside[0])
        raise DataError(
            f"{where}: labels must lie between 0 and {len(classes) - 1}, "
            f"image {row} has label {labels[row]}: is this the right data set?"
        )
    return labels.astype(np.int64)

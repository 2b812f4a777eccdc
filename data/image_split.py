"""What a source of images hands over: labelled images, training and test apart."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.errors import DataError

Progress = Callable[[int, int], None]
"""Called as ``progress(done, total)``, in images."""


@dataclass(frozen=True, eq=False)
class ImageSplit:
    """Labelled images of one size.

    Attributes:
        images: uint8, shape (N, C, H, W), C being 1 (grey) or 3 (RGB), values 0 to 255.
        labels: int64, shape (N,), class numbers from 0.

    Raises:
        DataError: another dtype or shape, or not as many labels as images.
    """

    images: torch.Tensor
    labels: torch.Tensor

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

    def take(self, rows: torch.Tensor) -> "ImageSplit":
        """Return the images at ``rows`` (int64, shape (M,)), in that order."""
        return ImageSplit(self.images[rows], self.labels[rows])


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
    train: ImageSplit
    test: ImageSplit
    mirror_safe: bool = True


@dataclass(frozen=True)
class ImageRequest:
    """What a source is asked for.

    Attributes:
        folder: where the data lies; None where the source needs no folder.
        download: whether a missing data set may be fetched into ``folder``.
        image_size: side in pixels to which images of a folder are resized and centre-cropped; None keeps
            them.
        progress: called while images are decoded.
    """

    folder: Path | None
    download: bool = False
    image_size: int | None = None
    progress: Progress | None = None


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

"""Labelled images that stay on disk: decoded, resized and cropped when a batch asks for them."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from data.augment import Augment, resized_crop_box
from data.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")
AHEAD = 2
"""Batches that are decoded while one is used."""

_GREY = ("1", "L", "LA")
_MODES = {1: "L", 3: "RGB"}
_RESIZED = 256 / 224  # the shorter side before the centre crop, over the crop's


class Cut(Protocol):
    """From a decoded picture to pixels of the set's size: uint8, (C, H, W)."""

    def plain(self, picture: Image.Image) -> torch.Tensor:
        """For evaluation."""

    def random(self, picture: Image.Image, flip: bool, generator: torch.Generator) -> torch.Tensor:
        """For training; ``flip``: mirrored with probability 1/2."""


@dataclass(frozen=True)
class WholePicture:
    """The picture as it is; for training under CIFAR's augmentation."""

    def plain(self, picture: Image.Image) -> torch.Tensor:
        """All of it."""
        return _pixels(picture)

    def random(self, picture: Image.Image, flip: bool, generator: torch.Generator) -> torch.Tensor:
        """:meth:`Augment.standard` of this one."""
        images = _pixels(picture)[None]
        channels, height, width = images.shape[1:]
        return Augment.standard((channels, height, width), flip)(images, generator)[0]


@dataclass(frozen=True)
class ResizedCrop:
    """ImageNet's preparation (section 5.3.1): to squares of ``size`` pixels a side, by bilinear resizing."""

    size: int

    def plain(self, picture: Image.Image) -> torch.Tensor:
        """The shorter side resized to 256/224 of the size, then the centre."""
        short = round(self.size * _RESIZED)
        width, height = picture.size
        wide, high = (short, short * height // width) if width <= height else (short * width // height, short)
        left, upper = round((wide - self.size) / 2), round((high - self.size) / 2)
        resized = picture.resize((wide, high), Image.Resampling.BILINEAR)
        return _pixels(resized.crop((left, upper, left + self.size, upper + self.size)))

    def random(self, picture: Image.Image, flip: bool, generator: torch.Generator) -> torch.Tensor:
        """A random part, resized."""
        part = picture.crop(resized_crop_box(picture.height, picture.width, generator))
        resized = part.resize((self.size, self.size), Image.Resampling.BILINEAR)
        if flip and torch.rand(1, generator=generator).item() < 0.5:
            resized = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _pixels(resized)


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """An :class:`data.ImageSet` of files. Threads decode: Pillow leaves Python's lock while it does.

    An augmented image's draws come from a seed of its own, so that they depend neither on the threads nor on
    their number.

    Attributes:
        root: folder of the files.
        names: (N,) their paths below ``root``, as the system encodes them.
        sizes: (N,) of the files, in bytes.
        labels: int64, shape (N,), class numbers from 0.
        shape: of one image, (C, H, W).
        cut: makes images of that size from pictures.
        workers: threads, at least 1.
        flip: whether training mirrors as well; None for a set that is not augmented.
    """

    root: Path
    names: NDArray[np.bytes_]
    sizes: NDArray[np.int64]
    labels: torch.Tensor
    shape: tuple[int, int, int]
    cut: Cut
    workers: int = 1
    flip: bool | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: torch.Tensor) -> "ImageFiles":
        """Return the images at ``rows``, in that order."""
        which = rows.numpy()
        return replace(self, names=self.names[which], sizes=self.sizes[which], labels=self.labels[rows])

    def augmented(self, flip: bool) -> "ImageFiles":
        """Return the same images under the cut's random form."""
        return replace(self, flip=flip)

    def batches(self, rows: Sequence[torch.Tensor], generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield the images at each of ``rows``.

        Raises:
            DataError: for a file that is missing, damaged, or of another size than when it was listed.
        """
        waiting: deque[list[Future[torch.Tensor]]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="images")
        try:
            for own in rows:
                waiting.append([pool.submit(self._image, row, seed) for row, seed in self._drawn(own, generator)])
                if len(waiting) > AHEAD:
                    yield _stacked(waiting.popleft())
            while waiting:
                yield _stacked(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def feed(self, update: Callable[[bytes | memoryview], None]) -> None:
        """Give names, sizes and labels of the files, and how they are cut; their bytes would take too long."""
        update(f"{self.cut} {self.shape} {len(self)}".encode())
        update(b"\0".join(self.names.tolist()))
        update(self.sizes.data)
        update(self.labels.numpy().data)

    def _drawn(self, rows: torch.Tensor, generator: torch.Generator) -> list[tuple[int, int]]:
        """Each row with the seed of its augmentation."""
        seeds = torch.zeros(len(rows), dtype=torch.int64)
        if self.flip is not None:
            seeds = torch.randint(1 << 62, (len(rows),), generator=generator)
        return list(zip(rows.tolist(), seeds.tolist(), strict=True))

    def _image(self, row: int, seed: int) -> torch.Tensor:
        path = self.root / os.fsdecode(self.names[row])
        picture = read_picture(path, self.shape[0])
        if self.flip is None:
            image = self.cut.plain(picture)
        else:
            image = self.cut.random(picture, self.flip, torch.Generator().manual_seed(seed))
        if image.shape != self.shape:
            raise DataError(
                f"{path} must be {self.shape[2]}x{self.shape[1]} pixels as when it was listed, got "
                f"{image.shape[2]}x{image.shape[1]}: restore it, or start anew"
            )
        return image


@dataclass(frozen=True)
class Look:
    """What a file's header says: whether it is grey, (height, width), and how many bytes the file has."""

    grey: bool
    size: tuple[int, int]
    bytes: int


def look_at(path: Path) -> Look:
    """Read a file's header.

    Raises:
        DataError: for a file that is no image, or has other than 8 bits a channel.
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):
            raise DataError(f"{path} must have 8 bits a channel, got mode {image.mode}: convert it first")
        return Look(image.mode in _GREY, (image.height, image.width), path.stat().st_size)


def read_picture(path: Path, channels: int) -> Image.Image:
    """Decode a file, as grey (1 channel) or RGB (3); transparency is dropped."""
    with _opened(path) as image:
        return image.convert(_MODES[channels])


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more on damaged files
        raise DataError(f"{path} is no readable image ({error}): replace or remove it") from error


def _pixels(picture: Image.Image) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def _stacked(images: list[Future[torch.Tensor]]) -> torch.Tensor:
    return torch.stack([image.result() for image in images])

"""Batches of normalised images: shuffled and augmented for training, in order for everything else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from data.errors import DataError
from data.image_split import ImageSplit
from data.images import ImageData

_ORDER, _AUGMENTATION = 1, 2  # separate random streams: augmenting does not change the order


@dataclass(frozen=True)
class Augment:
    """The standard augmentation of CIFAR (He et al. 2016, section 4.2; model slicing paper, section 5.3.1).

    Each image is padded with zeros on all sides, cropped back to its size at a random place, and mirrored
    left to right with probability 1/2. As in the common recipe (``RandomCrop(32, padding=4)``,
    ``RandomHorizontalFlip``, then ``Normalize``) this happens to the raw pixels, so the padding is black
    rather than the mean colour.

    Attributes:
        padding: pixels added on each side, non-negative.
        flip: whether to mirror; set it to False where a mirrored image shows something else (digits,
            letters).
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise DataError(f"padding must not be negative, got {self.padding}")

    @classmethod
    def standard(cls, data: ImageData) -> "Augment":
        """Return CIFAR's augmentation scaled to the images: 4 pixels in 32, 3 in 28, 1 in 8."""
        height, width = data.train.images.shape[2:]
        return cls(padding=min(height, width) // 8, flip=data.mirror_safe)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Augment a batch, each image by its own draw.

        Args:
            images: shape (B, C, H, W), any dtype and device.
            generator: source of the draws, on the CPU; the draws do not depend on the images' device.

        Returns:
            A new tensor of the same shape, dtype and device.
        """
        count, _, height, width = images.shape
        offsets = torch.randint(2 * self.padding + 1, (2, count), generator=generator).to(images.device)
        padded = F.pad(images, [self.padding] * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p+1, 2p+1, H, W), a view
        cropped = windows[torch.arange(count, device=images.device), :, offsets[0], offsets[1]]
        if not self.flip:
            return cropped
        mirrored = (torch.rand(count, generator=generator) < 0.5).to(images.device)
        return torch.where(mirrored[:, None, None, None], cropped.flip(3), cropped)


def normalise(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return ``(images / 255 - mean) / std``, channel by channel.

    Args:
        images: uint8, shape (B, C, H, W).
        mean: C numbers in [0, 1].
        std: C positive numbers.

    Returns:
        float32, shape (B, C, H, W), on the images' device.

    Raises:
        DataError: images of another dtype, another number of channels, or a std that is not positive.
    """
    channels = images.shape[1] if images.ndim == 4 else None
    if images.dtype != torch.uint8 or channels is None:
        raise DataError(f"images must be uint8 of shape (B, C, H, W), got {images.dtype} {tuple(images.shape)}")
    if not len(mean) == len(std) == channels:
        raise DataError(f"mean and std must have one value for each of {channels} channels, got {mean} and {std}")
    if not all(deviation > 0 for deviation in std):
        raise DataError(f"std must be positive, got {std}")
    shape = (1, channels, 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32, device=images.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=images.device).view(shape)
    return images.to(torch.float32).div_(255).sub_(centre).div_(scale)


def epoch_batches(
    split: ImageSplit,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    augment: Augment | None,
    mean: Sequence[float],
    std: Sequence[float],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield every image of ``split`` once, shuffled, in batches; the last batch may be smaller.

    Order and augmentation depend on ``seed`` and ``epoch`` alone (and the augmentation on ``batch_size``),
    not on what ran before: training that resumes at an epoch sees exactly what it would have seen.

    Args:
        split: the images; where they lie on an accelerator, so do the batches.
        batch_size: images in a batch, at least 1.
        seed: non-negative.
        epoch: non-negative number of the epoch.
        augment: applied to the raw pixels of each batch; None for none.
        mean: of each channel, in [0, 1].
        std: of each channel, positive.

    Yields:
        float32 images of shape (B, C, H, W) and int64 labels of shape (B,).
    """
    _check_batch_size(batch_size)
    if seed < 0 or epoch < 0:
        raise DataError(f"seed and epoch must not be negative, got {seed} and {epoch}")
    order = torch.randperm(len(split), generator=_generator(seed, epoch, _ORDER))
    return _shuffled(split, order, batch_size, augment, _generator(seed, epoch, _AUGMENTATION), mean, std)


def ordered_batches(
    split: ImageSplit, batch_size: int, *, mean: Sequence[float], std: Sequence[float]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the images in their own order, not augmented, as :func:`epoch_batches` does: for evaluation."""
    _check_batch_size(batch_size)
    return (
        (
            normalise(split.images[start : start + batch_size], mean, std),
            split.labels[start : start + batch_size],
        )
        for start in range(0, len(split), batch_size)
    )


def _shuffled(
    split: ImageSplit,
    order: torch.Tensor,
    batch_size: int,
    augment: Augment | None,
    generator: torch.Generator,
    mean: Sequence[float],
    std: Sequence[float],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for rows in order.to(split.images.device).split(batch_size):
        images = split.images[rows]
        if augment is not None:
            images = augment(images, generator)
        yield normalise(images, mean, std), split.labels[rows]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1, got {batch_size}")


def _generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    """Return a generator whose state mixes the three numbers, so that neighbouring seeds share nothing."""
    state = int(np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)

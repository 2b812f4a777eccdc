"""Batches of normalised images: shuffled and augmented for training, in order for everything else."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from data.errors import DataError
from data.image_split import ImageSet

_ORDER, _AUGMENTATION = 1, 2  # separate random streams: augmenting does not change the order


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
    split: ImageSet,
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield every image of ``split`` once, shuffled, in batches; the last batch may be smaller.

    Order and augmentation depend on ``seed`` and ``epoch`` alone (and the augmentation on ``batch_size``),
    not on what ran before: training that resumes at an epoch sees exactly what it would have seen.

    Args:
        split: the images; augmented where they are to be (:meth:`data.ImageSet.augmented`). Where they lie on an
            accelerator, so do the batches.
        batch_size: images in a batch, at least 1.
        seed: non-negative.
        epoch: non-negative number of the epoch.
        mean: of each channel, in [0, 1].
        std: of each channel, positive.

    Yields:
        float32 images of shape (B, C, H, W) and int64 labels of shape (B,).
    """
    _check_batch_size(batch_size)
    if seed < 0 or epoch < 0:
        raise DataError(f"seed and epoch must not be negative, got {seed} and {epoch}")
    order = torch.randperm(len(split), generator=_generator(seed, epoch, _ORDER))
    return _batches(split, order, batch_size, _generator(seed, epoch, _AUGMENTATION), mean, std)


def ordered_batches(
    split: ImageSet, batch_size: int, *, mean: Sequence[float], std: Sequence[float]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the images in their own order, as :func:`epoch_batches` does: for evaluation, of what is not augmented."""
    _check_batch_size(batch_size)
    return _batches(split, torch.arange(len(split)), batch_size, _generator(0, 0, _AUGMENTATION), mean, std)


def _batches(
    split: ImageSet,
    order: torch.Tensor,
    batch_size: int,
    generator: torch.Generator,
    mean: Sequence[float],
    std: Sequence[float],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rows = order.split(batch_size)
    for own, images in zip(rows, split.batches(rows, generator), strict=True):
        yield normalise(images, mean, std), split.labels[own.to(split.labels.device)]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise DataError(f"batch_size must be at least 1, got {batch_size}")


def _generator(seed: int, epoch: int, stream: int) -> torch.Generator:
    """Return a generator whose state mixes the three numbers, so that neighbouring seeds share nothing."""
    state = int(np.random.SeedSequence([seed, epoch, stream]).generate_state(1, np.uint64)[0])
    return torch.Generator().manual_seed(state)

"""What training does to images: CIFAR's padded crop of whole batches, ImageNet's resized crop of single pictures."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from data.errors import DataError


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
    def standard(cls, shape: tuple[int, int, int], flip: bool) -> "Augment":
        """Return CIFAR's augmentation scaled to images of ``shape``, (C, H, W): 4 pixels in 32, 3 in 28, 1 in 8."""
        return cls(padding=min(shape[1:]) // 8, flip=flip)

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


Box = tuple[int, int, int, int]
"""Left, upper, right and lower edge in pixels, as Pillow counts them."""

_AREA = (0.08, 1.0)  # shares of the picture that a crop covers
_ASPECT = (3 / 4, 4 / 3)  # of its width to its height
_ATTEMPTS = 10


def resized_crop_box(height: int, width: int, generator: torch.Generator) -> Box:
    """Draw the part of a picture that ImageNet training resizes to the network's input.

    It covers 8% to 100% of the picture at an aspect of 3/4 to 4/3 (Szegedy et al. 2015, section 6); where ten draws
    do not fit in the picture, it is the largest centre crop of such an aspect. The draws are those of torchvision's
    ``RandomResizedCrop``, which takes them from torch's own generator instead.
    """
    narrowest, widest = (math.log(aspect) for aspect in _ASPECT)
    for _ in range(_ATTEMPTS):
        area = height * width * torch.empty(1).uniform_(*_AREA, generator=generator).item()
        aspect = math.exp(torch.empty(1).uniform_(narrowest, widest, generator=generator).item())
        wide, high = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            upper = int(torch.randint(0, height - high + 1, (1,), generator=generator))
            left = int(torch.randint(0, width - wide + 1, (1,), generator=generator))
            return left, upper, left + wide, upper + high
    wide = min(width, round(height * _ASPECT[1]))
    high = min(height, round(width / _ASPECT[0]))
    left, upper = (width - wide) // 2, (height - high) // 2
    return left, upper, left + wide, upper + high

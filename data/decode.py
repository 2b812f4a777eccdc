"""Decode untrusted PNG and JPEG bytes with Pillow, at a size and mode that the caller demands."""

import io

import numpy as np
from PIL import Image

from data.errors import DataError

CHANNELS = {"L": 1, "RGB": 3}
"""Channels of the two modes in use: grey and RGB."""


def decode_exact(content: bytes, mode: str, size: tuple[int, int], where: str) -> bytes:
    """Decode one image of a known size.

    Args:
        content: the file's bytes, PNG or JPEG.
        mode: "L" or "RGB"; an image in another mode is converted.
        size: (height, width) in pixels, checked before the pixels are decoded.
        where: the image's name in messages.

    Returns:
        height * width * channels bytes, row by row, channels last.
    """
    height, width = size
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.size != (width, height):
                raise DataError(
                    f"{where} must be {width}x{height} pixels, got {image.width}x{image.height}: "
                    "is this the right data set?"
                )
            return (image if image.mode == mode else image.convert(mode)).tobytes()
    except DataError:
        raise
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and more on damaged bytes
        raise DataError(f"{where} is no readable PNG or JPEG image ({error}): fetch the file again") from error


def to_channels_first(pixels: list[bytes], mode: str, size: tuple[int, int]) -> np.ndarray:
    """Stack decoded images into uint8, shape (N, C, H, W)."""
    stacked = np.frombuffer(b"".join(pixels), np.uint8).reshape(len(pixels), *size, CHANNELS[mode])
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))

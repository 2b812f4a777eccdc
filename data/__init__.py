"""Data sets: loaders, splits and batches."""

from data.batches import Augment, epoch_batches, normalise, ordered_batches
from data.errors import DataError
from data.image_split import ImageSplit
from data.images import IMAGE_DATA_SETS, ImageData, load_images

__all__ = [
    "IMAGE_DATA_SETS",
    "Augment",
    "DataError",
    "ImageData",
    "ImageSplit",
    "epoch_batches",
    "load_images",
    "normalise",
    "ordered_batches",
]

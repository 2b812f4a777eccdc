"""Images in Hugging Face's Parquet layout: a folder of ``train-*.parquet`` and ``test-*.parquet`` shards.

Each row holds a struct ``img`` or ``image`` with the encoded file in ``bytes``, and an integer label.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from data.decode import decode_exact, to_channels_first
from data.errors import DataError
from data.image_split import ImageSplit, Progress, checked_labels

_IMAGE_COLUMNS = ("img", "image")
# A panic is how polars' Rust code ends on some damaged files; it is no Exception, so it is named.
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_REPORT_EVERY = 1000  # images between two calls of the progress callback


@dataclass(frozen=True)
class Shards:
    """The shards of the two splits, in the order in which they are read."""

    train: tuple[Path, ...]
    test: tuple[Path, ...]


@dataclass(frozen=True)
class ParquetLayout:
    """What is expected of the rows.

    Attributes:
        mode: "L" or "RGB".
        size: (height, width) in pixels.
        label_columns: accepted names of the label column, the preferred one first.
        classes: the classes' names.
    """

    mode: str
    size: tuple[int, int]
    label_columns: tuple[str, ...]
    classes: tuple[str, ...]


def find_shards(folder: Path, subfolders: Sequence[str]) -> Shards | None:
    """Find the shards in ``folder`` or in the first of its ``subfolders`` that holds any, or None.

    Raises:
        DataError: shards of one split only, or a number missing from ``...-00001-of-00005...``.
    """
    for place in (folder, *(folder / name for name in subfolders)):
        train, test = (tuple(sorted(place.glob(f"{split}-*.parquet"))) for split in ("train", "test"))
        if not train and not test:
            continue
        for split, paths in (("train", train), ("test", test)):
            if not paths:
                raise DataError(f"{place} has no {split}-*.parquet beside the shards of the other split: add it")
            _refuse_gaps(paths, place, split)
        return Shards(train, test)
    return None


def read_shards(
    shards: Shards, layout: ParquetLayout, progress: Progress | None = None
) -> tuple[ImageSplit, ImageSplit]:
    """Read and decode the training and the test images.

    Raises:
        DataError: a file that is damaged or no Parquet, a missing column, a missing or damaged image, an
            image of another size, a label out of range.
    """
    total = sum(_height(path) for path in shards.train + shards.test)
    done = 0
    splits = []
    for paths in (shards.train, shards.test):
        images, labels = [], []
        for path in paths:
            encoded, numbers = _read_shard(path, layout)
            pixels = []
            for row, content in enumerate(encoded):
                pixels.append(decode_exact(content, layout.mode, layout.size, f"{path}: image {row}"))
                done += 1
                if progress and (done % _REPORT_EVERY == 0 or done == total):
                    progress(done, total)
            images.append(to_channels_first(pixels, layout.mode, layout.size))
            labels.append(numbers)
        splits.append(ImageSplit(torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels))))
    return splits[0], splits[1]


def _refuse_gaps(paths: Sequence[Path], place: Path, split: str) -> None:
    numbered = [match for path in paths if (match := re.search(r"-(\d+)-of-(\d+)", path.name))]
    for match in numbered:
        missing = sorted(set(range(int(match[2]))) - {int(other[1]) for other in numbered})
        if missing:
            raise DataError(
                f"{place} must hold all {int(match[2])} {split} shards, "
                f"{split}-{missing[0]:05}-of-{match[2]}.parquet is missing: fetch it again"
            )


def _height(path: Path) -> int:
    try:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _read_shard(path: Path, layout: ParquetLayout) -> tuple[list[bytes], np.ndarray]:
    try:
        rows = pl.scan_parquet(path, glob=False)
        schema = rows.collect_schema()
        image_column = _column(path, schema, _IMAGE_COLUMNS)
        label_column = _column(path, schema, layout.label_columns)
        kind = schema[image_column]
        if not (isinstance(kind, pl.Struct) and pl.Field("bytes", pl.Binary) in kind.fields):
            raise DataError(f"{path}: column {image_column!r} must be a struct with binary 'bytes', got {kind}")
        frame = rows.select(image_column, label_column).collect()
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    encoded = frame[image_column].struct.field("bytes")
    for name, series in ((image_column, encoded), (label_column, frame[label_column])):
        if series.null_count():
            row = series.is_null().arg_max()
            raise DataError(f"{path}: every row needs its {name}, row {row} has none")
    return encoded.to_list(), checked_labels(frame[label_column].to_numpy(), layout.classes, path)


def _column(path: Path, schema: pl.Schema, accepted: Sequence[str]) -> str:
    for name in accepted:
        if name in schema:
            return name
    raise DataError(f"{path} must have a column named {' or '.join(accepted)}, got {', '.join(schema)}")


def _damaged(path: Path, error: BaseException) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path} is truncated or no Parquet file ({reason}): fetch it again")

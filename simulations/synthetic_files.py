"""`slicerank data synthetic`: a made-up table of any size, written as it is made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from data import synthetic_batches, write_candidates
from slicing.progress import Progress, Task, open_task


def write_synthetic(out: Path, progress: Progress | None = None, **options: Any) -> int:
    """Write the table of `data.synthetic_batches(**options)`; memory holds a batch of it. Returns its rows.

    Raises:
        DataError: for an argument out of range, an unknown suffix, a path that can't be written.
    """
    frames = synthetic_batches(**options)
    total = options["queries"] * options["candidates"]
    with open_task(progress, "synthetic", total, "candidates") as task:
        write_candidates(_counted(frames, task), out)
    return int(total)


def _counted(frames: Iterator[pl.DataFrame], task: Task) -> Iterator[pl.DataFrame]:
    for frame in frames:
        yield frame
        task.advance(len(frame))

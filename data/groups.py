"""LightGBM's group-size files: one number of candidates a line, in the order of the table's rows."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.files import existing_file, reading


def read_groups(path: Path | str) -> NDArray[np.int64]:
    """Read the sizes of the queries, shape (queries,); blank lines are skipped, a size may be 0.

    Raises:
        DataError: no such file, an empty one, or a line that is no whole number of at least 0.
    """
    path = existing_file(path)
    with reading(path):
        lines = path.read_text(encoding="utf-8").splitlines()
    sizes = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise DataError(
                f"{path}, line {number}: a group's size must be a whole number from 0 up, got {text[:40]!r}"
            )
        sizes.append(int(text))
    if not sizes:
        raise DataError(f"{path} holds no group size: one whole number a line is wanted")
    return np.array(sizes, dtype=np.int64)


def rows_to_groups(sizes: NDArray[np.int64], rows: int, table: Path | str, groups: Path | str) -> NDArray[np.int64]:
    """The number of each row's group, shape (rows,), counting from 0.

    Raises:
        DataError: the sizes do not sum to exactly ``rows``; nothing is cut off or filled up.
    """
    total = int(sizes.sum())
    if total != rows:
        raise DataError(
            f"the group sizes of {groups} must sum to the {rows} rows of {table}, got {total}: "
            "the two files do not belong together"
        )
    return np.repeat(np.arange(len(sizes)), sizes)

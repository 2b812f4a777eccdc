"""Seeded stratified sampling: every class keeps its share, and the count is met exactly."""

from collections.abc import Sequence

import numpy as np
import torch

from data.errors import DataError


def stratified_sample(
    labels: torch.Tensor,
    count: int,
    classes: Sequence[str],
    seed: Sequence[int],
    *,
    purpose: str,
    leave: int = 0,
) -> torch.Tensor:
    """Choose ``count`` rows so that each class is represented in proportion to its size.

    Each class gets at least one row and keeps at least ``leave`` rows that are not chosen; within that the
    counts follow the method of largest remainders, ties going to the lower class number.

    Args:
        labels: int64, shape (N,), class numbers in ``[0, len(classes))``.
        count: how many rows to choose.
        classes: the classes' names, for messages and for the number of classes.
        seed: non-negative integers that together determine the choice.
        purpose: what the rows are for, in words, for messages ("the validation split").
        leave: rows of each class that must remain, non-negative.

    Returns:
        int64, shape (count,), rising row numbers.

    Raises:
        DataError: a class has fewer than 1 + ``leave`` rows, or ``count`` leaves some class without a row.
    """
    per_class = torch.bincount(labels, minlength=len(classes)).numpy()
    scarce = int(np.argmin(per_class))
    if per_class[scarce] < 1 + leave:
        raise DataError(
            f"too few images of class {classes[scarce]!r} for {purpose}: "
            f"at least {1 + leave} needed, got {per_class[scarce]}: add images of it or leave the class out"
        )
    fewest, most = len(classes), int(per_class.sum()) - leave * len(classes)
    if not fewest <= count <= most:
        raise DataError(
            f"{purpose} must hold between {fewest} and {most} of {per_class.sum()} images "
            f"(each of {len(classes)} classes at least once), got {count}"
        )
    rng = np.random.default_rng(list(seed))
    chosen = []
    for number, quota in enumerate(_allocate(per_class, count, leave)):
        rows = np.flatnonzero(labels.numpy() == number)
        chosen.append(rng.permutation(rows)[:quota])
    return torch.from_numpy(np.sort(np.concatenate(chosen)))


def remaining(rows: torch.Tensor, total: int) -> torch.Tensor:
    """Return the row numbers in ``[0, total)`` that are not in ``rows``, rising."""
    keep = torch.ones(total, dtype=torch.bool)
    keep[rows] = False
    return keep.nonzero().flatten()


def _allocate(per_class: np.ndarray, count: int, leave: int) -> np.ndarray:
    """Divide ``count`` over the classes in proportion, within ``[1, per_class - leave]``."""
    ideal = count * per_class / per_class.sum()
    quota = np.clip(np.floor(ideal).astype(np.int64), 1, per_class - leave)
    while quota.sum() < count:
        lack = np.where(quota < per_class - leave, ideal - quota, -np.inf)
        quota[np.argmax(lack)] += 1
    while quota.sum() > count:
        excess = np.where(quota > 1, quota - ideal, -np.inf)
        quota[np.argmax(excess)] -= 1
    return quota

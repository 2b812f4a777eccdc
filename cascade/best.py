"""The best so many of each group, without putting them in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cascade.ids import IdsAt, best_first, order_by_ids
from cascade.order import places, runs, starts_of

_WORTH_DIVIDING = 32  # members of a group, in the mean


def best_of_each(
    groups: NDArray[np.int64],
    scores: NDArray[np.float64],
    sizes: NDArray[np.int64],
    counts: NDArray[np.int64],
    ids: IdsAt | None = None,
) -> NDArray[np.bool_]:
    """(n,) whether each is among the best so many of its group, ties by id, or by position without ids.

    groups: (n,) rising; scores: (n,) finite; sizes: (groups,) members of each; counts: (groups,) how many of each. Of
    large groups only the score that divides them is looked for, which takes a fifth of the time of sorting them.
    """
    counts = np.clip(counts, 0, sizes)
    if len(scores) < _WORTH_DIVIDING * np.count_nonzero(sizes):
        best = np.empty(len(scores), dtype=np.bool_)
        best[best_first(groups, scores, ids)] = places(sizes) < np.repeat(counts, sizes)
        return best
    least = np.repeat(_least(scores, sizes, counts), sizes)
    best = scores >= least
    if np.count_nonzero(best) > counts.sum():  # more than wanted have the least score
        best = scores > least
        left = counts - np.bincount(groups[best], minlength=len(sizes))
        level = np.flatnonzero(scores == least)
        among = groups[level]
        if ids is not None:
            level = level[order_by_ids(*runs(among), ids(level))[0]]
        best[level] = places(np.bincount(among, minlength=len(sizes))) < left[among]
    return best


def _least(scores: NDArray[np.float64], sizes: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(groups,) the least score of the best so many of each group; infinite for none, minus infinite for all."""
    cut = np.flatnonzero((counts > 0) & (counts < sizes))
    at = sizes[cut] - counts[cut]
    alike = len(cut) > 0 and len(cut) == len(sizes) and (sizes == sizes[0]).all() and (at == at[0]).all()
    if alike:  # as after a cutoff of so many a query: one call for all
        return np.partition(scores.reshape(len(sizes), sizes[0]), at[0], axis=1)[:, at[0]]
    least = np.where(counts > 0, -np.inf, np.inf)
    starts = starts_of(sizes)
    divided = scores.copy()
    for low, high, place in zip(starts[cut].tolist(), starts[cut + 1].tolist(), at.tolist(), strict=True):
        divided[low:high].partition(place)
    least[cut] = divided[starts[cut] + at]
    return least

"""Made-up candidate tables of any size whose ideal ranking is known.

Every candidate has features x ~ N(0, 1), independent, d of them. Its ideal score is

    ideal = (1 - c) * a.x + c * sqrt(2) * sum_h v_h * cos(u_h.x + b_h)        over h = 1..16

where the teacher a, u, v, b is drawn once from ``seed``: a has length 1; each u_h has 3 nonzero entries ~ N(0, 1)
(random Fourier features of a few inputs each); v has length 1; b_h is uniform in [0, 2 pi). Both parts have
variance near 1, and ``curved`` = c says how much a linear model misses. What is judged is ideal + noise * N(0, 1):
within each query of n candidates the one at place p from the bottom (0 to n - 1) gets as its label the number of
``levels`` q with p >= q * n. So ``ideal`` sorts perfectly when ``noise`` is 0, and is the best any ranker can do
otherwise.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.errors import DataError

LEVELS = (0.6, 0.85, 0.95)
"""Shares of a query's candidates below label 1, 2 and 3."""

_WAVES = 16
_INPUTS = 3
_BLOCK_ROWS = 100_000
_TEACHER, _ROWS = 0, 1


def synthetic(
    queries: int,
    candidates: int,
    features: int,
    *,
    seed: int = 0,
    noise: float = 0.5,
    curved: float = 0.5,
    levels: Sequence[float] = LEVELS,
    first_query: int = 0,
) -> pl.DataFrame:
    """Make a table in memory; the module says how.

    Args:
        queries: at least 1.
        candidates: in each query, at least 1.
        features: at least 1.
        seed: non-negative; determines the teacher and, with the query's number, its candidates.
        noise: standard deviation of what hides the ideal score, at least 0.
        curved: share of the ideal score that is not linear, in ``[0, 1]``.
        levels: rising, each in ``(0, 1)``.
        first_query: number of the first query, at least 0. Queries of other numbers are fresh data of the same
            teacher: training, validation and test tables take different ranges.

    Returns:
        Columns qid, docid (Int64, the latter from 0 in each query), label, f1 to fn, ideal (Float32), sorted by
        qid, then docid.

    Raises:
        DataError: an argument out of range.
    """
    frames = synthetic_batches(
        queries,
        candidates,
        features,
        seed=seed,
        noise=noise,
        curved=curved,
        levels=levels,
        first_query=first_query,
    )
    return pl.concat(frames)


def synthetic_batches(
    queries: int,
    candidates: int,
    features: int,
    *,
    seed: int = 0,
    noise: float = 0.5,
    curved: float = 0.5,
    levels: Sequence[float] = LEVELS,
    first_query: int = 0,
) -> Iterator[pl.DataFrame]:
    """The same table as :func:`synthetic`, some whole queries (about 100,000 rows) at a time."""
    for name, value, least in (
        ("queries", queries, 1),
        ("candidates", candidates, 1),
        ("features", features, 1),
        ("seed", seed, 0),
        ("first_query", first_query, 0),
    ):
        if value < least:
            raise DataError(f"{name} must be at least {least}, got {value}")
    if first_query + queries >= 2**63:
        raise DataError(f"query numbers must fit into 63 bits, got {queries} from {first_query} on: start at 0")
    if not (np.isfinite(noise) and noise >= 0):
        raise DataError(f"noise must be a finite number of at least 0, got {noise}")
    if not 0 <= curved <= 1:
        raise DataError(f"curved must lie between 0 and 1, got {curved}")
    if list(levels) != sorted(set(levels)) or not all(0 < level < 1 for level in levels):
        raise DataError(f"levels must rise and lie between 0 and 1, both excluded, got {list(levels)}")
    return _batches(queries, candidates, features, seed, noise, curved, levels, first_query)


def _batches(
    queries: int,
    candidates: int,
    features: int,
    seed: int,
    noise: float,
    curved: float,
    levels: Sequence[float],
    first_query: int,
) -> Iterator[pl.DataFrame]:
    teacher = _Teacher(features, seed, curved)
    thresholds = np.array([np.ceil(level * candidates) for level in levels])
    block = max(1, _BLOCK_ROWS // candidates)
    for low in range(first_query, first_query + queries, block):
        high = min(low + block, first_query + queries)
        x = np.empty((high - low, candidates, features), dtype=np.float32)
        hidden = np.empty((high - low, candidates))
        for query in range(low, high):  # a generator each: a query is the same whatever surrounds it
            rng = np.random.default_rng([seed, _ROWS, query])
            x[query - low] = rng.standard_normal((candidates, features), dtype=np.float32)
            hidden[query - low] = rng.standard_normal(candidates)
        ideal = teacher.score(x)
        judged = ideal.astype(np.float64) + noise * hidden
        place = judged.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        label = (place[:, :, None] >= thresholds).sum(axis=2)
        keys = {
            "qid": np.repeat(np.arange(low, high), candidates),
            "docid": np.tile(np.arange(candidates), high - low),
            "label": label.reshape(-1).astype(np.float32),
        }
        columns = {f"f{index + 1}": x[:, :, index].reshape(-1) for index in range(features)}
        yield pl.DataFrame(keys | columns | {"ideal": ideal.reshape(-1)})


class _Teacher:
    """The ideal score of the module's formula."""

    def __init__(self, features: int, seed: int, curved: float) -> None:
        rng = np.random.default_rng([seed, _TEACHER])
        self.curved = curved
        self.a = _unit(rng.standard_normal(features)).astype(np.float32)
        self.u = np.zeros((features, _WAVES), dtype=np.float32)
        for wave in range(_WAVES):
            chosen = rng.choice(features, size=min(_INPUTS, features), replace=False)
            self.u[chosen, wave] = rng.standard_normal(len(chosen))
        self.v = _unit(rng.standard_normal(_WAVES)).astype(np.float32)
        self.b = rng.uniform(0, 2 * np.pi, _WAVES).astype(np.float32)

    def score(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The ideal scores, shape (queries, n), of features, shape (queries, n, features).

        A product for each query, all of one shape: so a score does not depend on the queries beside it.
        """
        waves = np.cos(x @ self.u + self.b) @ self.v
        score: NDArray[np.float32] = (1 - self.curved) * (x @ self.a) + self.curved * np.sqrt(np.float32(2)) * waves
        return score


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)

"""Load over time, and the Poisson arrivals drawn from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data import DataError
from data.files import existing_file, reading


@dataclass(frozen=True)
class Profile:
    """A load that is constant between one edge and the next.

    Attributes:
        name: what it is.
        unit: of the edges.
        edges: rising, one more than the loads.
        loads: in any unit, none below 0, one above.
    """

    name: str
    unit: str
    edges: tuple[float, ...]
    loads: tuple[float, ...]

    @property
    def volatility(self) -> float | None:
        """Greatest load over the least; None where the least is 0."""
        return max(self.loads) / min(self.loads) if min(self.loads) else None

    @property
    def span(self) -> float:
        """From the first edge to the last, in the profile's unit."""
        return self.edges[-1] - self.edges[0]

    def expected(self, seconds: float, peak: float) -> NDArray[np.float64]:
        """Requests expected in each interval of a trace that lasts `seconds` and has its peak at `peak` a second."""
        return np.asarray(self.loads) / max(self.loads) * peak * np.diff(self.scaled_edges(seconds))

    def scaled_edges(self, seconds: float) -> NDArray[np.float64]:
        """The edges from 0 to `seconds`."""
        edges = np.asarray(self.edges)
        return (edges - edges[0]) / (edges[-1] - edges[0]) * seconds

    def position(self, times: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
        """Times in [0, seconds) of a trace that lasts so long, in the profile's own unit."""
        return self.edges[0] + times / seconds * (self.edges[-1] - self.edges[0])


# A day with the volatility that the paper speaks of: peak hours at 5 times the load of the quiet ones (section 1), a
# sale whose first hour has 10 times a common load (section 2.1), and unforeseen hours at 16 times (section 1).
_DAY = (10, 4, 2, 1, 1, 1, 1, 2, 3, 16, 4, 5, 5, 4, 16, 3, 3, 4, 5, 5, 16, 3, 2, 1)
VOLATILE_DAY = Profile("a volatile day", "hour", tuple(map(float, range(25))), tuple(map(float, _DAY)))


def read_profile(path: Path) -> Profile:
    """A CSV file with the columns `seconds` (where an interval begins, rising) and `requests` (that came in it).

    The last interval is as long as the one before it.

    Raises:
        DataError: for a file without these columns, fewer than two rows, or numbers out of order.
    """
    existing_file(path)
    with reading(path):
        frame = pl.read_csv(path, glob=False)
    missing = [name for name in ("seconds", "requests") if name not in frame.columns]
    if missing:
        raise DataError(
            f"{path}: a trace has the columns seconds and requests, found {frame.columns}: add {missing[0]}"
        )
    frame = frame.select(pl.col("seconds", "requests").cast(pl.Float64, strict=False))
    if len(frame) < 2 or not frame.select(pl.all().is_finite().fill_null(False).all()).row(0) == (True, True):
        raise DataError(
            f"{path}: a trace needs at least two rows of finite numbers, got {frame.head(3).rows()}: mend it"
        )
    starts, requests = frame["seconds"].to_numpy(), frame["requests"].to_numpy()
    lengths = np.diff(starts, append=2 * starts[-1] - starts[-2])
    if (lengths <= 0).any():
        raise DataError(f"{path}: seconds must rise from row to row, got {starts[:-1][lengths[:-1] <= 0][:1]}: sort it")
    if (requests < 0).any() or not requests.any():
        raise DataError(f"{path}: requests must be at least 0, some above, got {requests.min()}: mend the column")
    edges = (*starts.tolist(), float(starts[-1] + lengths[-1]))
    return Profile(path.name, "second", edges, tuple((requests / lengths).tolist()))


def poisson_arrivals(profile: Profile, seconds: float, peak: float, seed: Sequence[int]) -> NDArray[np.float64]:
    """Rising times in [0, seconds): the profile squeezed or stretched to `seconds`, its peak at `peak` a second."""
    rng = np.random.default_rng(seed)
    at = profile.scaled_edges(seconds)
    counts = rng.poisson(profile.expected(seconds, peak))
    times = [rng.uniform(low, high, count) for low, high, count in zip(at, at[1:], counts, strict=False)]
    return np.sort(np.concatenate(times))

"""Numbers from what became of the requests: in all, and over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simulations.degradation.arrivals import Profile
from simulations.degradation.served import SHED, Served

PERCENTILES = (50, 95, 99, 99.9)
BINS = 48


@dataclass(frozen=True)
class Outcome:
    """One service's requests.

    Attributes:
        rates: slice rate of each stage.
        seconds: length of the trace.
        latency: T.
    """

    name: str
    served: Served
    rates: tuple[float, ...]
    seconds: float
    latency: float

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which requests were scored, in part at least."""
        return self.served.stage != SHED

    @property
    def latencies(self) -> NDArray[np.float64]:
        """Seconds from arrival to delivery of the answer; infinite for a request that was shed."""
        return np.where(self.answered, self.served.delivered - self.served.arrived, np.inf)

    @property
    def within(self) -> NDArray[np.bool_]:
        """Which requests were answered within T; a nanosecond is granted to rounding."""
        return self.latencies <= self.latency + 1e-9

    def batches(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """When each batch's scoring was begun and when it was done, rising."""
        begun, first = np.unique(self.served.begun[self.answered], return_index=True)
        return begun, self.served.finished[self.answered][first]

    def rate_of_requests(self) -> NDArray[np.float64]:
        """The slice rate that scored each request; NaN for one that was shed."""
        return np.where(self.answered, np.asarray(self.rates)[self.served.stage], np.nan)


def summary(outcome: Outcome, at_peak: NDArray[np.bool_]) -> dict[str, Any]:
    """One service in numbers; shares in [0, 1], None where undefined.

    `at_peak` marks the requests that came at the trace's peak load. Right answers count image by image: `right` is the
    share of those scored, `right_within` of all asked for; one that came late or never is not right in time.
    `utilisation` is the share of time in which a batch was being scored, from the trace's start to its end or that of
    the last batch.
    """
    served, answered, within = outcome.served, outcome.answered, outcome.within
    latencies = outcome.latencies[answered]
    begun, finished = outcome.batches()
    end = max(outcome.seconds, float(finished[-1]) if len(finished) else 0.0)
    return {
        "requests": len(answered),
        "answered": int(answered.sum()),
        "within": _share(within),
        "within_at_peak": _share(within[at_peak]),
        "late": int((answered & ~within).sum()),
        "shed": int((~answered).sum()),
        "latency": {f"p{p:g}": _percentile(latencies, p) for p in PERCENTILES}
        | {"max": float(latencies.max()) if len(latencies) else None},
        "candidates_scored": _mean(served.scored),
        "right": float(served.right.sum() / served.scored.sum()) if answered.any() else None,
        "right_within": _mean(served.right * within),
        "rate": _mean(outcome.rate_of_requests()[answered]),
        "utilisation": float((finished - begun).sum()) / end,
        "batches": len(begun),
        "batches_within_half": _share(finished - begun <= outcome.latency / 2 + 1e-9),
    }


def over_time(outcome: Outcome, profile: Profile) -> pl.DataFrame:
    """A row per interval of the trace, of `BINS` equally long ones; null where there is nothing to average.

    Requests belong to the interval in which they came, scoring time to that in which it was spent.
    """
    served, answered = outcome.served, outcome.answered
    edges = np.linspace(0.0, outcome.seconds, BINS + 1)
    where = np.clip(np.searchsorted(edges, served.arrived, side="right") - 1, 0, BINS - 1)
    requests = pl.DataFrame(
        {
            "bin": where,
            "answered": answered,
            "within": outcome.within,
            "scored": served.scored,
            "right": served.right,
            "right_within": served.right * outcome.within,
            "rate": outcome.rate_of_requests(),
        }
    ).with_columns(pl.col("rate").fill_nan(None))
    counted = requests.group_by("bin").agg(
        requests=pl.len(),
        shed=(~pl.col("answered")).sum(),
        within=pl.col("within").mean(),
        candidates_scored=pl.col("scored").mean(),
        right=(pl.col("right").sum() / pl.col("scored").sum()).fill_nan(None),
        right_within=pl.col("right_within").mean(),
        rate=pl.col("rate").mean(),
    )
    begun, finished = outcome.batches()
    busy_until = np.interp(edges, *_busy(begun, finished)) if len(begun) else np.zeros(BINS + 1)
    middles = (edges[:-1] + edges[1:]) / 2
    frame = pl.DataFrame(
        {
            "bin": np.arange(BINS),
            "at": profile.position(middles, outcome.seconds),
            "utilisation": np.clip(np.diff(busy_until) / np.diff(edges), 0.0, 1.0),
        }
    )
    joined = frame.join(counted, on="bin", how="left", maintain_order="left")
    columns = ["at", "requests", "shed", "within", "candidates_scored", "right", "right_within", "rate", "utilisation"]
    return joined.with_columns(pl.col("requests", "shed").fill_null(0)).select(
        pl.lit(outcome.name).alias("policy"), *columns
    )


def at_peak(arrived: NDArray[np.float64], profile: Profile, seconds: float) -> NDArray[np.bool_]:
    """Which requests came while the load was at its greatest."""
    where = np.searchsorted(profile.edges, profile.position(arrived, seconds), side="right") - 1
    loads = np.asarray(profile.loads)
    return np.asarray(loads[np.clip(where, 0, len(loads) - 1)] == loads.max())


def answered_by(outcome: Outcome, times: Sequence[float]) -> list[float]:
    """Share of all requests answered within each time."""
    ordered = np.sort(outcome.latencies)
    return [float(share) for share in np.searchsorted(ordered, times, side="right") / max(1, len(ordered))]


def _busy(begun: NDArray[np.float64], finished: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the scoring time spent up to a moment, which grows while a batch is scored."""
    total = np.cumsum(finished - begun)
    times = np.column_stack([begun, finished]).ravel()
    return times, np.column_stack([np.concatenate([[0.0], total[:-1]]), total]).ravel()


def _share(which: NDArray[np.bool_]) -> float | None:
    return float(which.mean()) if len(which) else None


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def _percentile(values: NDArray[np.float64], p: float) -> float | None:
    return float(np.percentile(values, p)) if len(values) else None

"""How long a trace lasts and how many requests come at its peak, in virtual time and for real."""

from dataclasses import dataclass

from cascade import CascadeError, LatencyTable
from simulations.degradation.arrivals import Profile
from simulations.degradation.settings import DegradationSettings
from simulations.report import figures

LEAST_REQUESTS, MOST_REQUESTS = 100, 10_000_000
"""Of a CSV file in virtual time: fewer show nothing, and each takes about half a kilobyte of memory."""


@dataclass(frozen=True)
class Load:
    """A trace as it is played.

    Attributes:
        seconds: its length.
        peak: requests a second where its load is greatest.
        text: what was done to it, a predicate of "the trace".
    """

    seconds: float
    peak: float
    text: str


def own_load(settings: DegradationSettings, profile: Profile) -> Load | None:
    """In virtual time a CSV file keeps its seconds and its requests a second; None where the peak is scaled.

    Raises:
        CascadeError: for a trace of too few or too many requests, before anything is trained or measured.
    """
    if settings.trace is None or settings.peak_load is not None:
        return None
    load = Load(
        profile.span, max(profile.loads), f"kept its own {figures.seconds(profile.span)} and requests per second"
    )
    _check(profile, load)
    return load


def loads(settings: DegradationSettings, profile: Profile, sliced: LatencyTable) -> dict[str, Load]:
    """By mode, `virtual` and `live`.

    Args:
        settings, profile: what is asked for.
        sliced: the sliced network's times, which the peak is scaled by.

    Raises:
        CascadeError: for a latency in which not one request can be scored, or a trace of too few or too many.
    """
    scale, peak = settings.scale, _scaled_peak(settings, sliced)
    scaled = f"its peak scaled to {settings.scaled_peak_load:g} of what the narrowest rate scores in time"
    virtual = own_load(settings, profile)
    if virtual is None and settings.trace is None:
        virtual = Load(
            scale.virtual_seconds, peak, f"was made to last {figures.seconds(scale.virtual_seconds)}, {scaled}"
        )
    elif virtual is None:
        virtual = Load(profile.span, peak, f"kept its own {figures.seconds(profile.span)}, {scaled}")
        _check(profile, virtual)
    live = Load(scale.live_seconds, peak, f"was made to last {figures.seconds(scale.live_seconds)}, {scaled}")
    return {"virtual": virtual, "live": live}


def _scaled_peak(settings: DegradationSettings, sliced: LatencyTable) -> float:
    """Requests a second: the chosen share of what the narrowest rate scores in T/2."""
    half, candidates = settings.limit / 2, settings.scale.candidates
    most = sliced.most(0, half, 1 << 40) // candidates
    if not most:
        raise CascadeError(
            f"latency must leave time for a request of {candidates} candidates, which take the narrowest rate "
            f"{sliced.seconds(0, candidates):g} s, got {settings.limit:g} s; pass a longer --latency"
        )
    return settings.scaled_peak_load * most / half


def _check(profile: Profile, load: Load) -> None:
    requests = float(profile.expected(load.seconds, load.peak).sum())
    if not LEAST_REQUESTS <= requests <= MOST_REQUESTS:
        change = "longer" if requests < LEAST_REQUESTS else "shorter"
        raise CascadeError(
            f"{profile.name}: a trace must bring {LEAST_REQUESTS:,} to {MOST_REQUESTS:,} requests in virtual time, got "
            f"about {requests:,.0f}; make it {change} or scale its peak with another --peak-load"
        )

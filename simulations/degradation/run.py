"""System degradation (section 4.1): one trace, seven policies, in virtual time and for real."""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade import CascadeError, LatencyTable
from cascade.latency import check_headroom
from data import ImageData
from simulations.cascade import load_data
from simulations.degradation.arrivals import VOLATILE_DAY, Profile, poisson_arrivals, read_profile
from simulations.degradation.live import serve_live
from simulations.degradation.loads import Load, loads, own_load
from simulations.degradation.measures import Outcome
from simulations.degradation.report import CSV_FILES, Finished, degradation_report, write_csv
from simulations.degradation.served import Served
from simulations.degradation.services import Service, right_by_stage, service_times, services, trained_networks
from simulations.degradation.settings import PEAK_LOAD, DegradationSettings
from simulations.degradation.virtual_time import serve_virtually
from simulations.report import Report, check_out, write_report
from simulations.run_parts import Parts, file_fingerprint
from slicing.files import atomic_path, refuse_overwriting
from slicing.progress import Progress, open_task

_VIRTUAL, _LIVE = 1, 2  # separate random streams


def simulate_degradation(settings: DegradationSettings, command: str, progress: Progress | None = None) -> Report:
    """Train the networks, measure them, serve the trace under every policy, write the report.

    Args:
        settings: what to do.
        command: the command line, for the report.
        progress: shows the pace of long work; None is silent.

    Returns:
        The report, as written to ``settings.out``.

    Raises:
        ValueError: for bad input, in one line: of the packages' own errors the one it concerns.
    """
    _check(settings)
    check_out(settings.out)
    profile = VOLATILE_DAY if settings.trace is None else read_profile(settings.trace)
    own_load(settings, profile)  # refuses one that is too heavy before hours of training
    data = load_data(settings.training(), progress)
    parts = Parts(settings.out / "served", _identity(settings, data), ".parquet")
    parts.begin(settings.resume)
    networks = trained_networks(settings, data, progress)
    measured = {}
    for number, (name, scorer) in enumerate({"sliced": networks.sliced, "separate": networks.pair}.items()):
        measure = partial(service_times, scorer, settings, len(data.test), name, progress)
        measured[name] = LatencyTable.of_frame(_part(parts, number, measure))
    sliced, separate = measured["sliced"], measured["separate"]
    labels = data.test.labels.numpy()
    right = right_by_stage(networks.sliced, labels), right_by_stage(networks.pair, labels)
    # Virtual time goes by the measured times exactly: there headroom would only make the policies timid.
    exactly, every = (services(networks, sliced, separate, right, share) for share in (0.0, settings.headroom))
    played = loads(settings, profile, sliced)
    modes = {
        "virtual": _virtual(settings, exactly, profile, played["virtual"], progress),
        "live": _live(settings, every, profile, played["live"], data, parts, progress),
    }
    finished = Finished(settings, command, data, profile, played, networks, measured, every, modes)
    write_csv(finished)
    report = degradation_report(finished)
    write_report(report, settings.out)
    return report


def _check(settings: DegradationSettings) -> None:
    refuse_overwriting([settings.out / name for name in CSV_FILES], [settings.trace] if settings.trace else [])
    if not (math.isfinite(settings.limit) and settings.limit > 0):
        raise CascadeError(f"latency must be above 0 seconds, got {settings.limit}; try 0.5")
    check_headroom(settings.headroom)
    if not 0 < settings.scaled_peak_load <= 1:
        raise CascadeError(
            f"peak load must lie in (0, 1], got {settings.peak_load}; {PEAK_LOAD:g} leaves the bursts some room"
        )


def _identity(settings: DegradationSettings, data: ImageData) -> dict[str, str]:
    kept = list(Served.__dataclass_fields__)  # parts of an older program may lack what is counted now
    what = json.dumps(
        [
            asdict(settings.scale),
            settings.limit,
            settings.scaled_peak_load,  # what the parts, which are served for real, depend on
            settings.headroom,
            settings.seed,
            settings.device,
            kept,
        ]
    )
    return {
        "settings": hashlib.blake2b(what.encode(), digest_size=16).hexdigest(),
        "data": data.fingerprint,
        "trace": "" if settings.trace is None else file_fingerprint(settings.trace),
    }


def _part(parts: Parts, number: int, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """A finished part, read, or made and written."""
    path = parts.path(number)
    if parts.account(number) is None:
        frame = make()
        with atomic_path(path) as temporary:
            frame.write_parquet(temporary)
        parts.finish(number, {"rows": len(frame)})
    return pl.read_parquet(path, glob=False)


def _trace(
    settings: DegradationSettings, profile: Profile, load: Load, stream: int, images: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """When requests come, and (requests, candidates) which images they ask for."""
    arrived = poisson_arrivals(profile, load.seconds, load.peak, [settings.seed, stream])
    rng = np.random.default_rng([settings.seed, stream, 1])
    return arrived, rng.integers(images, size=(len(arrived), settings.scale.candidates))


def _virtual(
    settings: DegradationSettings, every: Sequence[Service], profile: Profile, load: Load, progress: Progress | None
) -> list[Outcome]:
    limit = settings.limit
    arrived, images = _trace(settings, profile, load, _VIRTUAL, every[0].right.shape[1])
    outcomes = []
    with open_task(progress, "virtual time", len(every), "policies") as task:
        for each in every:
            served = serve_virtually(arrived, images, each.policy, each.table, limit, each.right)
            outcomes.append(Outcome(each.name, served, each.rates, load.seconds, limit))
            task.advance(1)
    return outcomes


def _live(
    settings: DegradationSettings,
    every: Sequence[Service],
    profile: Profile,
    load: Load,
    data: ImageData,
    parts: Parts,
    progress: Progress | None,
) -> list[Outcome]:
    limit, labels = settings.limit, data.test.labels.numpy()
    arrived, images = _trace(settings, profile, load, _LIVE, len(labels))

    def serve(each: Service) -> pl.DataFrame:
        with open_task(progress, f"for real, {each.name}", len(arrived), "requests") as task:
            return serve_live(arrived, images, labels, each.scorer, each.policy, limit, task).frame()

    outcomes = []
    for number, each in enumerate(every, start=2):  # the first two parts are the service times
        served = Served.of_frame(_part(parts, number, partial(serve, each)))
        outcomes.append(Outcome(each.name, served, each.rates, load.seconds, limit))
    return outcomes

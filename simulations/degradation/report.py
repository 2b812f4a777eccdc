"""The degradation experiment's report and CSV files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import polars as pl

from cascade import LatencyTable
from data import ImageData
from simulations.degradation.arrivals import Profile
from simulations.degradation.loads import Load
from simulations.degradation.measures import Outcome, at_peak, over_time, summary
from simulations.degradation.services import Networks, Service, seconds_per_image
from simulations.degradation.settings import DegradationSettings
from simulations.degradation.tables import Summaries, curves, gap_table, in_time_table, paper_table, worth_table
from simulations.history import training_history
from simulations.report import Report, figures, machine, validate_report, versions
from slicing.files import atomic_path

CONVENTION = "one multiply-add = 1; convolutions and dense layers"
SAID = ("anytime", "latency-rule", "paper-rule", "full")  # the policies that the headline names


@dataclass(frozen=True)
class Finished:
    """All that was done. `tables` are the service times by network; `loads` and `modes`, the outcomes, by mode."""

    settings: DegradationSettings
    command: str
    data: ImageData
    profile: Profile
    loads: Mapping[str, Load]
    networks: Networks
    tables: Mapping[str, LatencyTable]
    services: Sequence[Service]
    modes: Mapping[str, Sequence[Outcome]]

    @cached_property
    def summaries(self) -> dict[str, dict[str, dict[str, Any]]]:
        """By mode and policy."""
        return {
            mode: {each.name: summary(each, at_peak(each.served.arrived, self.profile, each.seconds)) for each in own}
            for mode, own in self.modes.items()
        }

    @cached_property
    def over_time(self) -> dict[str, dict[str, pl.DataFrame]]:
        """By mode and policy."""
        return {mode: {each.name: over_time(each, self.profile) for each in own} for mode, own in self.modes.items()}


def degradation_report(done: Finished) -> Report:
    """The report, validated."""
    settings, summaries = done.settings, done.summaries
    protocols: dict[str, Any] = {}
    for mode, outcomes in done.modes.items():
        protocols[mode] = {
            "systems": [],
            "tables": [in_time_table(summaries[mode], settings.limit, done.loads[mode]), worth_table(summaries[mode])],
            "curves": curves(outcomes, done.over_time[mode], done.profile),
        }
    protocols[mode]["tables"] += [gap_table(done.over_time, summaries), paper_table(summaries, done.profile)]
    report: dict[str, Any] = {
        "schema": 1,
        "command": done.command,
        "headline": _headline(summaries, settings, done.profile),
        "seed": settings.seed,
        "versions": versions(),
        "machine": machine(),
        "data": {
            "name": done.data.name,
            "fingerprint": done.data.fingerprint,
            "candidates": len(done.data.test),
            "queries": summaries["virtual"]["full"]["requests"],
            "train": len(done.data.train),
        },
        "flops_convention": CONVENTION,
        "protocols": protocols,
        "training": [training_history(name, result, rates) for name, (result, rates) in done.networks.training.items()],
        "degradation": {
            "latency": settings.limit,
            "loads": {
                mode: {"seconds": load.seconds, "peak_requests_per_second": load.peak, "trace": load.text}
                for mode, load in done.loads.items()
            },
            "headroom": settings.headroom,
            "seconds_per_image": seconds_per_image(done.tables["separate"]),
            "scale": asdict(settings.scale),
            "trace": asdict(done.profile),
            "policies": {each.name: each.text for each in done.services},
            "accuracy_by_stage": {each.name: [float(own.mean()) for own in each.right] for each in done.services},
            "summaries": summaries,
        },
    }
    return validate_report(json.loads(json.dumps(report)))


CSV_FILES = ("policies.csv", "over-time.csv", "service-times.csv")


def write_csv(done: Finished) -> None:
    """policies.csv, over-time.csv and service-times.csv: the numbers unrounded, times in seconds."""
    rows = [
        {"mode": mode, "policy": name, **{key: value for key, value in found.items() if key != "latency"}}
        | {f"latency_{key}": value for key, value in found["latency"].items()}
        for mode, own in done.summaries.items()
        for name, found in own.items()
    ]
    over = [
        frame.select(pl.lit(mode).alias("mode"), pl.all())
        for mode, own in done.over_time.items()
        for frame in own.values()
    ]
    times = [table.frame().select(pl.lit(name).alias("network"), pl.all()) for name, table in done.tables.items()]
    frames = pl.DataFrame(rows, infer_schema_length=None), pl.concat(over), pl.concat(times)
    for name, frame in zip(CSV_FILES, frames, strict=True):
        with atomic_path(done.settings.out / name) as temporary:
            frame.write_csv(temporary)


def _headline(summaries: Mapping[str, Summaries], settings: DegradationSettings, profile: Profile) -> str:
    pieces = []
    for mode, title in (("virtual", "in virtual time"), ("live", "for real")):
        shares = [
            f"{name} {figures.percent(found['right_within'], 2)} ({figures.percent(found['within'], 2)})"
            for name, found in ((name, summaries[mode][name]) for name in SAID)
        ]
        pieces.append(f"{title} {', '.join(shares)}")
    volatility = "" if profile.volatility is None else f" ({profile.volatility:.3g}x volatility)"
    return (
        f"Right within T = {figures.seconds(settings.limit)}, and in brackets answered within it, on {profile.name}"
        f"{volatility}: {'; '.join(pieces)}."
    )

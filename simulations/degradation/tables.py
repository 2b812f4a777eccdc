"""The report's tables and curves of the degradation experiment."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from simulations.degradation.arrivals import Profile
from simulations.degradation.loads import Load
from simulations.degradation.measures import Outcome, answered_by
from simulations.report import figures

Summaries = Mapping[str, Mapping[str, Any]]

CURVES = (
    ("within", "Answered in time", "requests answered within T", "Share of the requests of each interval."),
    (
        "right_within",
        "Right in time",
        "images classified correctly within T",
        "Share of the images asked for in each interval; a late answer is no answer.",
    ),
    (
        "right",
        "Accuracy",
        "images classified correctly",
        "Of the images scored for the requests of each interval, late or not.",
    ),
    ("rate", "Rate used", "mean slice rate", "Of the requests answered; a separate network counts with its width."),
    ("utilisation", "Utilisation", "time spent scoring", "Share of each interval in which a batch was being scored."),
)


def in_time_table(summaries: Summaries, latency: float, load: Load) -> dict[str, Any]:
    """Who was answered, and when."""
    rows, requests = [], 0
    for name, found in summaries.items():
        requests = found["requests"]  # the same trace for all
        times = [found["latency"][key] for key in ("p50", "p99", "max")]
        rows.append(
            [
                name,
                figures.percent(found["within"], 2),
                figures.percent(found["within_at_peak"], 2),
                figures.whole(found["late"]),
                figures.whole(found["shed"]),
                *(figures.seconds(time) for time in times),
            ]
        )
    return {
        "title": "Answered in time",
        "text": f"{figures.whole(requests)} requests, {_per_second(load.peak)} at the peak; the trace {load.text}. "
        f"T = {figures.seconds(latency)}; at peak: of the requests that came at the greatest load; the percentiles are "
        "of the answers' latency, from arrival to delivery.",
        "columns": ["policy", "within T", "at peak", "late", "shed", "p50", "p99", "max"],
        "rows": rows,
    }


def worth_table(summaries: Summaries) -> dict[str, Any]:
    """What the answers are worth, and what they cost."""
    rows = [
        [
            name,
            figures.percent(found["right_within"], 2),
            figures.percent(found["candidates_scored"], 2),
            figures.percent(found["right"], 2),
            figures.MISSING if found["rate"] is None else f"{found['rate']:.3f}",
            figures.percent(found["utilisation"]),
            figures.percent(found["batches_within_half"], 2),
        ]
        for name, found in summaries.items()
    ]
    return {
        "title": "What the answers are worth",
        "text": "Right in time, the measure to go by: of all images asked for, those classified correctly in an answer "
        "within T; a late answer is no answer, a dropped image is not right. Candidates scored: of all asked for, "
        "late or not; accuracy: of the images scored; utilisation: share of time in which a batch was being scored; "
        "last, the share of batches scored within T/2.",
        "columns": [
            "policy",
            "right in time",
            "candidates scored",
            "accuracy",
            "mean rate",
            "utilisation",
            "batches in T/2",
        ],
        "rows": rows,
    }


def paper_table(modes: Mapping[str, Summaries], profile: Profile) -> dict[str, Any]:
    """The paper's statements about degradation, and what was found here."""

    def each(policy: str, key: str) -> list[str]:
        return [figures.percent(summaries[policy][key], 2) for summaries in modes.values()]

    volatility = figures.MISSING if profile.volatility is None else f"{profile.volatility:.3g}x"
    rows = [
        ["volatility of the load", "up to 16x (section 1)", *[volatility] * len(modes)],
        ["all samples within the required latency", "yes (4.1)", *each("paper-rule", "within")],
        ["the same at the greatest load", "yes (4.1)", *each("paper-rule", "within_at_peak")],
        ["the same, a fixed full network", "may crash (section 1)", *each("full", "within")],
        ["n r² t ≤ T/2 keeps a batch within T/2", "yes (4.1)", *each("paper-rule", "batches_within_half")],
        ["no resource is wasted: time spent scoring", "all (4.1)", *each("paper-rule", "utilisation")],
        ["the same, anytime", figures.MISSING, *each("anytime", "utilisation")],
    ]
    return {
        "title": "Beside the paper's statements",
        "text": "The paper prints no measurement of this; it states what its rule does. Ours is the policy paper-rule, "
        "unless another is named.",
        "columns": ["statement", "paper", *modes],
        "rows": rows,
    }


def gap_table(modes: Mapping[str, Mapping[str, pl.DataFrame]], summaries: Mapping[str, Summaries]) -> dict[str, Any]:
    """How much more anytime gets right in time than the rules: over all, and where it does worst."""
    rows = []
    for mode, frames in modes.items():
        for rival in ("paper-rule", "latency-rule"):
            both = frames["anytime"].join(frames[rival], on="at", suffix="_rival")
            row = [mode, rival]
            for key in ("right_within", "right"):
                least = both.select((pl.col(key) - pl.col(f"{key}_rival")).min()).item()
                ours, theirs = (summaries[mode][name][key] for name in ("anytime", rival))
                row += [_points(None if None in (ours, theirs) else ours - theirs), _points(least)]
            rows.append(row)
    return {
        "title": "Anytime against the rules",
        "text": "Anytime minus the rule in points: right answers in time as a share of all images asked for, and "
        "accuracy of what was scored, late too; over the whole trace, and in the interval where anytime does worst.",
        "columns": ["time", "rule", "right in time", "least in an interval", "accuracy", "least in an interval"],
        "rows": rows,
    }


def curves(outcomes: Sequence[Outcome], frames: Mapping[str, pl.DataFrame], profile: Profile) -> list[dict[str, Any]]:
    """The load, then a curve per measure and policy, then the latencies."""
    times = np.geomspace(0.05, 20.0, 80)
    return [
        {
            "title": "Load",
            "text": f"Load of {profile.name}, as a share of its greatest.",
            "x": profile.unit,
            "y": "load",
            "x_scale": "linear",
            "series": [{"name": "load", **_steps(profile)}],
        },
        *(
            {
                "title": title,
                "text": text,
                "x": profile.unit,
                "y": label,
                "x_scale": "linear",
                "series": [
                    {"name": name, "x": known["at"].to_list(), "y": known[key].to_list()}
                    for name, frame in frames.items()
                    if len(known := frame.drop_nulls(key))
                ],
            }
            for key, title, label, text in CURVES
        ),
        {
            "title": "Latency",
            "text": "Share of all requests answered within a time.",
            "x": "latency / T",
            "y": "requests answered",
            "x_scale": "log",
            "series": [
                {"name": each.name, "x": times.tolist(), "y": answered_by(each, (times * each.latency).tolist())}
                for each in outcomes
            ],
        },
    ]


def _steps(profile: Profile) -> dict[str, list[float]]:
    shares = [load / max(profile.loads) for load in profile.loads]
    start = min(0.0, profile.edges[0])  # a curve's x is at least 0
    edges = [edge - start for edge in profile.edges]
    return {
        "x": [edge for pair in pairwise(edges) for edge in pair],
        "y": [share for share in shares for _ in range(2)],
    }


def _per_second(requests: float) -> str:
    return f"{figures.whole(requests) if requests >= 100 else f'{requests:.3g}'} a second"


def _points(difference: float | None) -> str:
    return figures.MISSING if difference is None else f"{100 * difference:+.2f}"

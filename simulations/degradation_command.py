"""The command `simulate degradation`. Heavy packages are imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulations.experiment_command import experiment_command

if TYPE_CHECKING:
    from simulations.report import Report
    from slicing.progress import Progress


@experiment_command(
    "degradation",
    examples=[
        "degradation --out out/degradation",
        "degradation --scale small --data-dir DIR",
        "degradation --trace load.csv --latency 0.2",
    ],
    scale="smoke: digits, minutes; small: CIFAR-10 at a quarter of VGG-13's width; paper: all of it, for a GPU.",
    device=True,
    seed="Of weights, order, arrivals and images.",
    resume="Go on from what an earlier run left in --out.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of CIFAR-10 (small and paper).")
@click.option("--download", is_flag=True, help="Download the data set into --data-dir when it is not there.")
@click.option(
    "--trace",
    type=click.Path(path_type=Path),
    help="CSV of the load, columns seconds and requests; squeezed and scaled only when served for real.",
)
@click.option("--latency", type=float, help="T, seconds in which a request shall be answered [default: by scale].")
@click.option(
    "--peak-load",
    type=float,
    help="Load at the trace's peak, as a share of what the narrowest rate scores in time "
    "[default: 0.5; a --trace in virtual time keeps its own requests per second].",
)
@click.option(
    "--headroom",
    type=float,
    default=0.25,
    show_default=True,
    help="Share by which, for real, policies that go by measured times take steps to be slower than measured.",
)
def degradation(command: str, progress: Progress | None, scale: str, **options: Any) -> Report:
    """A service with a latency limit under a volatile load (paper, section 4.1): seven policies compared.

    Trains a sliced network and two separate ones, measures them on this machine, serves a trace in virtual time and
    for real, prints who was answered in time and how well, and writes report.json, report.html, plots and CSV.
    """
    from simulations.degradation import SCALES, DegradationSettings, simulate_degradation

    return simulate_degradation(DegradationSettings(scale=SCALES[scale], **options), command, progress)

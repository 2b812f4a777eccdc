"""The commands of the experiments on elastic image networks; they differ in what they train and show."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulations.command_line import COUNT
from simulations.experiment_command import experiment_command

if TYPE_CHECKING:
    from simulations.report import Report
    from slicing.progress import Progress


def _command(name: str, module: str, function: str, text: str) -> click.Command:
    """One experiment as a command; heavy packages are imported when it runs."""

    @click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of CIFAR-10 [not needed at smoke].")
    @click.option("--epochs", type=COUNT, help="Passes over the training images [default: by scale].")
    @click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
    def run(command: str, progress: Progress | None, **options: Any) -> Report:
        from simulations.elastic import ElasticSettings

        return getattr(import_module(module), function)(ElasticSettings(**options), command, progress)

    run.__doc__ = text
    return experiment_command(
        name,
        examples=[name, f"{name} --scale small --data-dir CIFAR10"],
        scale="smoke: digits, minutes; small: CIFAR-10 at a quarter of the width; paper: its configuration, for a GPU.",
        device=True,
        seed="Of weights, order, augmentation, drawn rates.",
    )(run)


COMMANDS = (
    _command(
        "tradeoff",
        "simulations.tradeoff",
        "simulate_tradeoff",
        "Accuracy against FLOPs of sliced networks and their rivals (paper, Figures 2 and 6, Table 3): separate "
        "widths and depths, early exits, MSDNet, SkipNet, Network Slimming.",
    ),
    _command(
        "schedules",
        "simulations.schedules",
        "simulate_schedules",
        "Accuracy of the whole network and of the narrowest by training scheme (paper, Figure 3).",
    ),
    _command(
        "lower-bound",
        "simulations.lower_bound",
        "simulate_lower_bound",
        "Accuracy by slice rate for several lower bounds of the rates trained (paper, Figure 4, Table 3).",
    ),
    _command(
        "scaling-factors",
        "simulations.scaling_factors",
        "simulate_scaling_factors",
        "How the normalisation's scales grow from group to group while training (paper, Figure 7).",
    ),
    _command(
        "learning-curves",
        "simulations.learning_curves",
        "simulate_learning_curves",
        "Test error and loss by epoch of a sliced network's rates and of the fixed one (paper, Figure 8).",
    ),
)

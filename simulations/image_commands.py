"""The commands of the experiments on elastic image networks; they differ in what they train and show."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from simulations.command_line import command_text, one_line_errors


def _command(name: str, module: str, function: str, text: str) -> click.Command:
    """One experiment as a command; heavy packages are imported when it runs."""
    example = (
        f"\b\nExamples:\n  slicerank simulate {name}\n  slicerank simulate {name} --scale small --data-dir CIFAR10"
    )

    @click.command(name, help=text, epilog=example)
    @click.option(
        "--scale",
        type=click.Choice(["smoke", "small", "paper"]),
        default="smoke",
        show_default=True,
        help="smoke: digits, minutes; small: CIFAR-10 at a quarter of the width; paper: its configuration, for a GPU.",
    )
    @click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of CIFAR-10 [not needed at smoke].")
    @click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images [default: by scale].")
    @click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
    @click.option(
        "--seed", type=int, default=0, show_default=True, help="Of weights, order, augmentation, drawn rates."
    )
    @click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
    @click.option(
        "--out",
        type=click.Path(path_type=Path),
        default=Path("out") / name,
        show_default=True,
        help="Folder to write.",
    )
    @click.option("--quiet", is_flag=True, help="No progress.")
    @one_line_errors
    def run(quiet: bool, **options: Any) -> None:
        from importlib import import_module

        from rich.console import Console

        from simulations.elastic import ElasticSettings
        from simulations.report import terminal_table
        from slicing.progress import default_progress

        simulate: Callable[..., Any] = getattr(import_module(module), function)
        settings = ElasticSettings(**options)
        terminal_table(simulate(settings, command_text(), default_progress(quiet)), Console(), settings.out)

    return run


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

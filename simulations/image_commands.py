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


_OF_FOLDERS = (
    click.option(
        "--data",
        type=click.Choice(["cifar10", "images"]),
        help="Data set. images: a folder with a subfolder for each class, laid out as ImageNet's; VGG-16 alone, as in "
        "the paper; of 64 pixels at a quarter of the width at small, 224 at paper [default: by scale].",
    ),
    click.option("--train-limit", type=int, help="Train on this many images only [default: by scale]."),
    click.option(
        "--workers",
        type=COUNT,
        help="Threads that decode images (images only) [default: one a processor].",
    ),
)


def _command(name: str, module: str, function: str, text: str, *, folders: bool = False) -> click.Command:
    """One experiment as a command; heavy packages are imported when it runs.

    Args:
        name: of the command.
        module, function: what runs it.
        text: its help.
        folders: whether it takes a folder's images as well.
    """

    @click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        help=f"Folder of {'the data set' if folders else 'CIFAR-10'} [not needed at smoke].",
    )
    @click.option("--epochs", type=COUNT, help="Passes over the training images [default: by scale].")
    @click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
    def run(command: str, progress: Progress | None, **options: Any) -> Report:
        from simulations.elastic_settings import ElasticSettings

        return getattr(import_module(module), function)(ElasticSettings(**options), command, progress)

    run.__doc__ = text
    examples = [name, f"{name} --scale small --data-dir CIFAR10"]
    if folders:
        examples.append(f"{name} --scale paper --data images --data-dir IMAGENET --device cuda --precision bf16")
    for option in reversed(_OF_FOLDERS if folders else ()):
        run = option(run)
    return experiment_command(
        name,
        examples=examples,
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
        folders=True,
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

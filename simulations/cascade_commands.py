"""The commands `simulate cascade` and `simulate nesting`. Heavy packages are imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulations.command_line import COUNT, loss_weights, rates, seeds
from simulations.experiment_command import experiment_command

if TYPE_CHECKING:
    from simulations.report import Report
    from slicing.progress import Progress


@experiment_command(
    "cascade",
    examples=[
        "cascade --out out/demo",
        "cascade --data cifar10 --data-dir DIR --width 0.5 --connectivity nested --connectivity dense",
    ],
    seed="Of weights, order, augmentation and split.",
)
@click.option(
    "--data",
    type=click.Choice(["digits", "cifar10", "cifar100", "fashion-mnist", "images"]),
    default="digits",
    show_default=True,
    help="Data set; digits ships with scikit-learn, images is a folder with a subfolder for each class.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set.")
@click.option("--download", is_flag=True, help="Download the data set into --data-dir when it is not there.")
@click.option("--image-size", type=int, help="Resize and crop to this many pixels (images only).")
@click.option("--workers", type=COUNT, help="Threads that decode images (images only) [default: one a processor].")
@click.option("--train-limit", type=int, help="Train on this many images only, evenly over the classes.")
@click.option(
    "--model",
    type=click.Choice(["vgg13", "vgg16", "resnet-164-1", "resnet-56-2", "wrn-28-10", "small-cnn", "mlp"]),
    help="Architecture [default: by data set].",
)
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on the architecture's units.")
@click.option(
    "--rates",
    callback=rates,
    default="0.375,0.5,0.625,0.75,0.875,1.0",
    show_default=True,
    help="Slice rates of the stages, rising to 1.0.",
)
@click.option(
    "--connectivity",
    multiple=True,
    default=["nested"],
    show_default=True,
    help="nested, dense, or mixed@RATE+RATE: nested, with everything recomputed at these rates; behind it "
    ",trunk=N for N first layers that all rates share, or ,LAYER=RULE for one layer. Repeatable, to compare.",
)
@click.option(
    "--scheme",
    type=click.Choice(["auto", "joint", "sampled", "sandwich"]),
    default="auto",
    show_default=True,
    help="How a sliced network is trained; auto is sampled (the paper's) for dense, else joint.",
)
@click.option(
    "--distribution",
    type=click.Choice(["normal", "uniform"]),
    default="normal",
    show_default=True,
    help="Distribution of the sampled rates (Equation 10).",
)
@click.option(
    "--weights",
    callback=loss_weights,
    help="Weights of the rates' losses (joint) [default: .3,.15,..,1 over their sum].",
)
@click.option("--distill", type=float, default=0.0, show_default=True, help="Share of distillation (joint).")
@click.option(
    "--own", type=float, default=0.0, show_default=True, help="Share of each block's own loss (joint, nested)."
)
@click.option("--epochs", type=int, help="Passes over the training images [default: by data set].")
@click.option("--batch", "batch_size", type=int, help="Images in a training step [default: by data set].")
@click.option("--learning-rate", type=float, default=0.1, show_default=True, help="Peak learning rate.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Random crops and flips.")
def cascade(command: str, progress: Progress | None, **options: Any) -> Report:
    """One sliced network against a cascade of separate ones (paper, section 5.4.4).

    Trains both on images, runs the paper's protocol and a retrieval protocol, prints the tables and writes
    report.json, report.html, heatmaps and CSV.
    """
    from simulations.cascade import simulate_cascade
    from simulations.settings import CascadeSettings

    return simulate_cascade(CascadeSettings(**options), command, progress)


@experiment_command(
    "nesting",
    examples=[
        "nesting --out out/nesting",
        "nesting --data cifar10 --data-dir DIR --width 0.25 --train-limit 8000 --seeds 0",
    ],
)
@click.option(
    "--system",
    "systems",
    multiple=True,
    metavar="NAME|CONNECTIVITY",
    help="Run this system only; repeatable: separate, dense-sampled, dense-sandwich, nested, nested-wide, "
    "mixed [default: these], or any connectivity, such as nested,trunk=2.",
)
@click.option("--seeds", callback=seeds, default="0,1,2", show_default=True, help="A run of every system for each.")
@click.option("--widen", type=float, default=1.25, show_default=True, help="Factor on the width of nested-wide.")
def nesting(
    command: str,
    progress: Progress | None,
    systems: tuple[str, ...],
    seeds: tuple[int, ...],
    widen: float,
    **options: Any,
) -> Report:
    """What nesting costs: separate, dense sliced and nested networks on the same data and budget.

    Trains every system with every seed, runs the paper's protocol, prints mean and spread and writes nesting.csv
    beside the report. --weights, --distill and --own hold for nested, nested-wide, mixed and connectivities.
    """
    from simulations.nesting import SYSTEMS, NestingSettings, simulate_nesting
    from simulations.settings import CascadeSettings

    settings = NestingSettings(CascadeSettings(**options), seeds, systems or tuple(SYSTEMS), widen)
    return simulate_nesting(settings, command, progress)


_OWN_TO_CASCADE = ("connectivity", "scheme", "distribution", "seed")
_have = {option.name for option in nesting.params}
nesting.params[3:3] = [each for each in cascade.params if each.name not in _have and each.name not in _OWN_TO_CASCADE]

COMMANDS = (cascade, nesting)

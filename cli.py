"""The command line: parses, calls, prints. Heavy packages are imported inside the commands, so --help is instant."""

import shlex
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

EXAMPLE_CASCADE = """
\b
Examples:
  slicerank simulate cascade --out out/demo
  slicerank simulate cascade --data cifar10 --data-dir DIR --width 0.5 --connectivity nested --connectivity dense
"""


def _one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Bad input ends with one line and exit status 2, an interrupt with a hint and 130."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except ValueError as error:
            if not _ours(error):
                raise
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt as error:
            click.echo("\ninterrupted; nothing half-written. The same command with --resume goes on.", err=True)
            raise SystemExit(130) from error

    return wrapped


def _ours(error: ValueError) -> bool:
    from cascade.errors import CascadeError
    from data.errors import DataError
    from simulations.report.errors import ReportError
    from slicing.errors import SlicingError

    return isinstance(error, CascadeError | DataError | ReportError | SlicingError)


def _rates(_: click.Context, __: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"rates are numbers separated by commas, got {text!r}; try 0.5,1.0") from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slicerank")
def main() -> None:
    """Cascade ranking with one sliced network instead of one model per stage.

    \b
    Example:
      slicerank simulate cascade --out out/demo
    """


@main.group()
def simulate() -> None:
    """Run an experiment of the paper and write its report.

    \b
    Example:
      slicerank simulate cascade --out out/demo
    """


@simulate.command(epilog=EXAMPLE_CASCADE)
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
@click.option("--train-limit", type=int, help="Train on this many images only, evenly over the classes.")
@click.option("--model", type=click.Choice(["vgg13", "small-cnn", "mlp"]), help="Architecture [default: by data set].")
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on the architecture's units.")
@click.option(
    "--rates",
    callback=_rates,
    default="0.375,0.5,0.625,0.75,0.875,1.0",
    show_default=True,
    help="Slice rates of the stages, rising to 1.0.",
)
@click.option(
    "--connectivity",
    multiple=True,
    type=click.Choice(["nested", "dense"]),
    default=["nested"],
    show_default=True,
    help="Connectivity of the sliced network; give it twice to compare both.",
)
@click.option(
    "--scheme",
    type=click.Choice(["auto", "joint", "sampled", "sandwich"]),
    default="auto",
    show_default=True,
    help="How a sliced network is trained; auto is joint for nested, sampled (the paper's) for dense.",
)
@click.option(
    "--distribution",
    type=click.Choice(["normal", "uniform"]),
    default="normal",
    show_default=True,
    help="Distribution of the sampled rates (Equation 10).",
)
@click.option("--distill", type=float, default=0.0, show_default=True, help="Share of distillation in joint training.")
@click.option("--epochs", type=int, help="Passes over the training images [default: by data set].")
@click.option("--batch", "batch_size", type=int, help="Images in a training step [default: by data set].")
@click.option("--learning-rate", type=float, default=0.1, show_default=True, help="Peak learning rate.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Random crops and flips.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order, augmentation and split.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/cascade"), show_default=True, help="Folder to write."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@_one_line_errors
def cascade(quiet: bool, out: Path, **options: Any) -> None:
    """One sliced network against a cascade of separate ones (paper, section 5.4.4).

    Trains both on images, runs the paper's protocol and a retrieval protocol, prints the tables and writes
    report.json, report.html, heatmaps and CSV.
    """
    from rich.console import Console

    from simulations.cascade import simulate_cascade
    from simulations.report import terminal_table
    from simulations.settings import CascadeSettings
    from slicing.progress import default_progress

    settings = CascadeSettings(out=out, **options)
    report = simulate_cascade(settings, _command(), default_progress(quiet))
    terminal_table(report, Console(), out)


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True, help="Folder to write."
)
@click.option("--case", "cases", multiple=True, help="Run this case only; repeatable.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch, for both sides [default: torch's own].")
@_one_line_errors
def bench(out: Path, cases: tuple[str, ...], threads: int | None) -> None:
    """Time SliceRank against plain torch and polars, side by side, and write bench.json.

    \b
    Example:
      slicerank bench --case mlp-funnel --threads 1
    """
    from bench.run import run

    run(out, cases, threads)


def _command() -> str:
    return shlex.join(["slicerank", *sys.argv[1:]])


if __name__ == "__main__":
    main()

"""What the commands of `simulate` share: their last options, the example lines, the tables printed in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulations.command_line import SEED, command_text, one_line_errors

if TYPE_CHECKING:
    from simulations.report import Report


def experiment_command(
    name: str,
    *,
    examples: Sequence[str],
    scale: str | None = None,
    device: bool = False,
    seed: str | None = None,
    resume: str = "Go on from the checkpoints in --out.",
) -> Callable[[Callable[..., Report]], click.Command]:
    """Make a command of a function that runs an experiment and returns its report.

    The function is called with ``command`` (the command line, for the report), ``progress``, ``out``, ``resume``, its
    own options, and those asked for here. It imports heavy packages itself, so that --help is instant.

    Args:
        name: of the command; the folder it writes is ``out/NAME`` unless --out says otherwise.
        examples: what follows ``slicerank simulate``, a line each.
        scale: help of --scale, which then comes first; None for a command without it.
        device: whether there is --device.
        seed: help of --seed; None for a command without it, or with its own.
        resume: help of --resume.
    """
    last = [
        *([_device()] if device else []),
        *([click.Option(["--seed"], type=SEED, default=0, show_default=True, help=seed)] if seed else []),
        click.Option(["--resume"], is_flag=True, help=resume),
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path),
            default=Path("out") / name,
            show_default=True,
            help="Folder to write.",
        ),
        click.Option(["--quiet"], is_flag=True, help="No progress."),
    ]

    def command_of(simulate: Callable[..., Report]) -> click.Command:
        @wraps(simulate)
        def run(quiet: bool, out: Path, **options: Any) -> None:
            from simulations.report import terminal_table
            from simulations.report.grid import output
            from slicing.progress import default_progress

            report = simulate(command=command_text(), progress=default_progress(quiet), out=out, **options)
            terminal_table(report, output(), out)

        lines = "\n".join(f"  slicerank simulate {example}" for example in examples)
        command = click.command(name, epilog=f"\b\nExamples:\n{lines}")(one_line_errors(run))
        command.params = [*([_scale(scale)] if scale else []), *command.params, *last]
        return command

    return command_of


def _scale(text: str) -> click.Option:
    names = click.Choice(["smoke", "small", "paper"])
    return click.Option(["--scale"], type=names, default="smoke", show_default=True, help=text)


def _device() -> click.Option:
    return click.Option(["--device"], type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)

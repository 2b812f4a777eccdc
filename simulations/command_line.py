"""What every command of the command line shares: one-line errors, and values in forms of their own."""

import re
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import click

_WORD = 2**63 - 1  # the largest whole number that torch, numpy and polars take


class Whole(click.ParamType[int]):
    """A whole number from a least one up to what fits a word; unlike `click.IntRange`, help doesn't print 19 digits."""

    name = "integer"

    def __init__(self, least: int) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; fails as a usage error."""
        number: int = click.INT.convert(value, param, ctx)
        if not self.least <= number <= _WORD:
            self.fail(f"must be a whole number from {self.least} to {_WORD}, got {value}", param, ctx)
        return number


SEED = Whole(0)
"""What --seed is, of every command."""

COUNT = Whole(1)
"""How many of something, where at least one is wanted."""


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Bad input ends with one line and status 2, want of memory or of disk with one and 1, an interrupt with 130."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except ValueError as error:
            if not _ours(error):
                raise
            raise click.UsageError(str(error)) from error
        except (MemoryError, RuntimeError) as error:
            if not (isinstance(error, MemoryError) or "can't allocate memory" in str(error)):  # torch's has no type
                raise
            wanted = re.search(r"allocate ([\d.]+ [PTGMK]?i?B|\d+ bytes)", str(error))
            size = f" for {wanted[1]}" if wanted else ""
            raise click.ClickException(f"there is no memory{size}; ask for something smaller") from error
        except KeyboardInterrupt as error:
            click.echo(f"\ninterrupted; nothing half-written.{_how_to_go_on()}", err=True)
            raise SystemExit(130) from error
        except Exception as error:
            from data.files import no_room

            reason = no_room(error)
            if reason is None:
                raise
            room = f"nothing more can be written: {reason}. Free some space, or set TMPDIR to a folder that has some."
            raise click.ClickException(f"{room}{_how_to_go_on()}") from error

    return wrapped


def _how_to_go_on() -> str:
    """For commands that can resume."""
    parameters = click.get_current_context().command.params
    resumes = any(parameter.name == "resume" for parameter in parameters)
    return " The same command with --resume goes on." if resumes else ""


def _ours(error: ValueError) -> bool:
    from cascade.errors import CascadeError
    from data.errors import DataError
    from simulations.report.errors import ReportError
    from slicing.errors import SlicingError

    return isinstance(error, CascadeError | DataError | ReportError | SlicingError)


def rates(_: click.Context, __: click.Parameter, text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"give numbers separated by commas, got {text!r}; try 0.5,1.0") from error


def loss_weights(context: click.Context, option: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """Numbers separated by commas; None where none were given."""
    return None if text is None else rates(context, option, text)


def shares(_: click.Context, __: click.Parameter, text: str) -> tuple[float, ...]:
    """Numbers separated by commas, of parts in their order."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"shares are numbers separated by commas, got {text!r}; try 0.8,0.1,0.1") from error


def sizes(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"sizes are whole numbers separated by commas, got {text!r}; try 512,512") from error


def seeds(context: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """Seeds separated by commas."""
    return tuple(SEED(part, option, context) for part in text.split(","))


def column_names(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """Names separated by commas; None where none were given."""
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def query_features(_: click.Context, __: click.Parameter, text: str | None) -> tuple[str, ...] | str:
    """Names separated by commas, or `auto`; no names where none were given."""
    return "auto" if text == "auto" else tuple(part.strip() for part in (text or "").split(",") if part.strip())


def budgets(_: click.Context, __: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """Counts and shares separated by commas."""
    try:
        return None if text is None else tuple(float(part) if "." in part else int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"budgets are counts and shares, got {text!r}; try 0.6,0.4,0.25,10") from error


def final_k(_: click.Context, __: click.Parameter, text: str) -> int | None:
    """A whole number of at least 1, or None for `all`."""
    if text == "all":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_WORD)) and 1 <= int(text) <= _WORD):
        raise click.BadParameter(f"the final k is a whole number from 1 to {_WORD}, or all, got {text!r}; try 10")
    return int(text)


def cutoffs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[float, str]:
    """`RATE=COLUMN`, each."""
    found: dict[float, str] = {}
    for text in given:
        rate, equals, column = text.partition("=")
        try:
            stage = float(rate)
        except ValueError as error:
            raise click.BadParameter(f"a cutoff is RATE=COLUMN, got {text!r}; try 0.5=budget") from error
        if not (equals and column):
            raise click.BadParameter(f"a cutoff is RATE=COLUMN, got {text!r}; try 0.5=budget")
        if stage in found:
            raise click.BadParameter(
                f"a stage has one cutoff, rate {stage:g} was given {found[stage]!r} and {column!r}; leave one out"
            )
        found[stage] = column
    return found


def warn(texts: Iterable[str]) -> None:
    """A line each on standard error: what makes the numbers shown doubtful."""
    for text in texts:
        click.echo(f"warning: {text}", err=True)


def command_text() -> str:
    """The command line as it was typed."""
    return shlex.join(["slicerank", *sys.argv[1:]])

"""Progress of long work: a live bar on a terminal, plain lines elsewhere, with items per second and ETA."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichBar
from rich.table import Column


class Task(Protocol):
    """One piece of long work under way."""

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """``count`` more items are done; ``note``, if given, replaces the text shown beside the figures."""
        ...

    def set_total(self, total: int) -> None:
        """Correct the number of items, where the first guess was not exact."""
        ...


class Progress(Protocol):
    """Shows how far long work is. ``None`` stands for silence wherever a ``Progress`` is optional."""

    def task(self, title: str, total: int, unit: str = "items", done: int = 0) -> AbstractContextManager[Task]:
        """Begin work on ``total`` items; ``done`` of them were done earlier and do not count for the pace."""
        ...


def default_progress(quiet: bool = False, stream: TextIO | None = None) -> Progress | None:
    """A live bar on a terminal, plain lines on another stream (by default stderr), ``None`` when quiet."""
    if quiet:
        return None
    stream = sys.stderr if stream is None else stream
    return LiveProgress(Console(file=stream)) if stream.isatty() else LineProgress(stream)


def open_task(
    progress: Progress | None, title: str, total: int, unit: str = "items", done: int = 0
) -> AbstractContextManager[Task]:
    """``progress.task(...)``, or a task that shows nothing when ``progress`` is ``None``."""
    return _silence() if progress is None else progress.task(title, total, unit, done)


class LineProgress:
    """Plain lines, at most one every ``every`` seconds, and one at the end.

    Args:
        stream: where the lines go; by default stderr.
        every: seconds between lines, in ``[0, inf)``.
        clock: seconds from an arbitrary start.
    """

    def __init__(
        self, stream: TextIO | None = None, every: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.every = every
        self.clock = clock

    @contextmanager
    def task(self, title: str, total: int, unit: str = "items", done: int = 0) -> Iterator[Task]:
        """One line when an interval is over, and one when the work ends well."""
        meter = _Meter(total, unit, done, self.clock)
        shown = self.clock()

        def show() -> None:
            nonlocal shown
            if self.clock() - shown >= self.every:
                shown = self.clock()
                print(f"{title}: {meter}", file=self.stream, flush=True)

        meter.on_change = show
        yield meter
        print(f"{title}: {meter}", file=self.stream, flush=True)


class LiveProgress:
    """A live bar of rich.

    Args:
        console: the terminal; by default stderr.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = Console(stderr=True) if console is None else console

    @contextmanager
    def task(self, title: str, total: int, unit: str = "items", done: int = 0) -> Iterator[Task]:
        """A bar that stays on the screen, at its last state, when the work ends."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
        )
        meter = _Meter(total, unit, done, time.monotonic)
        with RichBar(*columns, console=self.console, refresh_per_second=4) as bar:
            shown = bar.add_task(title, total=total, completed=done, pace=meter.pace(), note="")

            def show() -> None:
                bar.update(shown, total=meter.total, completed=meter.done, pace=meter.pace(), note=meter.note)

            meter.on_change = show
            yield meter


class _Meter:
    """Counts items and tells the pace and the time left; the pace is the mean since the start."""

    def __init__(self, total: int, unit: str, done: int, clock: Callable[[], float]) -> None:
        self.total, self.unit, self.done, self.note = total, unit, done, ""
        self.on_change: Callable[[], None] = _nothing
        self._first, self._clock, self._start = done, clock, clock()

    def advance(self, count: int = 1, note: str | None = None) -> None:
        self.done += count
        if note is not None:
            self.note = note
        self.on_change()

    def set_total(self, total: int) -> None:
        self.total = total

    def pace(self) -> str:
        seconds = self._clock() - self._start
        fresh = self.done - self._first
        if fresh <= 0 or seconds <= 0:
            return ""
        each = seconds / fresh
        speed = fresh / seconds
        shown = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
        return f"{shown} {self.unit}/s, ETA {_duration(each * max(self.total - self.done, 0))}"

    def __str__(self) -> str:
        share = f"{100 * self.done / self.total:.0f}%" if self.total else "nothing to do"
        parts = [f"{self.done:,}/{self.total:,} {self.unit} ({share})", self.pace(), self.note]
        return ", ".join(part for part in parts if part)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _nothing() -> None:
    return


@contextmanager
def _silence() -> Iterator[Task]:
    yield _Meter(0, "items", 0, time.monotonic)

"""Tables on the terminal that never lose a digit: headings fold first, then labels, then the table goes on below.

Where the output is no terminal, such as a file or a pipe, nothing folds: a table is as wide as it needs.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

GAP = 3
"""Columns between two columns of a table."""

LABEL = 16
"""What a column of labels keeps before the table is divided."""


class Piped(Console):
    """Output that is no terminal: text wraps as on a small one, tables do not."""


def output() -> Console:
    """The console of a command's tables. COLUMNS, where it is set, is the width, of a pipe too."""
    console = Console()
    return console if console.is_terminal or os.environ.get("COLUMNS", "").isdigit() else Piped()


@dataclass
class Grid:
    """A table of written cells.

    Attributes:
        columns: headings; those of a narrow table fold at white space.
        labels: how many columns at the left say what a row is; they are repeated where the table is divided, and may
            fold anywhere when it is narrow.
        left: columns, by place, that are flush left; None stands for the labels.
        title: above the table, or None.
        even: whether all columns but the labels are equally wide.
        rows: cells, and the style of the row.
    """

    columns: Sequence[str]
    labels: int = 1
    left: frozenset[int] | None = None
    title: Text | None = None
    even: bool = False
    rows: list[tuple[list[Text], str]] = field(default_factory=list)

    def add(self, *cells: str | Text, style: str = "") -> None:
        """Add a row; plain strings are no markup."""
        self.rows.append(([Text(cell) if isinstance(cell, str) else cell for cell in cells], style))

    def show(self, console: Console) -> None:
        """Print the table, in several parts where the console is too narrow."""
        if self.title is not None:
            console.print(self.title)
        before = console.width
        if isinstance(console, Piped):
            console.width = max(before, _total(self._whole()))
        for table in self.tables(console.width):
            console.print(table)
        if isinstance(console, Piped):
            console.width = before

    def tables(self, width: int) -> Iterator[Table]:
        """The table, or its parts, none wider than ``width``, as far as every column can have a place."""
        whole, least = self._whole(), self._widths([_longest(name.split()) for name in self.columns])
        every = list(range(len(self.columns)))
        if _total(whole) <= width:
            yield self._part(every, whole)
            return
        labels, others = every[: self.labels], every[self.labels :]
        self._narrow_labels(least, width)
        while True:
            taken = list(labels)
            while others and (len(taken) == len(labels) or _total([least[i] for i in (*taken, others[0])]) <= width):
                taken.append(others.pop(0))
            widths = {i: least[i] for i in taken}
            over = _total(list(widths.values())) - width
            spare = max(0, -over)
            for i in reversed(taken):  # one column by itself is too wide: it folds, and then its labels
                less = max(0, min(over, widths[i] - 1))
                widths[i], over = widths[i] - less, over - less
            for i in taken:  # headings stay whole as far as there is room
                more = min(spare, max(0, whole[i] - widths[i]))
                widths[i], spare = widths[i] + more, spare - more
            yield self._part(taken, [widths[i] for i in taken])
            if not others:
                return

    def _narrow_labels(self, least: list[int], width: int) -> None:
        """Take from the labels what the table is too wide by; where that is too much, what one more column needs."""
        floor = max(1, min(LABEL, width // (2 * max(1, self.labels))))
        spare = {i: max(0, least[i] - floor) for i in range(self.labels)}
        over = _total(least) - width
        if over > sum(spare.values()):
            over = _total([*least[: self.labels], max(least[self.labels :], default=0)]) - width
        for i in sorted(spare, key=spare.__getitem__, reverse=True):
            less = max(0, min(over, spare[i]))
            least[i], over = least[i] - less, over - less

    def _whole(self) -> list[int]:
        """Each column's width where nothing folds."""
        return self._widths([_longest(name.split("\n")) for name in self.columns])

    def _widths(self, headings: Sequence[int]) -> list[int]:
        """Each column's width, its cells whole and its heading as wide as given."""
        widths = [
            max([heading, *(cell_len(row[i].plain) for row, _ in self.rows)]) for i, heading in enumerate(headings)
        ]
        if self.even:
            widths[self.labels :] = [max(widths[self.labels :], default=0)] * (len(widths) - self.labels)
        return widths

    def _part(self, chosen: Sequence[int], widths: Sequence[int]) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for i, width in zip(chosen, widths, strict=True):
            left = i < self.labels if self.left is None else i in self.left
            table.add_column(Text(self.columns[i]), justify="left" if left else "right", overflow="fold", width=width)
        for cells, style in self.rows:
            table.add_row(*(cells[i] for i in chosen), style=style)
        return table


def _longest(words: Sequence[str]) -> int:
    return max((cell_len(word) for word in words), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(0, len(widths) - 1)

"""The errors this package raises on bad input."""


class SlicingError(ValueError):
    """Bad input to a sliced network: says the rule, the value received and the remedy."""


class RefusedValue(SlicingError):  # noqa: N818 - what it is, not that it is an error
    """A value in a column that a model can't take.

    Attributes:
        column: its name.
        row: its place among the rows given, from 0; None where the whole column is meant.
    """

    def __init__(self, column: str, said: str, rule: str, row: int | None = None, place: str | None = None) -> None:
        """The message: COLUMN SAID in PLACE; RULE.

        Args:
            column: its name.
            said: what the value is, such as ``is missing``.
            rule: what was wanted, and the remedy.
            row: its place among the rows given.
            place: the same in words; None says the row.
        """
        place = f"row {row}" if place is None and row is not None else place
        super().__init__(f"{column!r} {said}{f' in {place}' if place else ''}; {rule}")
        self.column, self.row, self._said, self._rule = column, row, said, rule

    def at_row(self, row: int) -> "RefusedValue":
        """The same of another row: that of a larger table, of which the rows given were some."""
        return RefusedValue(self.column, self._said, self._rule, row)

    def at(self, place: str) -> "RefusedValue":
        """The same with the place in words, such as ``query 7, candidate 3``."""
        return RefusedValue(self.column, self._said, self._rule, self.row, place)

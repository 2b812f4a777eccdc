"""Canonical column names of candidate tables, and the names accepted for them."""

import difflib
from collections.abc import Iterable, Sequence

from data.errors import DataError

ALIASES: dict[str, tuple[str, ...]] = {
    "qid": ("query_id", "q_id", "request_id"),
    "docid": ("docno", "doc_id", "item_id"),
    "label": ("relevance", "rel"),
}
"""Canonical column names and the names accepted for them."""

RESULTS = ("score", "rank", "stage", "target", "ideal")
"""Columns that say how a candidate came out; they are features only where they are asked for by name."""

RESERVED = frozenset((*ALIASES, *(alias for aliases in ALIASES.values() for alias in aliases), *RESULTS))
"""Columns that are no features unless they are asked for by name."""

LIST_FEATURES = "features"
"""The one list or array column that may hold all features; it becomes ``f0``, ``f1``, ..."""


def renames(columns: Sequence[str]) -> dict[str, str]:
    """The aliases among ``columns`` and their canonical names.

    Raises:
        DataError: two columns could be the same one.
    """
    found = {}
    for name, aliases in ALIASES.items():
        present = [alias for alias in aliases if alias in columns]
        if name in columns or not present:
            continue
        if len(present) > 1:
            raise DataError(f"both {present[0]!r} and {present[1]!r} could be {name!r}: rename one to {name!r}")
        found[present[0]] = name
    return found


def require(names: Iterable[str], columns: Sequence[str], where: object) -> None:
    """Refuse, with the nearest name, the first of ``names`` that is not in ``columns``.

    where: what lacks the column, for the message.
    """
    for name in names:
        if name in columns:
            continue
        known = (name, *ALIASES.get(name, ()))
        near = [match for each in known for match in difflib.get_close_matches(each, columns, n=1)]
        remedy = f"Did you mean {near[0]!r}?" if near else "Add it."
        shown = ", ".join(repr(column) for column in columns[:20]) + (", ..." if len(columns) > 20 else "")
        raise DataError(f"{where}: unable to find column {name!r}; valid columns: {shown}. {remedy}")

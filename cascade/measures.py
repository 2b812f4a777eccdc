"""Ranking measures by the names people write: `nDCG@10`, `RR`, `P(rel=2)@5`. Meaning only, no computation."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cascade.errors import CascadeError

Dcg = Literal["log2", "exp-log2"]

MEASURES: dict[str, tuple[str, ...]] = {
    "nDCG": (),
    "RR": ("MRR",),
    "AP": ("MAP",),
    "R": ("Recall",),
    "P": ("Precision",),
    "Success": ("HitRate", "HR", "Hit"),
}
"""Canonical names (those of ir_measures) and the names accepted for them; upper and lower case are the same."""

NEEDS_CUTOFF = ("R", "P", "Success")
"""The measures that mean nothing without a cutoff."""

_CANONICAL = {alias.lower(): name for name, aliases in MEASURES.items() for alias in (name, *aliases)}
_FORM = re.compile(r"\s*(?P<name>[A-Za-z]\w*)\s*(\((?P<options>[^()]*)\))?\s*(@\s*(?P<cutoff>[^@()]+?))?\s*")


@dataclass(frozen=True)
class Measure:
    """One measure of one query's ranking; everything is in [0, 1].

    With rel_i true where the item at rank i is relevant, N the relevant items of the query, found or not:

    - P@k = (relevant in the first k) / k, also where the ranking is shorter;
    - R@k = (relevant in the first k) / N;
    - Success@k = 1 if any of the first k is relevant, also called hit rate;
    - RR[@k] = 1 / rank of the first relevant item, 0 if there is none (in the first k);
    - AP[@k] = sum over the relevant items (in the first k) of P@(their rank), over N;
    - nDCG[@k] = DCG / DCG of the best ranking of all the judged items, DCG = sum of gain / log2(rank + 1).

    name: a key of `MEASURES`. cutoff: k, a whole number of at least 1, or None. rel: an item is relevant when its
    label is at least this, a finite number above 0; nDCG does not use it. dcg: of nDCG, the gain of label l > 0 is
    l (`log2`, as trec_eval's ndcg_cut) or 2^l - 1 (`exp-log2`, as in LETOR); lower labels gain nothing.

    `str` gives the canonical name, which is that of ir_measures.
    """

    name: str
    cutoff: int | None = None
    rel: float = 1
    dcg: Dcg = "log2"

    def __post_init__(self) -> None:
        if self.name not in MEASURES:
            raise CascadeError(_unknown(self.name))
        cutoff = self.cutoff
        if cutoff is not None and (not isinstance(cutoff, int) or isinstance(cutoff, bool) or cutoff < 1):
            raise CascadeError(f"the cutoff of {self.name} must be a whole number of at least 1, got {cutoff!r}")
        if cutoff is None and self.name in NEEDS_CUTOFF:
            raise CascadeError(f"{self.name} needs a cutoff, got none; write {self.name}@10")
        number = isinstance(self.rel, int | float) and not isinstance(self.rel, bool)
        if not number or not math.isfinite(self.rel) or self.rel <= 0:
            raise CascadeError(f"rel of {self.name} must be a finite number above 0, got {self.rel!r}")
        if self.dcg not in ("log2", "exp-log2"):
            raise CascadeError(f"dcg of {self.name} must be 'log2' or 'exp-log2', got {self.dcg!r}")
        if self.name == "nDCG" and self.rel != 1:
            raise CascadeError(f"nDCG takes gains from the labels and has no rel, got rel={self.rel:g}; leave it out")
        if self.name != "nDCG" and self.dcg != "log2":
            raise CascadeError(f"dcg is an option of nDCG, got it for {self.name}; leave it out")

    def __str__(self) -> str:
        options = "" if self.rel == 1 else f"(rel={self.rel:g})"
        if self.dcg != "log2":
            options = f"(dcg='{self.dcg}')"
        return f"{self.name}{options}" + ("" if self.cutoff is None else f"@{self.cutoff}")


def parse_measure(text: str | Measure, *, rel: float = 1) -> Measure:
    """The measure that a name stands for.

    >>> parse_measure("nDCG@10")
    Measure(name='nDCG', cutoff=10, rel=1, dcg='log2')
    >>> str(parse_measure("precision(rel=2)@5"))
    'P(rel=2)@5'
    >>> str(parse_measure("ndcg(dcg=exp-log2)@10"))
    "nDCG(dcg='exp-log2')@10"

    text: a name of `MEASURES` or an alias; options in parentheses; `@` and the cutoff. rel: the threshold of a
    measure that has one and names none.

    Raises CascadeError for an unknown name, with the list and the nearest one; for an unknown or ill-valued option.
    """
    if isinstance(text, Measure):
        return text
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    if form is None:
        raise CascadeError(f"a measure is written like nDCG@10, RR or P(rel=2)@5, got {text!r}")
    name = _CANONICAL.get(form["name"].lower())
    if name is None:
        raise CascadeError(_unknown(form["name"]))
    options = _options(form["options"] or "", text)
    threshold = _number(options["rel"], text) if "rel" in options else (1 if name == "nDCG" else rel)
    dcg = options.get("dcg", "log2").strip("'\"")
    return Measure(name, _cutoff(form["cutoff"], text), threshold, dcg)  # type: ignore[arg-type]  # checked there


def parse_measures(names: Sequence[str | Measure], *, rel: float = 1) -> tuple[Measure, ...]:
    """The measures that the names stand for, each once, in the order given; at least one name."""
    if isinstance(names, str | Measure):
        names = [names]
    measures = tuple(dict.fromkeys(parse_measure(name, rel=rel) for name in names))
    if not measures:
        raise CascadeError("at least one measure is needed, got none; name one such as nDCG@10")
    return measures


def _options(text: str, whole: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or key not in ("rel", "dcg") or key in options:
            raise CascadeError(
                f"the options of a measure are rel=... and dcg=..., once each, got {part!r} in {whole!r}"
            )
        options[key] = value
    return options


def _number(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise CascadeError(f"rel must be a number, got {text!r} in {whole!r}") from None
    return int(value) if value.is_integer() else value


def _cutoff(text: str | None, whole: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise CascadeError(f"a cutoff must be a whole number of at least 1, got {text!r} in {whole!r}")
    return int(text)


def _unknown(name: str) -> str:
    names = [known for canonical, aliases in MEASURES.items() for known in (canonical, *aliases)]
    near = difflib.get_close_matches(name.lower(), [known.lower() for known in names], n=1, cutoff=0.0)
    nearest = next(known for known in names if known.lower() == near[0])
    return f"unknown measure {name!r}; measures: {', '.join(names)}. Did you mean {nearest!r}?"

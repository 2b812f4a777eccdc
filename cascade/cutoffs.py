"""Which cutoffs can matter: for each kind of keep rule the full set of different ones, and a thinned set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.keep import KeepRule, ScoreAtLeast, TopK, TopShare
from cascade.quality import Quality
from cascade.scored import Scored

Kind = Literal["top_k", "share", "score"]
KINDS: tuple[Kind, ...] = ("top_k", "share", "score")


def all_cutoffs(kind: Kind, scored: Scored, quality: Quality, stage: int, final_k: int | None) -> list[KeepRule]:
    """Every cutoff of a kind that could be the best one, from the most generous to the tightest.

    top_k: every k from `final_k` to one below the longest query; a larger one filters nothing.
    share: every m / n for a query of n candidates; between two of them no query's count changes.
    score: every score of a candidate of positive weight. Between two of these, raising the threshold to the
    upper one drops only worthless candidates, which costs no more and leaves the rest fewer competitors; so
    no other threshold does better, but for the useless ones above them all.
    """
    values = _values(kind, scored, quality, stage, final_k)
    return [_rule(kind, value) for value in values[::-1].tolist()]


def thinned(rules: Sequence[KeepRule], count: int) -> list[KeepRule]:
    """At most `count` (>= 1) of the rules, from the first to the last: spaced by ratio for k and share,
    by rank for thresholds."""
    if len(rules) <= count:
        return list(rules)
    if isinstance(rules[0], ScoreAtLeast):
        at = np.round(np.linspace(0, len(rules) - 1, count)).astype(np.int64)
    else:
        values = np.array([rule.k if isinstance(rule, TopK) else getattr(rule, "share", 0.0) for rule in rules])
        wanted = np.geomspace(values[0], values[-1], count)
        at = np.searchsorted(-values, -wanted).clip(0, len(rules) - 1)
        at = _spread(at, len(rules))
    return [rules[i] for i in np.unique(at).tolist()]


def kinds_of(kinds: Kind | Sequence[Kind], stages: int) -> tuple[Kind, ...]:
    """One kind per stage but the last, from one for all or one each."""
    each: tuple[Kind, ...] = (kinds,) * (stages - 1) if isinstance(kinds, str) else tuple(kinds)
    unknown = [kind for kind in each if kind not in KINDS]
    if unknown:
        raise CascadeError(f"a kind of cutoff must be one of {', '.join(KINDS)}, got {unknown[0]!r}; change it")
    if len(each) != stages - 1:
        raise CascadeError(
            f"kinds must be one for all, or one for each of the {stages - 1} stages before the last, got {len(each)}"
        )
    return each


def _values(
    kind: Kind, scored: Scored, quality: Quality, stage: int, final_k: int | None
) -> NDArray[np.int64] | NDArray[np.float64]:
    if kind == "top_k":
        return np.arange(final_k or 1, int(scored.sizes.max()))
    if kind == "score":
        return np.unique(scored.scores[stage][quality.weights > 0] + 0.0)  # + 0.0: -0.0 is 0.0
    shares = [np.arange(1, n) / n for n in np.unique(scored.sizes).tolist()]
    return np.unique(np.concatenate(shares))


def _rule(kind: Kind, value: float) -> KeepRule:
    if kind == "top_k":
        return TopK(int(value))
    return TopShare(value) if kind == "share" else ScoreAtLeast(value)


def _spread(at: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Rising positions without repeats, each as near as may be to where it was, in [0, count)."""
    steps = np.arange(len(at))
    rising = np.maximum.accumulate(at - steps) + steps
    over = count - len(at) + steps
    return np.minimum(rising, over)

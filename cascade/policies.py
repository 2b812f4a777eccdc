"""Which stage a batch is scored with when it must be done in time (Cai et al. 2019, section 4.1)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from cascade.errors import CascadeError
from cascade.latency import FRESH, LatencyTable, check_headroom

Scores = TypeVar("Scores")
_ROUNDING = 1e-6  # share of the time left that the clock's rounding may take from two steps that just fit


class Policy(ABC):
    """What to do with a batch of n candidates and `left` seconds.

    Stages count from 0, the narrowest. A policy holds no state of a batch: it may serve several threads.
    """

    def admit(self, sizes: Sequence[int], left: float) -> Sequence[int]:
        """How many of each request's candidates are scored at all, the first ones; the others are dropped.

        Args:
            sizes: candidates of each request of the batch, in the order in which they came; each at least 1.
            left: seconds.

        Returns:
            A number for each request, from 0, which sheds it, to its size.
        """
        return sizes

    @abstractmethod
    def first(self, n: int, left: float) -> int:
        """The stage to score with."""

    def widen(self, n: int, scored: Sequence[int], spent: float, left: float) -> int | None:
        """A later stage to go on to; None to answer with what is there.

        Args:
            n: candidates.
            scored: the batch's stages so far, rising, one at least.
            spent: seconds on them.
            left: seconds.
        """
        return None


class Always(Policy):
    """One stage, whatever the load: full network always, or narrowest always."""

    def __init__(self, stage: int) -> None:
        self.stage = stage

    def first(self, n: int, left: float) -> int:
        """The one stage."""
        return self.stage


class DropExcess(Policy):
    """One stage, for as many candidates as it scores in time; of every request the same share is dropped.

    The paper's degradation without slicing: "the size of the candidate items for ranking is decreased" (section 2.1).
    """

    def __init__(self, table: LatencyTable, stage: int) -> None:
        self.table, self.stage = table, stage

    def admit(self, sizes: Sequence[int], left: float) -> Sequence[int]:
        """As many of all as the table promises in the time left, the same share of each request."""
        return trimmed(sizes, self.table.most(self.stage, left, sum(sizes)))

    def first(self, n: int, left: float) -> int:
        """The one stage."""
        return self.stage


class PaperRule(Policy):
    """The paper's rule: the widest rate r with n r^2 t <= T/2, where `left` is T/2 for a batch begun on time.

    Where not even the narrowest rate keeps the rule, the narrowest is used.

    Args:
        rates: the stages' slice rates, rising, in (0, 1].
        seconds_per_candidate: t, of the full network.
    """

    def __init__(self, rates: Sequence[float], seconds_per_candidate: float) -> None:
        rising = rates and all(a < b for a, b in pairwise(rates))
        if not rising or not 0 < rates[0] <= rates[-1] <= 1:
            raise CascadeError(f"the paper's rule needs slice rates that rise within (0, 1], got {list(rates)}")
        if not (math.isfinite(seconds_per_candidate) and seconds_per_candidate > 0):
            raise CascadeError(
                f"the full network's time must be above 0 seconds, got {seconds_per_candidate}; measure it"
            )
        self.rates, self.seconds_per_candidate = tuple(rates), seconds_per_candidate

    def first(self, n: int, left: float) -> int:
        """The widest stage that keeps the rule."""
        keeping = [k for k, rate in enumerate(self.rates) if n * rate**2 * self.seconds_per_candidate <= left]
        return max(keeping, default=0)


class LatencyRule(Policy):
    """The paper's rule with measured times instead of r^2 t; the narrowest stage where none is quick enough.

    With a scorer of two separate models it is the usual degradation: the small one on overload.
    """

    def __init__(self, table: LatencyTable) -> None:
        self.table = table

    def first(self, n: int, left: float) -> int:
        """The widest stage that the table promises in the time left."""
        return self.table.widest(n, left) or 0


class Anytime(Policy):
    """The widest stage that the time allows, from as narrow a start as costs nothing; then widened while time is left.

    The clock is looked at after the start, and the narrower that is, the earlier a slow spell is noticed: a batch that
    ran slower than the table says is taken to go on as slowly. But to score a narrow stage first and to widen takes
    longer than the wide stage at once, so the start is the narrowest from which the table still reaches the widest
    stage in reach. Where the table tells the truth, a batch ends in time wherever any stage can, and without headroom
    never with a narrower stage than :class:`LatencyRule` would score it with.

    Made for scorers that reuse what a narrower stage computed.

    Args:
        table: of the scorer, as measured.
        headroom: share by which the start may take longer than measured, at least 0: of a batch's pace nothing is known
            then.
        later: the same of every widening, which is planned by the pace that the batch has shown.

    Raises:
        CascadeError: for a share out of range.
    """

    def __init__(self, table: LatencyTable, headroom: float = 0.0, later: float = 0.0) -> None:
        check_headroom(later)
        self.table, self.later = table, later
        self._careful = table.with_headroom(headroom)

    def first(self, n: int, left: float) -> int:
        """The narrowest start on the way to the widest stage in reach, at once or in two steps."""
        table = self._careful
        for target in range(table.stages - 1, 0, -1):
            for start in range(target):
                if table.seconds(start, n) + table.seconds(target, n, start) <= left * (1 - _ROUNDING):
                    return start
            if table.seconds(target, n) <= left:
                return target
        return 0

    def widen(self, n: int, scored: Sequence[int], spent: float, left: float) -> int | None:
        """The widest stage whose increment fits at the pace so far."""
        expected = sum(self.table.seconds(stage, n, start) for start, stage in pairwise((FRESH, *scored)))
        slowdown = max(1.0, spent / expected) * (1 + self.later)
        return self.table.widest(n, left / slowdown, start=scored[-1])


def trimmed(sizes: Sequence[int], capacity: int) -> Sequence[int]:
    """Sizes cut down by the same share, so that they add up to `capacity`; as they are where they don't exceed it.

    Shares are rounded down, and what that leaves goes to those that came first, one each.
    """
    total = sum(sizes)
    if total <= capacity:
        return sizes
    shares = [size * capacity // total for size in sizes]
    for k in range(capacity - sum(shares)):  # fewer than there are requests: rounding took less than one of each
        shares[k] += 1
    return shares


def admitted(policy: Policy, sizes: Sequence[int], left: float) -> Sequence[int]:
    """What the policy admits of a batch (see `Policy.admit`), checked.

    Raises:
        CascadeError: for another number of requests, or a number of candidates that the request doesn't have.
    """
    admits = policy.admit(sizes, left)
    if len(admits) != len(sizes):
        raise CascadeError(
            f"a policy must admit a number of candidates for each of {len(sizes)} requests, got {len(admits)} numbers; "
            f"mend its admit"
        )
    for admit, size in zip(admits, sizes, strict=True):
        if not 0 <= admit <= size:
            raise CascadeError(f"a policy must admit 0 to {size} of {size} candidates, got {admit}; mend its admit")
    return admits


def score_in_time(
    policy: Policy, n: int, score: Callable[[int], Scores], *, now: Callable[[], float], begun: float, until: float
) -> tuple[Scores, int]:
    """Score a batch of n candidates as the policy says.

    Args:
        policy: chooses.
        n: at least 1.
        score: scores the whole batch with a stage, asked for in rising order.
        now: seconds, as `begun` and `until`: when the batch was begun and shall be done.

    Returns:
        The last scores, and their stage.
    """
    scored = [policy.first(n, until - begun)]
    while True:
        scores, time = score(scored[-1]), now()
        wider = policy.widen(n, scored, time - begun, until - time)
        if wider is None:
            return scores, scored[-1]
        scored.append(wider)

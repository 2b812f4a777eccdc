"""What the engine asks of a scorer: stages of rising cost, and sessions that hold the candidates still in.

The engine knows nothing of networks or trees. It starts a session for a batch of candidates, asks for the
scores of a stage, tells the session which candidates survive, and asks for the next stage. What a session
caches between stages (activations, partial sums of trees) is its own business, and so is compacting it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.errors import CascadeError
from cascade.rows import Rows

Mode = Literal["fresh", "reuse", "recompute"]
"""How a stage came by its scores: `fresh` the session held nothing to build on, `reuse` it widened what an
earlier stage had computed, `recompute` it could have done so, but starting over cost less."""

MODES: tuple[Mode, ...] = ("fresh", "reuse", "recompute")


@dataclass(frozen=True)
class StageInfo:
    """What is known of a stage before it runs.

    rate: slice rate in (0, 1], or None when the stage is not a slice of a network.
    params: parameters of this stage's model alone.
    flops: per candidate, of this stage's model alone, from scratch; one multiply-add = 1.
    features: what a candidate's features cost that this stage's model reads, all of them, in a unit of the user's
    choice. A cascade fetches each once: a stage is charged with what no earlier stage has read (`cascade.cost`).
    """

    rate: float | None
    params: int
    flops: float
    features: float = 0.0

    def __post_init__(self) -> None:
        if self.rate is not None and not 0 < self.rate <= 1:
            raise CascadeError(f"rate must be in (0, 1] or None, got {self.rate!r}")
        if isinstance(self.params, bool) or self.params != int(self.params) or self.params < 0:
            raise CascadeError(f"params must be a whole number of at least 0, got {self.params!r}")
        if not (np.isfinite(self.flops) and self.flops >= 0):
            raise CascadeError(f"flops must be a finite number of at least 0, got {self.flops!r}")
        if not (np.isfinite(self.features) and self.features >= 0):
            raise CascadeError(f"features must be a finite cost of at least 0, got {self.features!r}")


@dataclass(frozen=True)
class StageScores:
    """What one call of `Session.score` returns.

    values: (n,) one score per candidate, or (n, classes) one per class; higher is better, all finite.
    flops: per candidate, really spent by this call (so the increment alone where a cache was widened).
    mode: how the scores came about, see `Mode`.
    """

    values: NDArray[Any]
    flops: float
    mode: Mode


class Session(Protocol):
    """The candidates of one batch on their way through the stages."""

    def score(self, stage: int) -> StageScores:
        """Score the candidates still in, in their current order, with stage `stage` (0-based).

        Stages are asked for in rising order, each at most once; a session may be asked to start at any stage
        and to leave some out.
        """
        ...

    def keep(self, survivors: NDArray[np.int64]) -> None:
        """Go on with the candidates at positions `survivors` (increasing, maybe none) of the current ones."""
        ...


class Scorer(Protocol):
    """A scorer of S stages. Any object with these three members is one; `cascade.testing` tests it."""

    @property
    def stages(self) -> Sequence[StageInfo]:
        """The stages, first to last."""
        ...

    @property
    def params_held(self) -> int:
        """Parameters that must be in memory to run every stage; what stages share counts once."""
        ...

    def start(self, candidates: pl.DataFrame) -> Session:
        """Begin with these candidates: a frame with `qid`, `docid` and whatever columns the scorer reads."""
        ...


class OrderFreeScorer(Scorer, Protocol):
    """A scorer that says whether the order of candidates can change any score."""

    @property
    def order_free(self) -> bool:
        """Whether a candidate gets the same score, to the last bit, whatever candidates stand beside it, and where.

        The engine then leaves candidates in the order of the rows. (A matrix product is not: the sum of a row's
        products is rounded differently from place to place.)
        """
        ...


def is_order_free(scorer: Scorer) -> bool:
    """Whether it says so; a scorer that says nothing gets a query's candidates in the order of their docids."""
    return bool(getattr(scorer, "order_free", False))


class RowScorer(Scorer, Protocol):
    """A scorer that says what it reads, and of whom, so that nothing else is gathered: less to do for a wide table."""

    def start_rows(self, rows: Rows) -> Session:
        """As `start`, with n candidates whose columns are gathered by `rows.read`."""
        ...


def begin(scorer: Scorer, rows: Rows) -> Session:
    """A session over a batch, which a `RowScorer` reads for itself; any other gets all columns of all candidates."""
    start_rows: Callable[[Rows], Session] | None = getattr(scorer, "start_rows", None)
    return scorer.start(rows.frame) if start_rows is None else start_rows(rows)

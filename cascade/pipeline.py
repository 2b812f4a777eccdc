"""The cascade: a scorer, a keep rule per stage, and the run of a candidate table through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.batch import Outcome, Tally, run_batch
from cascade.errors import CascadeError
from cascade.frames import Candidates, prepare
from cascade.ids import best_first
from cascade.keep import KeepRule, PointwiseRule, PredictedClass, RankedRule, check_cutoffs
from cascade.order import places, starts_of
from cascade.per_query import check_columns
from cascade.rows import Rows, docids_of
from cascade.scorer import Mode, Scorer, StageInfo, is_order_free

DEFAULT_BATCH = 65_536
"""Candidates handed to a scorer at once, unless the caller knows better."""


class Progress(Protocol):
    """Called after each batch with the candidates done so far, and how many there are."""

    def __call__(self, done: int, total: int) -> None:
        """Report."""
        ...


@dataclass(frozen=True)
class StageRun:
    """The account of one stage.

    flops: per candidate that it scored, really spent; None when none got here. seconds: in the scorer,
    scoring and compacting. mode: how most candidates' scores came about; None when none got here.
    """

    info: StageInfo
    rule: KeepRule
    candidates_in: int
    candidates_out: int
    flops: float | None
    seconds: float
    mode: Mode | None


@dataclass(frozen=True)
class CascadeResult:
    """What a run gives.

    frame: sorted by qid, then rank. Columns qid, docid; rank (1-based within the query); score (that of its
    last stage); stage (the last that scored it, 0-based); score_0 .. score_{S-1} (null where not reached);
    kept (survived the last stage's rule); and label and target, where the candidates had them. stages: one
    account per stage. seconds: the whole run. params_held: of the scorer.
    """

    frame: pl.DataFrame
    stages: tuple[StageRun, ...]
    seconds: float
    params_held: int


class Cascade:
    """Filters candidates stage by stage.

    scorer: S stages. rules: S keep rules; the last one decides what is finally kept.

    Survivors rank above what was dropped, and what was dropped keeps the order and the score of its last
    stage. Ties break by docid, ascending. Neither the order of the rows nor how queries are spread over
    them matters.

    Raises CascadeError when the rules don't fit the scorer, or a cutoff grows from stage to stage.
    """

    def __init__(self, scorer: Scorer, rules: Sequence[KeepRule]) -> None:
        if not len(scorer.stages):
            raise CascadeError("a scorer needs at least one stage, got none")
        for rule in rules:
            if not isinstance(rule, PointwiseRule | RankedRule):
                raise CascadeError(f"rules must be keep rules such as TopK(10), got {rule!r}")
        if len(rules) != len(scorer.stages):
            raise CascadeError(
                f"a cascade needs one rule per stage, got {len(rules)} rules for {len(scorer.stages)} "
                f"stages; KeepAll() filters nothing"
            )
        check_cutoffs(rules)
        self.scorer = scorer
        self.rules = tuple(rules)

    @property
    def pointwise(self) -> bool:
        """Whether every item's fate depends on its own scores alone, so that queries may be cut anywhere."""
        return all(rule.pointwise for rule in self.rules)

    def validate(self, frame: pl.DataFrame) -> None:
        """Check a candidate table against the column contract and the rules, without scoring anything."""
        self._prepare(frame)

    def run(
        self,
        frame: pl.DataFrame,
        *,
        batch: int = DEFAULT_BATCH,
        only_kept: bool = False,
        progress: Progress | None = None,
    ) -> CascadeResult:
        """Run the candidates through every stage.

        frame: see `cascade.frames.prepare`. batch: how many candidates the scorer gets at once, at least 1; a
        batch holds whole queries, and at least one, unless the cascade is pointwise. only_kept: leave what a stage
        dropped out of the result's frame, as for serving, which takes less time and memory; the accounts stay the same.
        """
        began = perf_counter()
        candidates = self._prepare(frame)
        tallies = [Tally() for _ in self.rules]
        outcomes: list[Outcome] = []
        for low, high, sizes in _batches(candidates, batch, whole=not self.pointwise):
            rows = candidates.batch(low, high)
            outcome = run_batch(
                self.scorer, self.rules, rows, sizes, tallies, canonical=candidates.canonical, only_kept=only_kept
            )
            outcomes.append(outcome if outcome.at is None else replace(outcome, at=outcome.at + low))
            if progress is not None:
                progress(high, len(candidates))
        table = _table(candidates, _joined(outcomes, len(self.rules)))
        stages = tuple(
            StageRun(info, rule, t.candidates_in, t.candidates_out, t.flops_each, t.seconds, t.mode)
            for info, rule, t in zip(self.scorer.stages, self.rules, tallies, strict=True)
        )
        return CascadeResult(table, stages, perf_counter() - began, self.scorer.params_held)

    def _prepare(self, frame: pl.DataFrame) -> Candidates:
        target = any(isinstance(rule, PredictedClass) for rule in self.rules)
        candidates = prepare(frame, target=target, any_order=is_order_free(self.scorer))
        check_columns(self.rules, candidates.frame)
        return candidates


def check_batch(batch: int) -> None:
    """Refuse a batch size that is not a whole number of at least 1."""
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise CascadeError(f"batch must be a whole number of at least 1, got {batch!r}")


def _batches(candidates: Candidates, batch: int, *, whole: bool) -> Iterator[tuple[int, int, NDArray[np.int64] | None]]:
    """(low, high, sizes of the queries) of each batch; sizes are None where queries may be cut."""
    check_batch(batch)
    n = len(candidates)
    if not whole:
        for low in range(0, n, batch):
            yield low, min(low + batch, n), None
        return
    starts = candidates.starts
    first = 0
    while first < len(candidates.sizes):
        after = int(np.searchsorted(starts, starts[first] + batch, side="right")) - 1
        after = max(after, first + 1)
        yield int(starts[first]), int(starts[after]), candidates.sizes[first:after]
        first = after


def _joined(outcomes: Sequence[Outcome], stages: int) -> Outcome:
    if not outcomes:
        return Outcome(np.empty((stages, 0)), np.empty(0, np.int32), np.empty(0, bool), None)
    ranks = [o.rank for o in outcomes if o.rank is not None]
    at = [o.at for o in outcomes if o.at is not None]
    return Outcome(
        np.concatenate([o.scores for o in outcomes], axis=1),
        np.concatenate([o.stage for o in outcomes]),
        np.concatenate([o.kept for o in outcomes]),
        np.concatenate(ranks) if ranks else None,
        np.concatenate(at) if at else None,
    )


def _table(candidates: Candidates, outcome: Outcome) -> pl.DataFrame:
    """The result frame, sorted by qid, then rank; those of the outcome are the best of their queries, or everybody."""
    n, stages = len(outcome.stage), len(outcome.scores)
    last = np.take_along_axis(outcome.scores, outcome.stage[None, :].astype(np.int64), axis=0)[0]
    if outcome.at is None:
        query = np.repeat(candidates.places, candidates.sizes)
    else:
        query = candidates.places[np.searchsorted(candidates.starts, outcome.at, side="right") - 1]
    sizes = np.bincount(query)
    if outcome.rank is None:
        tier = stages - outcome.stage - outcome.kept  # 0 for what was kept, then the later the stage the better
        docids = None if candidates.canonical else docids_of(Rows(candidates.frame, candidates.order), outcome.at)
        row = best_first(query * (stages + 1) + tier, last, docids)
    else:
        row = np.empty(n, dtype=np.int64)
        row[starts_of(sizes)[query] + outcome.rank - 1] = np.arange(n)
    keys = candidates.columns(("qid", "docid", "label", "target"), row if outcome.at is None else outcome.at[row])
    columns = {
        "rank": (places(sizes) + 1).astype(np.int32),
        "score": last[row],
        "stage": outcome.stage[row],
    }
    scores = [pl.Series(f"score_{s}", outcome.scores[s][row], nan_to_null=True) for s in range(stages)]
    return keys.select(
        "qid",
        "docid",
        *(pl.Series(name, values) for name, values in columns.items()),
        *scores,
        pl.Series("kept", outcome.kept[row]),
        *(name for name in ("label", "target") if name in keys.columns),
    )

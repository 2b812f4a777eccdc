"""One batch of candidates on its way through the stages: score, filter, compact, go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.checks import NotFiniteError, Scored, checked
from cascade.errors import CascadeError
from cascade.filtering import Arrived, only_filter, rank_and_filter
from cascade.keep import KeepRule, PointwiseRule
from cascade.per_query import per_query
from cascade.rows import Rows, docids_of
from cascade.scorer import Mode, Scorer, Session, begin


@dataclass
class Tally:
    """What one stage did, summed over batches."""

    candidates_in: int = 0
    candidates_out: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    modes: Counter[Mode] = field(default_factory=Counter)

    @property
    def flops_each(self) -> float | None:
        """FLOPs really spent per candidate scored; None when no candidate got here."""
        return self.flops / self.candidates_in if self.candidates_in else None

    @property
    def mode(self) -> Mode | None:
        """The mode in which most candidates were scored; None when no candidate got here."""
        return self.modes.most_common(1)[0][0] if self.modes else None


@dataclass(frozen=True)
class Outcome:
    """What became of n candidates.

    scores: (S, n), NaN where not reached. stage: (n,) the last stage that scored it. kept: (n,) survived
    the last stage's rule. rank: (n,) 1-based within its query, or None when the batch was filtered without
    ranking. at: (n,) where in the batch they stand; None when they are the whole batch.
    """

    scores: NDArray[np.float64]
    stage: NDArray[np.int32]
    kept: NDArray[np.bool_]
    rank: NDArray[np.int32] | None
    at: NDArray[np.int64] | None = None


def run_batch(
    scorer: Scorer,
    rules: Sequence[KeepRule],
    rows: Rows,
    sizes: NDArray[np.int64] | None,
    tallies: Sequence[Tally],
    *,
    canonical: bool = True,
    only_kept: bool = False,
) -> Outcome:
    """Take a batch of n candidates, query by query, through every stage.

    sizes: (q,) candidates of each query, which then must all be whole; None to filter without ranking, which
    only pointwise rules allow. tallies: one per stage, added to. canonical: whether the candidates of a query stand in
    the order of their docids. only_kept: the outcome is of what the last stage kept, unranked: nothing then needs to be
    sorted.
    """
    ranked = sizes is not None and not only_kept
    query = None if sizes is None else np.repeat(np.arange(len(sizes)), sizes)
    reached: list[_Reached] = []
    active: NDArray[np.int64] | None = None  # positions in the batch still in; None while that is all of them
    target = target_of(rows)
    columns = None if sizes is None else per_query(rules, rows, sizes)
    clock = perf_counter()
    session = begin(scorer, rows)
    for stage, rule in enumerate(rules):
        scored = score_stage(session, stage, rows, active, target)
        tally(tallies[stage], scored, perf_counter() - clock)
        place = None
        if sizes is None:
            assert isinstance(rule, PointwiseRule)
            stays = rule.kept(scored.scores, scored.hits)
        else:
            assert query is not None
            here = query if active is None else query[active]
            docids = None if canonical else docids_of(rows, active)
            came = Arrived(scored.scores, scored.hits, here, sizes, columns, docids)
            if ranked:
                stays, place = rank_and_filter(rule, came)
            else:
                stays = only_filter(rule, came)
        survivors = np.flatnonzero(stays)
        reached.append(_Reached(active, scored.scores, place, survivors))
        tallies[stage].candidates_out += len(survivors)
        if stage < len(rules) - 1 and 0 < len(survivors) < len(stays):
            clock = perf_counter()
            session.keep(survivors)
            tallies[stage].seconds += perf_counter() - clock
        if len(survivors) < len(stays):
            active = survivors if active is None else active[survivors]
        if not len(survivors):
            break
        clock = perf_counter()
    kept = np.arange(len(rows)) if active is None else active
    return _of_kept(reached, kept, len(rules)) if only_kept else _of_all(reached, kept, len(rules), len(rows))


@dataclass(frozen=True)
class _Reached:
    """A stage's m candidates: their positions in the batch, None for all of it; scores; 0-based places, if any.

    survivors: which of them stay, as positions in [0, m).
    """

    positions: NDArray[np.int64] | None
    scores: NDArray[np.float64]
    place: NDArray[np.int64] | None
    survivors: NDArray[np.int64]


def _of_all(reached: Sequence[_Reached], kept: NDArray[np.int64], stages: int, n: int) -> Outcome:
    scores = np.full((stages, n), np.nan)
    stage_of = np.zeros(n, dtype=np.int32)
    rank = np.zeros(n, dtype=np.int32)
    for stage, some in enumerate(reached):
        here = slice(None) if some.positions is None else some.positions
        scores[stage, here] = some.scores
        stage_of[here] = stage
        if some.place is not None:
            rank[here] = some.place + 1
    is_kept = np.zeros(n, dtype=bool)
    is_kept[kept] = True
    return Outcome(scores, stage_of, is_kept, rank if n and reached[0].place is not None else None)


def _of_kept(reached: Sequence[_Reached], kept: NDArray[np.int64], stages: int) -> Outcome:
    scores = np.empty((stages, len(kept)))
    at = np.arange(len(kept))
    for stage, some in reversed(list(enumerate(reached))):
        at = some.survivors[at]
        scores[stage] = some.scores[at]
    return Outcome(scores, np.full(len(kept), stages - 1, np.int32), np.ones(len(kept), bool), None, kept)


def target_of(rows: Rows) -> NDArray[np.int64] | None:
    """The `target` column, or None without one."""
    return rows.read(["target"])["target"].cast(pl.Int64).to_numpy() if "target" in rows.columns else None


def score_stage(
    session: Session,
    stage: int,
    rows: Rows,
    active: NDArray[np.int64] | None,
    target: NDArray[np.int64] | None,
) -> Scored:
    """Ask for a stage's scores and check them; errors name the stage, and the candidate if there is one."""
    n = len(rows if active is None else active)
    try:
        result = session.score(stage)
    except Exception as error:
        error.add_note(f"raised by the scorer at stage {stage}, scoring {n} candidates")
        raise
    try:
        return checked(result, stage, n, target if target is None or active is None else target[active])
    except NotFiniteError as error:
        at = error.position if active is None else active[error.position]
        qid, docid = rows.read(["qid", "docid"], np.array([at])).row(0)
        raise CascadeError(
            f"stage {stage}: scores must be finite, got {error.value} for query {qid!r}, "
            f"candidate {docid!r}; mend its features or the model"
        ) from None


def tally(total: Tally, scored: Scored, seconds: float) -> None:
    """Add one call of a session to its stage's account."""
    n = len(scored.scores)
    total.candidates_in += n
    total.flops += scored.flops * n
    total.seconds += seconds
    total.modes[scored.mode] += n

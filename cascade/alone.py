"""Every stage on its own: what it scores and would keep if all the candidates reached it.

A cascade's result says what happened; these say what each stage would have done, which precision, recall and
inclusion need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade.batch import score_stage, target_of
from cascade.errors import CascadeError
from cascade.filtering import Arrived, only_filter
from cascade.frames import prepare
from cascade.keep import KeepRule
from cascade.pipeline import DEFAULT_BATCH, Progress, check_batch
from cascade.scorer import Scorer, StageInfo, begin


@dataclass(frozen=True)
class Alone:
    """What each stage's own rule keeps of all the candidates.

    frame: columns qid, docid, in that order. kept: (n, S). stages: of the scorer.
    """

    frame: pl.DataFrame
    kept: NDArray[np.bool_]
    stages: tuple[StageInfo, ...]


@dataclass(frozen=True)
class AllScores:
    """Every stage's scores for all the candidates.

    frame: sorted by qid, then docid. Columns qid, docid; score_0 .. score_{S-1}; hit_k for each stage k
    with scores per class (whether the predicted class is the target); label and target, where the
    candidates had them.
    """

    frame: pl.DataFrame
    stages: tuple[StageInfo, ...]

    def alone(self, rules: Sequence[KeepRule]) -> Alone:
        """Apply each stage's own rule to all the candidates, as if no earlier stage had filtered."""
        if len(rules) != len(self.stages):
            raise CascadeError(f"one rule per stage, got {len(rules)} rules for {len(self.stages)} stages")
        query = self.frame["qid"].rle_id().cast(pl.Int64).to_numpy()
        sizes = np.bincount(query)
        kept = np.empty((len(query), len(rules)), dtype=bool)
        for stage, rule in enumerate(rules):
            scores = self.frame[f"score_{stage}"].to_numpy()
            hit = f"hit_{stage}"
            hits = self.frame[hit].to_numpy() if hit in self.frame.columns else None
            kept[:, stage] = only_filter(rule, Arrived(scores, hits, query, sizes))
        return Alone(self.frame.select("qid", "docid"), kept, self.stages)


def score_all(
    scorer: Scorer,
    frame: pl.DataFrame,
    *,
    from_scratch: bool = False,
    batch: int = DEFAULT_BATCH,
    progress: Progress | None = None,
) -> AllScores:
    """Score all the candidates with every stage, dropping nobody.

    from_scratch: start a session per stage, so that no stage builds on an earlier one. The scores differ
    from the cascade's only where a scorer's reuse is approximate; there it says how good the models are,
    while the default says how good the cascade's stages are.
    """
    check_batch(batch)
    candidates = prepare(frame)
    count, n = len(scorer.stages), len(candidates)
    scores = np.empty((count, n))
    hits: list[NDArray[np.bool_] | None] = [None] * count
    for low in range(0, n, batch):
        rows = candidates.batch(low, low + batch)
        target = target_of(rows)
        session = begin(scorer, rows)
        for stage in range(count):
            if from_scratch and stage:
                session = begin(scorer, rows)
            scored = score_stage(session, stage, rows, None, target)
            scores[stage, low : low + batch] = scored.scores
            if scored.hits is not None:
                held = hits[stage] if hits[stage] is not None else np.zeros(n, dtype=bool)
                assert held is not None
                held[low : low + batch] = scored.hits
                hits[stage] = held
        if progress is not None:
            progress(min(low + batch, n), n)
    names = [name for name in ("label", "target") if name in candidates.frame.columns]
    kept = candidates.columns(["qid", "docid", *names], np.arange(n))
    table = kept.select(
        "qid",
        "docid",
        *(pl.Series(f"score_{stage}", scores[stage]) for stage in range(count)),
        *(pl.Series(f"hit_{stage}", hit) for stage, hit in enumerate(hits) if hit is not None),
        *names,
    )
    return AllScores(table, tuple(scorer.stages))

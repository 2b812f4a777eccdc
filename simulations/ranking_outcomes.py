"""What the systems of the ranking simulation did: folds and seeds as one run, measured and compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from cascade import (
    AllScores,
    CascadeResult,
    Evaluation,
    StageRanks,
    compare_systems,
    evaluate,
    recall_by_query,
    relevant_pairs,
    survived,
    system_report,
)
from simulations.ranking_folds import joined_results, joined_scores, mean_by_seed, mean_over_seeds, of_run
from simulations.ranking_systems import Trained
from simulations.stage_figures import ranking_figures

NDCG = "nDCG(dcg='exp-log2')@10"
MEASURES = (NDCG, "RR", "AP")
JOINT = "joint recall"


@dataclass(frozen=True)
class FoldRun:
    """What one system, trained with one seed, did on one fold's test queries, whose ids say both."""

    seed: int
    trained: Trained
    result: CascadeResult
    scores: AllScores

    @classmethod
    def of(cls, seed: int, fold: int, trained: Trained, result: CascadeResult, scores: AllScores) -> "FoldRun":
        """With query ids ``seed/fold/qid``."""
        place = f"{seed}/{fold}"
        renamed = replace(scores, frame=of_run(scores.frame, place))
        return cls(seed, trained, replace(result, frame=of_run(result.frame, place)), renamed)


@dataclass(frozen=True)
class Outcome:
    """What one system did in several runs, as one."""

    name: str
    trained: Trained
    result: CascadeResult
    scores: AllScores
    measured: Evaluation
    joint: pl.DataFrame

    @classmethod
    def of(cls, name: str, runs: Sequence[FoldRun]) -> "Outcome":
        """Of runs that share no query id."""
        result = joined_results([run.result for run in runs])
        scores = joined_scores([run.scores for run in runs])
        relevant = relevant_pairs(scores.frame)
        measured = evaluate(result.frame, None, MEASURES, without_relevant="skip")
        joint = recall_by_query(result.frame, survived(result, len(result.stages) - 1), relevant)
        joint = joint.select("qid", pl.col("recall").alias(JOINT))
        return cls(name, runs[0].trained, result, scores, measured, joint)

    @property
    def per_query(self) -> pl.DataFrame:
        """The measures and the joint recall of every query."""
        return self.measured.per_query.join(self.joint, on="qid", how="left")

    def report(self) -> dict[str, Any]:
        """The fields of a system's entry that every simulation has."""
        alone = self.scores.alone(self.trained.rules)
        return system_report(self.name, self.result, alone, relevant_pairs(self.scores.frame))

    def entry(self, k: int) -> dict[str, Any]:
        """The system's entry: the contract's fields, the measures, how far its stages agree."""
        ranks = StageRanks.of(self.scores)
        entry = self.report()
        kept = self.scores.alone(self.trained.rules).kept
        entry |= ranking_figures(self.result, ranks, kept, relevant_pairs(self.scores.frame), k)
        entry["measures"] = {**self.measured.means, JOINT: entry["mean_recall_by_query"]}
        by_seed = mean_by_seed(self.per_query.select("qid", *MEASURES, JOINT).drop_nulls())
        entry["measures_by_seed"] = by_seed.to_dicts()
        entry["measured_queries"] = self.measured.averaged[NDCG] // len(by_seed)
        if self.trained.cost_unit != "FLOPs":
            entry["cost_unit"] = self.trained.cost_unit
        if self.trained.note:
            entry["note"] = self.trained.note
        return entry


def compared(outcomes: Sequence[Outcome]) -> pl.DataFrame:
    """Paired tests of every system against the first, over the queries with something relevant.

    A query counts once however many seeds there are, with its mean over them: its runs are not independent.
    """
    if len(outcomes) < 2:
        return pl.DataFrame()
    per_query = {each.name: mean_over_seeds(each.per_query) for each in outcomes}
    return compare_systems(per_query, [NDCG, JOINT], baseline=outcomes[0].name)

"""The cascade engine: stages of rising cost filter candidates. Knows the scorer protocol, not the network."""

from cascade.alone import AllScores, Alone, score_all
from cascade.callables import CallableScorer, estimator_function
from cascade.cost import flops_per_kept_item, flops_total, seconds_total
from cascade.errors import CascadeError, ConformanceError
from cascade.features import feature_matrix
from cascade.frames import prepare
from cascade.inclusion import Inclusion, inclusion_coefficient, inclusion_matrix
from cascade.keep import (
    KeepAll,
    KeepRule,
    PointwiseRule,
    PredictedClass,
    RankedRule,
    Ranking,
    ScoreAtLeast,
    ScoreDrop,
    TopK,
    TopShare,
)
from cascade.metrics import (
    StageQuality,
    loss_by_stage,
    quality_alone,
    quality_so_far,
    recall_by_query,
    survived,
)
from cascade.pipeline import Cascade, CascadeResult, Progress, StageRun
from cascade.relevance import relevant_pairs
from cascade.report import system_report
from cascade.scorer import Mode, Scorer, Session, StageInfo, StageScores
from cascade.testing import Conformance, check_scorer
from cascade.trees import TreePrefixScorer

__all__ = [
    "AllScores",
    "Alone",
    "CallableScorer",
    "Cascade",
    "CascadeError",
    "CascadeResult",
    "Conformance",
    "ConformanceError",
    "Inclusion",
    "KeepAll",
    "KeepRule",
    "Mode",
    "PointwiseRule",
    "PredictedClass",
    "Progress",
    "RankedRule",
    "Ranking",
    "ScoreAtLeast",
    "ScoreDrop",
    "Scorer",
    "Session",
    "StageInfo",
    "StageQuality",
    "StageRun",
    "StageScores",
    "TopK",
    "TopShare",
    "TreePrefixScorer",
    "check_scorer",
    "estimator_function",
    "feature_matrix",
    "flops_per_kept_item",
    "flops_total",
    "inclusion_coefficient",
    "inclusion_matrix",
    "loss_by_stage",
    "prepare",
    "quality_alone",
    "quality_so_far",
    "recall_by_query",
    "relevant_pairs",
    "score_all",
    "seconds_total",
    "survived",
    "system_report",
]

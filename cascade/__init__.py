"""The cascade engine: stages of rising cost filter candidates. Knows the scorer protocol, not the network."""

from cascade.alone import AllScores, Alone, score_all
from cascade.batcher import Answer, Batcher, ClosedError, OverloadError
from cascade.budget import BudgetColumn, within_budget
from cascade.callables import CallableScorer, estimator_function
from cascade.config import CascadeConfig, Planned, StageConfig, read_config, write_config
from cascade.cost import feature_costs, features_total, flops_per_kept_item, flops_total, seconds_total
from cascade.errors import CascadeError, ConformanceError
from cascade.features import feature_matrix
from cascade.frames import prepare
from cascade.frontier import Frontier, Plan
from cascade.inclusion import Inclusion, inclusion_coefficient, inclusion_matrix
from cascade.judged import By, Judged, Ties, judge
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
    TopKColumn,
    TopShare,
)
from cascade.kendall import kendall_matrix, kendall_tau
from cascade.latency import LatencyTable, measure_latency
from cascade.measures import MEASURES, Measure, parse_measure, parse_measures
from cascade.metrics import (
    StageQuality,
    loss_by_stage,
    quality_alone,
    quality_so_far,
    recall_by_query,
    survived,
)
from cascade.pipeline import Cascade, CascadeResult, Progress, StageRun
from cascade.plan_cost import StageCosts
from cascade.planner import evaluate_plan, pareto_frontier, plan
from cascade.policies import Always, Anytime, DropExcess, LatencyRule, PaperRule, Policy
from cascade.promise import Promise, PromiseError, promise
from cascade.promise_splits import Held, OnFresh, Split, promise_holds
from cascade.ranking import Evaluation, evaluate
from cascade.recorded import kept_as_many, recorded_result, recorded_scores
from cascade.relevance import relevant_pairs
from cascade.report import system_report
from cascade.rows import Rows
from cascade.scored import Scored
from cascade.scorer import Mode, OrderFreeScorer, RowScorer, Scorer, Session, StageInfo, StageScores
from cascade.significance import bootstrap_interval, compare_systems, holm, paired_p
from cascade.stage_ranking import (
    Agreement,
    StageRanks,
    agreement,
    budget_inclusion,
    hit_rate,
    recall_k_at_m,
    stage_recall,
)
from cascade.subset import SubsetScorer
from cascade.testing import Conformance, check_scorer
from cascade.trees import TreePrefixScorer

__all__ = [
    "MEASURES",
    "Agreement",
    "AllScores",
    "Alone",
    "Always",
    "Answer",
    "Anytime",
    "Batcher",
    "BudgetColumn",
    "By",
    "CallableScorer",
    "Cascade",
    "CascadeConfig",
    "CascadeError",
    "CascadeResult",
    "ClosedError",
    "Conformance",
    "ConformanceError",
    "DropExcess",
    "Evaluation",
    "Frontier",
    "Held",
    "Inclusion",
    "Judged",
    "KeepAll",
    "KeepRule",
    "LatencyRule",
    "LatencyTable",
    "Measure",
    "Mode",
    "OnFresh",
    "OrderFreeScorer",
    "OverloadError",
    "PaperRule",
    "Plan",
    "Planned",
    "PointwiseRule",
    "Policy",
    "PredictedClass",
    "Progress",
    "Promise",
    "PromiseError",
    "RankedRule",
    "Ranking",
    "RowScorer",
    "Rows",
    "ScoreAtLeast",
    "ScoreDrop",
    "Scored",
    "Scorer",
    "Session",
    "Split",
    "StageConfig",
    "StageCosts",
    "StageInfo",
    "StageQuality",
    "StageRanks",
    "StageRun",
    "StageScores",
    "SubsetScorer",
    "Ties",
    "TopK",
    "TopKColumn",
    "TopShare",
    "TreePrefixScorer",
    "agreement",
    "bootstrap_interval",
    "budget_inclusion",
    "check_scorer",
    "compare_systems",
    "estimator_function",
    "evaluate",
    "evaluate_plan",
    "feature_costs",
    "feature_matrix",
    "features_total",
    "flops_per_kept_item",
    "flops_total",
    "hit_rate",
    "holm",
    "inclusion_coefficient",
    "inclusion_matrix",
    "judge",
    "kendall_matrix",
    "kendall_tau",
    "kept_as_many",
    "loss_by_stage",
    "measure_latency",
    "paired_p",
    "pareto_frontier",
    "parse_measure",
    "parse_measures",
    "plan",
    "prepare",
    "promise",
    "promise_holds",
    "quality_alone",
    "quality_so_far",
    "read_config",
    "recall_by_query",
    "recall_k_at_m",
    "recorded_result",
    "recorded_scores",
    "relevant_pairs",
    "score_all",
    "seconds_total",
    "stage_recall",
    "survived",
    "system_report",
    "within_budget",
    "write_config",
]

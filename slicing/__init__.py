"""Sliced networks: a scorer at every width, what a narrow one computed reused by the wider one. Torch only."""

from slicing.budget import rate_for_budget, rate_for_flops
from slicing.checkpoint import load, save
from slicing.connectivity import Connectivity
from slicing.conv import SlicedConv2d, SlicedGroupedConv2d
from slicing.convert import ConversionWarning, convert
from slicing.errors import RefusedValue, SlicingError
from slicing.export import save_program, standalone, standalone_ranker
from slicing.extract import extract
from slicing.features import FeatureTransform
from slicing.flops import Cost, cache_bytes, cost, flops, parameter_count
from slicing.incremental import IncrementalScorer, Session, reuse_error
from slicing.layers import SlicedConcat, SlicedEmbedding, SlicedGroupNorm
from slicing.layout import Layout
from slicing.linear import SlicedLinear
from slicing.losses import Criterion, CrossEntropy, Distillation
from slicing.ndcg import ndcg
from slicing.network import SlicedNetwork
from slicing.progressive import ProgressiveDynamic, ProgressiveStatic
from slicing.query_batches import QueryBatches
from slicing.ranker import Ranker
from slicing.ranker_session import RankerSession
from slicing.ranker_settings import RankerSettings
from slicing.ranker_training import fit_ranker
from slicing.ranking_losses import LambdaLoss, ListDistillation, ListwiseSoftmax, PointwiseBCE, PointwiseMSE
from slicing.rates import check_rates, legal_rates, width, widths
from slicing.recurrent import Carried, SlicedGRU, SlicedLSTM, SlicedRNN
from slicing.schedules import Normal, Uniform, rate_probabilities
from slicing.schemes import Joint, Plain, Sampled, Sandwich, Scheme
from slicing.seen import Seen
from slicing.spec import Spec
from slicing.survival import JointSurvival
from slicing.tiers import Tier
from slicing.train_config import TrainConfig
from slicing.training import TrainResult, train
from slicing.truncated import Truncated
from slicing.vocabulary import Vocabulary

__all__ = [
    "Carried",
    "Connectivity",
    "ConversionWarning",
    "Cost",
    "Criterion",
    "CrossEntropy",
    "Distillation",
    "FeatureTransform",
    "IncrementalScorer",
    "Joint",
    "JointSurvival",
    "LambdaLoss",
    "Layout",
    "ListDistillation",
    "ListwiseSoftmax",
    "Normal",
    "Plain",
    "PointwiseBCE",
    "PointwiseMSE",
    "ProgressiveDynamic",
    "ProgressiveStatic",
    "QueryBatches",
    "Ranker",
    "RankerSession",
    "RankerSettings",
    "RefusedValue",
    "Sampled",
    "Sandwich",
    "Scheme",
    "Seen",
    "Session",
    "SlicedConcat",
    "SlicedConv2d",
    "SlicedEmbedding",
    "SlicedGRU",
    "SlicedGroupNorm",
    "SlicedGroupedConv2d",
    "SlicedLSTM",
    "SlicedLinear",
    "SlicedNetwork",
    "SlicedRNN",
    "SlicingError",
    "Spec",
    "Tier",
    "TrainConfig",
    "TrainResult",
    "Truncated",
    "Uniform",
    "Vocabulary",
    "cache_bytes",
    "check_rates",
    "convert",
    "cost",
    "extract",
    "fit_ranker",
    "flops",
    "legal_rates",
    "load",
    "ndcg",
    "parameter_count",
    "rate_for_budget",
    "rate_for_flops",
    "rate_probabilities",
    "reuse_error",
    "save",
    "save_program",
    "standalone",
    "standalone_ranker",
    "train",
    "width",
    "widths",
]

"""Sliced networks: a scorer at every width, what a narrow one computed reused by the wider one. Torch only."""

from slicing.budget import rate_for_budget, rate_for_flops
from slicing.checkpoint import load, save
from slicing.convert import ConversionWarning, convert
from slicing.errors import SlicingError
from slicing.extract import extract
from slicing.flops import Cost, cache_bytes, cost, flops, parameter_count
from slicing.incremental import IncrementalScorer, Session, reuse_error
from slicing.layers import (
    Connectivity,
    SlicedConcat,
    SlicedConv2d,
    SlicedEmbedding,
    SlicedGroupedConv2d,
    SlicedGroupNorm,
    SlicedLinear,
)
from slicing.layout import Layout
from slicing.losses import CrossEntropy, Distillation
from slicing.network import SlicedNetwork
from slicing.rates import check_rates, legal_rates, width, widths
from slicing.schedules import Normal, Uniform, rate_probabilities
from slicing.schemes import Joint, Plain, Sampled, Sandwich, Scheme
from slicing.spec import Spec
from slicing.train_config import TrainConfig
from slicing.training import TrainResult, train

__all__ = [
    "Connectivity",
    "ConversionWarning",
    "Cost",
    "CrossEntropy",
    "Distillation",
    "IncrementalScorer",
    "Joint",
    "Layout",
    "Normal",
    "Plain",
    "Sampled",
    "Sandwich",
    "Scheme",
    "Session",
    "SlicedConcat",
    "SlicedConv2d",
    "SlicedEmbedding",
    "SlicedGroupNorm",
    "SlicedGroupedConv2d",
    "SlicedLinear",
    "SlicedNetwork",
    "SlicingError",
    "Spec",
    "TrainConfig",
    "TrainResult",
    "Uniform",
    "cache_bytes",
    "check_rates",
    "convert",
    "cost",
    "extract",
    "flops",
    "legal_rates",
    "load",
    "parameter_count",
    "rate_for_budget",
    "rate_for_flops",
    "rate_probabilities",
    "reuse_error",
    "save",
    "train",
    "width",
    "widths",
]

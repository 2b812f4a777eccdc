"""What model slicing is compared with (section 5.1.1): networks that trade accuracy for FLOPs in other ways."""

from simulations.baselines.exits import EveryExit, ExitNetwork, MultiClassifier
from simulations.baselines.msdnet import MultiScaleDense
from simulations.baselines.points import TOP5_CLASSES, Point, accuracy_of, multiply_adds
from simulations.baselines.skipnet import SkipNetwork, SkipPenalty
from simulations.baselines.slimming import ScaleSparsity, prune, slimmable

__all__ = [
    "TOP5_CLASSES",
    "EveryExit",
    "ExitNetwork",
    "MultiClassifier",
    "MultiScaleDense",
    "Point",
    "ScaleSparsity",
    "SkipNetwork",
    "SkipPenalty",
    "accuracy_of",
    "multiply_adds",
    "prune",
    "slimmable",
]

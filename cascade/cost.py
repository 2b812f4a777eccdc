"""What a run cost, from the account of its stages. One multiply-add = 1, unless the scorer says otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from cascade.pipeline import CascadeResult
from cascade.scorer import StageInfo


def flops_total(result: CascadeResult) -> float:
    """Spent on all candidates at all stages: each stage's real FLOPs per candidate times those it scored."""
    return sum(stage.flops * stage.candidates_in for stage in result.stages if stage.flops is not None)


def flops_per_kept_item(result: CascadeResult) -> float | None:
    """Spent on a candidate that goes through every stage; None when no candidate reached the last one."""
    spent = [stage.flops for stage in result.stages if stage.flops is not None]
    return sum(spent) if len(spent) == len(result.stages) else None


def seconds_total(result: CascadeResult) -> float:
    """Spent in the scorer, all stages; the engine's own share is what `result.seconds` has on top."""
    return sum(stage.seconds for stage in result.stages)


def feature_costs(stages: Sequence[StageInfo]) -> tuple[float, ...]:
    """Per candidate of each of these stages, run in this order: the cost of the features no earlier stage has read.

    Taken as nested: a stage that reads more at least reads what a stage that reads less does.
    """
    charged, paid = [], 0.0
    for info in stages:
        charged.append(max(0.0, info.features - paid))
        paid = max(paid, info.features)
    return tuple(charged)


def features_total(result: CascadeResult) -> float:
    """Feature cost of all candidates at all stages."""
    each = feature_costs([stage.info for stage in result.stages])
    return sum(cost * stage.candidates_in for cost, stage in zip(each, result.stages, strict=True))

"""What a run cost, from the account of its stages. One multiply-add = 1, unless the scorer says otherwise."""

from __future__ import annotations

from cascade.pipeline import CascadeResult


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

"""One system's entry in report.json: the numbers of a cascade run in plain Python types."""

from __future__ import annotations

from typing import Any, Literal

import polars as pl

from cascade.alone import Alone
from cascade.cost import feature_costs, features_total, flops_per_kept_item, flops_total, seconds_total
from cascade.errors import CascadeError
from cascade.inclusion import inclusion_matrix
from cascade.metrics import (
    StageQuality,
    loss_by_stage,
    quality_alone,
    quality_so_far,
    recall_by_query,
    survived,
)
from cascade.pipeline import CascadeResult, StageRun

Precision = Literal["retrieval", "accuracy"]
"""What a protocol means by precision. `retrieval`: |kept & relevant| / |kept|, of what is kept the relevant
share. `accuracy`: the share of the candidates decided rightly. The paper's cascade has relevant candidates
only, so the former would always be 1; its printed precision (Table 4) is the latter."""

_DEFINITIONS: dict[Precision, str] = {
    "retrieval": "|kept & relevant| / |kept|",
    "accuracy": "share of the candidates decided rightly (relevant kept, others dropped)",
}


def system_report(
    name: str,
    result: CascadeResult,
    alone: Alone,
    relevant: pl.DataFrame,
    *,
    precision: Precision = "retrieval",
) -> dict[str, Any]:
    """The entry of one system: plain types that JSON carries, None for what is undefined.

    result: a cascade's run. alone: the same candidates through every stage alone, under the same rules
    (`score_all(...).alone(cascade.rules)`). relevant: (qid, docid) pairs, see `relevant_pairs`.

    Per stage: `flops` per candidate from scratch and `flops_increment` per candidate really spent;
    `feature_cost_increment` per candidate, of features that no earlier stage has read, in the scorer's unit;
    `precision` (as the protocol defines it) and `recall` of the stage alone; `aggregate_recall` of the
    cascade up to it. A stage that no candidate reached has spent 0, and its mode reads `fresh`.
    """
    if precision not in _DEFINITIONS:
        raise CascadeError(f"precision must be one of {', '.join(_DEFINITIONS)}, got {precision!r}")
    _require_same_candidates(result, alone)
    by_itself, so_far = quality_alone(alone, relevant), quality_so_far(result, relevant)
    inclusion = inclusion_matrix(alone, relevant)
    recalls = recall_by_query(result.frame, survived(result, len(result.stages) - 1), relevant)["recall"]
    mean = recalls.mean()
    return {
        "name": name,
        "params_held": int(result.params_held),
        "flops_total": float(flops_total(result)),
        "flops_per_kept_item": flops_per_kept_item(result),
        "seconds_total": seconds_total(result),
        "stages": [
            _stage(run, one, many, precision, each)
            for run, one, many, each in zip(
                result.stages, by_itself, so_far, feature_costs([run.info for run in result.stages]), strict=True
            )
        ],
        "feature_cost_total": features_total(result),
        "inclusion": {
            "rates": list(inclusion.rates),
            "matrix": [list(row) for row in inclusion.matrix],
            "errors": list(inclusion.errors),
            "denominator": inclusion.denominator,
        },
        "seconds_run": result.seconds,
        "candidates": len(result.frame),
        "relevant": so_far[-1].relevant,
        "kept": so_far[-1].kept,
        "relevant_kept": so_far[-1].correct,
        "mean_recall_by_query": mean if isinstance(mean, float) else None,
        "precision_definition": _DEFINITIONS[precision],
        "loss_by_stage": loss_by_stage(result, relevant).to_dicts(),
    }


def _stage(
    run: StageRun, alone: StageQuality, so_far: StageQuality, precision: Precision, features: float
) -> dict[str, Any]:
    return {
        "rate": run.info.rate,
        "params": int(run.info.params),
        "flops": float(run.info.flops),
        "flops_increment": 0.0 if run.flops is None else run.flops,
        "feature_cost_increment": features,
        "precision": alone.precision if precision == "retrieval" else alone.accuracy,
        "recall": alone.recall,
        "aggregate_recall": so_far.recall,
        "candidates_in": run.candidates_in,
        "candidates_out": run.candidates_out,
        "seconds": run.seconds,
        "mode": run.mode or "fresh",
        "rule": repr(run.rule),
        "relevant_kept_alone": alone.correct,
        "relevant_kept": so_far.correct,
    }


def _require_same_candidates(result: CascadeResult, alone: Alone) -> None:
    ours = result.frame.select("qid", "docid").sort("qid", "docid")
    if not ours.equals(alone.frame) or len(result.stages) != len(alone.stages):
        raise CascadeError(
            f"result and alone must be of the same candidates and stages, got {len(ours)} candidates through "
            f"{len(result.stages)} stages and {len(alone.frame)} through {len(alone.stages)}; use one table"
        )

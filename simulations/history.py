"""A training run as the report has it."""

from collections.abc import Sequence
from typing import Any

from slicing import TrainResult


def training_history(name: str, result: TrainResult, rates: Sequence[float]) -> dict[str, Any]:
    """Loss and validation figures by epoch, counted from 1; the figures belong to these rates."""
    return {
        "name": name,
        "best_epoch": result.best_epoch + 1,
        "seconds": sum(record.seconds for record in result.history),
        "history": [
            {
                "epoch": number,
                "loss": record.loss,
                "validation": {f"{rate:g}": share for rate, share in zip(rates, record.validation, strict=True)},
            }
            for number, record in enumerate(result.history, start=1)
        ],
    }

"""The state of a training run between two epochs, as one safetensors file."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.files import load_tensors, save_tensors
from slicing.progressive import Phased
from slicing.schemes import Scheme
from slicing.train_config import TrainConfig

KIND = "training checkpoint"

# What an optimiser remembers of a parameter, and its name in the file: SGD's momentum; AdamW's moments and its count.
_REMEMBERED = {"momentum_buffer": "momentum.", "exp_avg": "mean.", "exp_avg_sq": "square.", "step": "step."}
# Settings that came later: left out at their defaults, so that a run begun before them can still be resumed.
_LATER = {"optimizer": "sgd", "patience": None, "clip": None}


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch came to.

    Args:
        loss: the mean over the epoch's items.
        validation: one figure per rate, narrowest first; higher is better.
        items: how many were trained on.
        seconds: of training.
        validation_seconds: of validation.
    """

    loss: float
    validation: tuple[float, ...]
    items: int
    seconds: float
    validation_seconds: float


@dataclass
class TrainState:
    """The epochs done so far and the weights of the best of them (on the model's device)."""

    history: list[EpochRecord]
    best: dict[str, Tensor]

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 0, of the highest mean validation over the rates; of equals, the first."""
        means = [fmean(record.validation) for record in self.history]
        return means.index(max(means))


def rates_of(model: nn.Module) -> tuple[float, ...]:
    """A sliced network's rates; a plain module counts as the one rate 1.0."""
    rates: tuple[float, ...] = getattr(model, "rates", (1.0,))
    return rates


def run_identity(
    model: nn.Module, scheme: Scheme | Phased, config: TrainConfig, steps_per_epoch: int
) -> dict[str, Any]:
    """What must be equal for a run to be resumed, as JSON values (tensors are compared apart).

    The device is not among it: a run may go on elsewhere.
    """
    identity = {
        **{
            name: value
            for name, value in dataclasses.asdict(config).items()
            if name != "device" and not (name in _LATER and value == _LATER[name])
        },
        "scheme": _described(scheme),
        "steps_per_epoch": steps_per_epoch,
        "model": {
            "type": type(model).__qualname__,
            "rates": _described(getattr(model, "rates", None)),
            "connectivity": _described(getattr(model, "connectivity", None)),
            "rescale": _described(getattr(model, "rescale", None)),
            "spec": _described(getattr(model, "spec", None)),
        },
    }
    found: dict[str, Any] = json.loads(json.dumps(identity))  # lists for tuples, as it comes back from a file
    return found


def save_state(
    path: Path,
    state: TrainState,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
) -> None:
    """Write the model, what the optimiser remembers, the best weights, the history and the run's identity.

    No state of a random generator is among them: the trainer seeds every epoch from the run's seed and the
    epoch.
    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    for name, parameter in model.named_parameters():
        for key, prefix in _REMEMBERED.items():
            if optimizer.state[parameter].get(key) is not None:
                tensors[f"{prefix}{name}"] = optimizer.state[parameter][key]
    metadata = {"identity": identity, "history": [dataclasses.asdict(record) for record in state.history]}
    save_tensors(path, tensors, metadata, KIND)


def load_state(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any]
) -> TrainState:
    """Bring ``model`` and ``optimizer`` to the state in the file; neither is touched when the file is
    refused.

    Raises:
        SlicingError: when the file is missing, damaged, or belongs to another run or architecture.
    """
    tensors, metadata = load_tensors(path, KIND)
    _check_same(metadata.get("identity"), identity, path)
    try:
        history = [_record(found, len(rates_of(model))) for found in metadata["history"]]
    except (KeyError, TypeError, ValueError) as error:
        raise SlicingError(f"{path} is a damaged {KIND} ({error!r} in its history); start anew") from error
    if not 1 <= len(history) <= identity["epochs"]:
        raise SlicingError(f"{path} is a damaged {KIND}: it holds {len(history)} epochs; start anew")
    expected = dict(model.state_dict())
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    current, best = _part(tensors, "model."), _part(tensors, "best.")
    remembered = {key: _part(tensors, prefix) for key, prefix in _REMEMBERED.items()}
    _check_tensors(current, expected, path)
    _check_tensors(best, expected, path)
    for key, found in remembered.items():
        like = {name: torch.zeros(()) if key == "step" else parameters[name] for name in found if name in parameters}
        _check_tensors(found, like, path)
    model.load_state_dict(current)
    for key, found in remembered.items():
        for name, tensor in found.items():
            device = "cpu" if key == "step" else parameters[name].device
            optimizer.state[parameters[name]][key] = tensor.to(device)
    return TrainState(history, {name: tensor.to(expected[name].device) for name, tensor in best.items()})


def _record(found: Mapping[str, Any], figures: int) -> EpochRecord:
    validation = tuple(float(figure) for figure in found["validation"])
    if len(validation) != figures or not all(map(math.isfinite, validation)):
        raise ValueError(f"validation {validation}")
    seconds, validation_seconds = float(found["seconds"]), float(found["validation_seconds"])
    return EpochRecord(float(found["loss"]), validation, int(found["items"]), seconds, validation_seconds)


def _described(value: Any) -> Any:
    """A setting as JSON: dataclasses by type and fields, functions by name; equal settings look equal."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _described(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__qualname__, **fields}
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _described(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_described(item) for item in value]
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _check_same(found: Any, expected: Any, path: Path, name: str = "") -> None:
    if isinstance(found, dict) and isinstance(expected, Mapping) and found.keys() == expected.keys():
        for key in expected:
            _check_same(found[key], expected[key], path, f"{name}.{key}" if name else key)
    elif found != expected:
        raise SlicingError(
            f"{path} belongs to another run: {name or 'its identity'} was {_short(found)}, now it is "
            f"{_short(expected)}; resume with the same settings, or start anew without resume"
        )


def _check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    for name in sorted(found.keys() | expected.keys()):
        there, here = (
            f"{tuple(side[name].shape)} {side[name].dtype}" if name in side else "absent" for side in (found, expected)
        )
        if there != here:
            raise SlicingError(
                f"{path} belongs to another architecture: its tensor {name!r} is {there}, this model's "
                f"{here}; resume with the same model, or start anew without resume"
            )


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

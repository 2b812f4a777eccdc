"""Reading torch's recurrent layers: which of their settings can be sliced, and one layer for each of their levels."""

from typing import Any

import torch
from torch import nn

from slicing.errors import SlicingError

# What indexing a recurrent layer's result gives, by what is indexed: of `outputs, (h, c) = lstm(x)` the outputs and
# h[-1], the last level's last output, can be sliced.
PARTS: dict[tuple[str, Any], str] = {
    **{(kind, 0): "outputs" for kind in ("rnn", "lstm", "gru")},
    ("rnn", 1): "states",
    ("gru", 1): "states",
    ("lstm", 1): "pair",
    ("pair", 0): "states",
    ("states", -1): "last step",
}


def levels_of(name: str, layer: nn.RNNBase, begins_at_zero: bool) -> list[nn.RNNBase]:
    """One layer of torch's own, with copied weights, for each level of a stack.

    Raises:
        SlicingError: for what can't be sliced, naming the layer and the remedy.
    """
    for wrong, what, remedy in (
        (not layer.batch_first, "batch_first=False", "batch_first=True, with sequences (N, T, inputs)"),
        (layer.bidirectional, "bidirectional=True", "one direction"),
        (layer.proj_size > 0, f"proj_size={layer.proj_size}", "a dense layer behind it"),
        (not begins_at_zero, "an initial state", "none, and pass `carried` to the sliced network"),
        (type(layer) not in (nn.RNN, nn.LSTM, nn.GRU), type(layer).__name__, "torch's own RNN, LSTM or GRU"),
    ):
        if wrong:
            raise SlicingError(f"{name}: a recurrent layer with {what} can't be sliced; use {remedy}")
    names = [parameter for parameter, _ in layer.named_parameters()]
    if not all(parameter.startswith(("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l")) for parameter in names):
        raise SlicingError(
            f"{name}: its weights are computed from others (weight norm or pruning); make them permanent"
        )
    return [_level(layer, number) for number in range(layer.num_layers)]


def recurrent_settings(level: nn.RNNBase) -> tuple[str, dict[str, Any]]:
    """The operation and its settings."""
    op = type(level).__name__.lower()
    config = {"input_size": level.input_size, "hidden_size": level.hidden_size, "bias": level.bias}
    return op, {**config, "nonlinearity": level.nonlinearity} if isinstance(level, nn.RNN) else config


@torch.no_grad()
def _level(layer: nn.RNNBase, number: int) -> nn.RNNBase:
    inputs = layer.input_size if number == 0 else layer.hidden_size
    options: dict[str, Any] = {"bias": layer.bias, "batch_first": True}
    if isinstance(layer, nn.RNN):
        options["nonlinearity"] = layer.nonlinearity
    build: Any = type(layer)
    level: nn.RNNBase = build(inputs, layer.hidden_size, **options)
    suffix = f"_l{number}"
    own = {
        f"{name.removesuffix(suffix)}_l0": parameter
        for name, parameter in layer.state_dict().items()
        if name.endswith(suffix)
    }
    like = next(layer.parameters())
    level.to(dtype=like.dtype, device=like.device).load_state_dict(own)
    return level

"""Sequences of units, all of one length or packed, and what a recurrence does with them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Sequences = Tensor | PackedSequence  # (N, T, units), or sequences of several lengths, packed


def first_units(x: Sequences, units: int) -> Sequences:
    """The first units of every step."""
    if isinstance(x, PackedSequence):
        return x._replace(data=x.data[:, :units])
    return x[..., :units]


def side_by_side(parts: Sequence[Sequences]) -> Sequences:
    """Units beside units of the same sequences."""
    first = parts[0]
    if len(parts) == 1:
        return first
    data = torch.cat([part.data if isinstance(part, PackedSequence) else part for part in parts], -1)
    return first._replace(data=data) if isinstance(first, PackedSequence) else data


def one_step_late(y: Sequences, before: Tensor) -> Sequences:
    """What the next step reads of outputs y: at the first step ``before`` (N, units), then y up to the last but one."""
    if not isinstance(y, PackedSequence):
        return torch.cat([before[:, None], y[:, :-1]], 1)
    sizes = y.batch_sizes
    rows = torch.arange(int(sizes[0]), len(y.data)) - torch.repeat_interleave(sizes[:-1], sizes[1:])
    return y._replace(data=torch.cat([before, y.data.index_select(0, rows.to(y.data.device))]))


def rows_of(x: Sequences) -> Tensor:
    """Step upon step: (rows, units)."""
    return x.data if isinstance(x, PackedSequence) else x.transpose(0, 1).flatten(0, 1)


def steps_of(x: Sequences) -> list[int]:
    """Rows of each step."""
    return x.batch_sizes.tolist() if isinstance(x, PackedSequence) else [x.shape[0]] * x.shape[1]


def in_form_of(x: Sequences, steps: Sequence[Tensor]) -> Sequences:
    """What was computed step by step, (rows of the step, units) each, in the form of x."""
    return x._replace(data=torch.cat(list(steps))) if isinstance(x, PackedSequence) else torch.stack(list(steps), 1)

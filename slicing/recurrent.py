"""Sliced recurrent layers: Elman RNN, LSTM and GRU (section 3.3, Equation 8), every gate and state sliced.

A unit reads the inputs of its step and the outputs of the step before. In a ``nested`` layer a unit of block k reads
blocks <= k of both, so block k is a recurrent layer of its own whose inputs are the layer's inputs and, one step late,
the finished outputs of the narrower blocks. That is how it is computed: the recurrence runs over the new units alone,
everything known beforehand goes through one product for all steps, and a wider pass leaves every narrower state as it
was. A ``dense`` layer is one such block; widening it reuses the narrow outputs as they are, which is the paper's
approximation (section 3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from slicing.errors import SlicingError
from slicing.layers import Block, Connectivity
from slicing.layout import Layout
from slicing.sequences import Sequences, first_units, in_form_of, one_step_late, rows_of, side_by_side, steps_of

State = tuple[Tensor, ...]  # what a layer hands from step to step, (N, units) each: h, of an LSTM h and c


@dataclass(frozen=True)
class Carried:
    """Recurrent states that enter and leave one pass, by layer; sequences longer than memory go through in pieces.

    Attributes:
        begin: states before the first step; a layer that is not in it begins at zero. Units beyond those given begin at
            zero too, units beyond the pass's rate are not read.
        end: filled by the pass, with the states of the units it computed behind the last step.
    """

    begin: dict[str, State] = field(default_factory=dict)
    end: dict[str, State] = field(default_factory=dict)


class SlicedRecurrent(nn.Module):
    """One recurrent layer over sequences; what :class:`SlicedRNN`, :class:`SlicedLSTM` and :class:`SlicedGRU` share.

    Parameters have torch's names, shapes and gate order. A slice takes its units' rows of every gate, never the first
    rows of the stacked matrix.

    Args:
        reads: the inputs.
        gives: the units.
        bias: whether both products have a bias, as in torch.
        connectivity: ``nested`` or ``dense``.
        rescale: multiply both products by M/round(rM) of what they read (section 3.5.1); in a nested layer the fan-in
            of a unit never changes, so there is nothing to compensate and it is not done.
    """

    gates: ClassVar[int]
    weight_ih: nn.Parameter
    weight_hh: nn.Parameter
    mask_ih: Tensor | None
    mask_hh: Tensor | None

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        bias: bool = True,
        connectivity: Connectivity = "nested",
        rescale: bool = False,
    ) -> None:
        super().__init__()
        self.reads, self.gives = reads, gives
        self.connectivity = connectivity
        self.rescale = rescale and connectivity == "dense"
        units, rows = gives.widths[-1], self.gates * gives.widths[-1]
        self.weight_ih = nn.Parameter(torch.empty(rows, reads.widths[-1]))
        self.weight_hh = nn.Parameter(torch.empty(rows, units))
        self.bias_ih = nn.Parameter(torch.empty(rows)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows)) if bias else None
        nested = connectivity == "nested" and len(gives.widths) > 1
        self.register_buffer("mask_ih", self._mask(of_inputs=True) if nested else None, persistent=False)
        self.register_buffer("mask_hh", self._mask(of_inputs=False) if nested else None, persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Uniform within 1/sqrt(units read of the step before), as torch does, block by block."""
        for parameter in self.parameters():
            parameter.zero_()
        for a, b, m in self.blocks(-1, len(self.gives.widths) - 1):
            bound = b**-0.5
            for gate in range(self.gates):
                rows = slice(gate * self.gives.widths[-1] + a, gate * self.gives.widths[-1] + b)
                self.weight_ih[rows, :m].uniform_(-bound, bound)
                self.weight_hh[rows, :b].uniform_(-bound, bound)
                for bias in (self.bias_ih, self.bias_hh):
                    if bias is not None:
                        bias[rows].uniform_(-bound, bound)

    def blocks(self, start: int, to: int) -> list[Block]:
        """The recurrences that lead from ``start`` to ``to``: (first unit, last unit + 1, inputs read).

        Each also reads the outputs of all units before its last one.
        """
        units, inputs = self.gives.widths, self.reads.widths
        if self.connectivity == "dense":
            return [(units[start] if start >= 0 else 0, units[to], inputs[to])]
        return [(units[k - 1] if k else 0, units[k], inputs[k]) for k in range(start + 1, to + 1)]

    def forward(
        self, x: Sequences, start: int, to: int, known: Sequences | None = None, state: State | None = None
    ) -> tuple[Sequences, State]:
        """The units between two rates, at every step.

        Args:
            x: the input prefix at ``to``: (N, T, inputs), or packed.
            start: position of the rate reached before, or -1.
            to: position of the rate to reach.
            known: this layer's outputs at ``start`` over the same sequences, in the same form; None when ``start`` is
                -1.
            state: states before the first step, (N, units) each, see :class:`Carried`; None is zero.

        Returns:
            The new units' outputs, in the form of x, and their states behind each sequence's last step.

        Raises:
            SlicingError: when x or ``known`` do not have the units of those rates, or the state is of another batch.
        """
        self._check("inputs", x, self.reads.widths[to])
        if start >= 0:
            if known is None:
                raise SlicingError("widening a recurrent layer needs its outputs at the rate reached before; pass them")
            self._check("known outputs", known, self.gives.widths[start])
        before = self._begin(x, state, self.gives.widths[to])
        if isinstance(x, Tensor) and x.is_meta:  # only shapes are asked for, and torch would go step by step in Python
            new = self.gives.widths[to] - (self.gives.widths[start] if start >= 0 else 0)
            return x.new_empty(*x.shape[:2], new), tuple(part[:, :new] for part in before)
        sx, sh = self.scales(to)
        outputs: list[Sequences] = []
        ends: list[State] = []
        for a, b, m in self.blocks(start, to):
            w_ih, w_hh = self._rows(self.weight_ih, a, b) * sx, self._rows(self.weight_hh, a, b) * sh
            biases = [self._rows(bias, a, b) for bias in (self.bias_ih, self.bias_hh) if bias is not None]
            late = None
            if a:
                late = one_step_late(side_by_side([*([] if known is None else [known]), *outputs]), before[0][:, :a])
            own = tuple(part[:, a:b] for part in before)
            y, end = self._recur(first_units(x, m), late, own, (w_ih[:, :m], w_hh[:, :a], w_hh[:, a:b]), biases)
            outputs.append(y)
            ends.append(end)
        return side_by_side(outputs), self._end(x, [torch.cat(parts, 1) for parts in zip(*ends, strict=True)])

    def every_rate(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """All units in one recurrence, for training: the masked weights give the gradients their shape, too."""
        w_ih = self.weight_ih if self.mask_ih is None else self.weight_ih * self.mask_ih
        w_hh = self.weight_hh if self.mask_hh is None else self.weight_hh * self.mask_hh
        biases = [bias for bias in (self.bias_ih, self.bias_hh) if bias is not None]
        before = self._begin(x, state, self.gives.widths[-1])
        y, end = self._recur(x, None, before, (w_ih, w_hh[:, :0], w_hh), biases)
        assert isinstance(y, Tensor)
        return y, end

    def scales(self, to: int) -> tuple[float, float]:
        """Output rescaling M / round(rM) of the inputs and of the states; 1.0 where the layer does not rescale."""
        if not self.rescale:
            return 1.0, 1.0
        return tuple(layout.widths[-1] / layout.widths[to] for layout in (self.reads, self.gives))  # type: ignore[return-value]

    def macs(self, start: int, to: int) -> int:
        """Multiply-adds per step of :meth:`forward`; the products of gates and states, unit by unit, do not count."""
        return self.gates * sum((b - a) * (m + b) for a, b, m in self.blocks(start, to))

    def parameter_count(self, to: int) -> int:
        """Weights and biases of the r-net; a nested layer has none above the block diagonal."""
        biases = 0 if self.bias_ih is None else 2 * self.gates * self.gives.widths[to]
        return self.macs(-1, to) + biases

    def masks(self) -> list[tuple[nn.Parameter, Tensor]]:
        """The weights that are zero where their mask is; none in a dense layer."""
        pairs = ((self.weight_ih, self.mask_ih), (self.weight_hh, self.mask_hh))
        return [(weight, mask) for weight, mask in pairs if mask is not None]

    def narrow(self, to: int) -> dict[str, Tensor]:
        """The r-net's parameters by torch's names for one layer, rescaling multiplied in."""
        units, inputs = self.gives.widths[to], self.reads.widths[to]
        sx, sh = self.scales(to)
        found = {
            "weight_ih_l0": self._rows(self.weight_ih, 0, units)[:, :inputs] * sx,
            "weight_hh_l0": self._rows(self.weight_hh, 0, units)[:, :units] * sh,
        }
        if self.bias_ih is not None and self.bias_hh is not None:
            found["bias_ih_l0"] = self._rows(self.bias_ih, 0, units)
            found["bias_hh_l0"] = self._rows(self.bias_hh, 0, units)
        return found

    def _recur(
        self,
        x: Sequences,
        late: Sequences | None,
        before: State,
        weights: tuple[Tensor, Tensor, Tensor],
        biases: Sequence[Tensor],
    ) -> tuple[Sequences, State]:
        """One recurrence.

        Args:
            x: what is read of the inputs.
            late: the narrower units' outputs of the step before; None when there are none.
            before: the recurring units' states.
            weights: of x, of ``late`` and of the recurring units, gate upon gate.
            biases: of both products, or none.
        """
        w_ih, w_late, w_hh = weights
        if late is not None:
            x, w_ih = side_by_side([x, late]), torch.cat([w_ih, w_late], 1)
        return self._fused(x, before, [w_ih, w_hh, *biases])

    def _fused(self, x: Sequences, before: State, weights: list[Tensor]) -> tuple[Sequences, State]:
        """Torch's own recurrence over one layer's weights."""
        raise NotImplementedError

    def _rows(self, stacked: Tensor, first: int, stop: int) -> Tensor:
        """These units' rows of every gate, gate upon gate: of a weight (gates * units, ...) or a bias."""
        gates = stacked.view(self.gates, self.gives.widths[-1], *stacked.shape[1:])
        return gates[:, first:stop].reshape(self.gates * (stop - first), *stacked.shape[1:])

    def _mask(self, of_inputs: bool) -> Tensor:
        columns = self.reads.widths[-1] if of_inputs else self.gives.widths[-1]
        mask = torch.zeros(self.gives.widths[-1], columns)
        for a, b, m in self.blocks(-1, len(self.gives.widths) - 1):
            mask[a:b, : m if of_inputs else b] = 1.0
        return mask.repeat(self.gates, 1)

    def _check(self, what: str, x: Sequences, units: int) -> None:
        data = x.data if isinstance(x, PackedSequence) else x
        wanted = 2 if isinstance(x, PackedSequence) else 3
        if data.dim() != wanted or data.shape[-1] != units:
            raise SlicingError(
                f"a recurrent layer takes {what} of shape (N, T, {units}) at this rate, or packed (rows, {units}), "
                f"got {tuple(data.shape)}; check the input's shape"
            )

    def _begin(self, x: Sequences, state: State | None, units: int) -> State:
        """The states that the first step reads, (N, units) each, in the order of the rows of x."""
        data = x.data if isinstance(x, PackedSequence) else x
        count = int(x.batch_sizes[0]) if isinstance(x, PackedSequence) else x.shape[0]
        if state is None:
            return tuple(data.new_zeros(count, units) for _ in range(self.states))
        if len(state) != self.states or any(part.dim() != 2 or len(part) != count for part in state):
            raise SlicingError(
                f"the state must hold {self.states} tensors ({count}, units) for these sequences, got "
                f"{[tuple(part.shape) for part in state]}; begin anew with state None"
            )
        parts = [part[:, :units] for part in state]
        if isinstance(x, PackedSequence) and x.sorted_indices is not None:
            parts = [part.index_select(0, x.sorted_indices) for part in parts]
        return tuple(F.pad(part, (0, units - part.shape[1])) if part.shape[1] < units else part for part in parts)

    @staticmethod
    def _end(x: Sequences, state: Sequence[Tensor]) -> State:
        if isinstance(x, PackedSequence) and x.unsorted_indices is not None:
            return tuple(part.index_select(0, x.unsorted_indices) for part in state)
        return tuple(state)

    @property
    def states(self) -> int:
        """How many tensors a state holds."""
        return 1


class SlicedRNN(SlicedRecurrent):
    """A sliced Elman layer, ``h = f(W_ih x + b_ih + W_hh h' + b_hh)`` (Equation 8), f being tanh or the rectifier."""

    gates = 1

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        bias: bool = True,
        connectivity: Connectivity = "nested",
        rescale: bool = False,
        nonlinearity: str = "tanh",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise SlicingError(f"nonlinearity must be tanh or relu, got {nonlinearity!r}")
        super().__init__(reads, gives, bias, connectivity, rescale)
        self.nonlinearity = nonlinearity

    def _fused(self, x: Sequences, before: State, weights: list[Tensor]) -> tuple[Sequences, State]:
        call = torch.rnn_tanh if self.nonlinearity == "tanh" else torch.rnn_relu
        hx, settings = before[0][None], (len(weights) > 2, 1, 0.0, False, False)
        if isinstance(x, PackedSequence):
            data, h = call(x.data, x.batch_sizes, hx, weights, *settings)
            return x._replace(data=data), (h[0],)
        y, h = call(x, hx, weights, *settings, True)
        return y, (h[0],)


class SlicedLSTM(SlicedRecurrent):
    """A sliced LSTM layer (Hochreiter and Schmidhuber 1997): gates input, forget, cell, output, states h and c."""

    gates = 4

    @property
    def states(self) -> int:
        """Two: h and c."""
        return 2

    def _fused(self, x: Sequences, before: State, weights: list[Tensor]) -> tuple[Sequences, State]:
        hx, settings = [part[None] for part in before], (len(weights) > 2, 1, 0.0, False, False)
        if isinstance(x, PackedSequence):
            data, h, c = torch.lstm(x.data, x.batch_sizes, hx, weights, *settings)
            return x._replace(data=data), (h[0], c[0])
        y, h, c = torch.lstm(x, hx, weights, *settings, True)
        return y, (h[0], c[0])


class SlicedGRU(SlicedRecurrent):
    """A sliced GRU layer (Cho et al. 2014) in torch's form: gates reset, update, new."""

    gates = 3

    def _recur(
        self,
        x: Sequences,
        late: Sequences | None,
        before: State,
        weights: tuple[Tensor, Tensor, Tensor],
        biases: Sequence[Tensor],
    ) -> tuple[Sequences, State]:
        w_ih, w_late, w_hh = weights
        if late is None:
            return self._fused(x, before, [w_ih, w_hh, *biases])
        # The reset gate multiplies the states' share of the new gate, so narrower outputs can't pass as inputs.
        b_ih, b_hh = biases or (None, None)
        of_inputs, of_states = F.linear(rows_of(x), w_ih, b_ih), F.linear(rows_of(late), w_late, b_hh)
        steps, ended, outputs = steps_of(x), [], []
        h, at = before[0], 0
        for size in steps:
            if size < len(h):
                ended.append(h[size:])
                h = h[:size]
            given, kept = of_inputs[at : at + size], F.linear(h, w_hh) + of_states[at : at + size]
            given_r, given_z, given_n = given.chunk(3, 1)
            kept_r, kept_z, kept_n = kept.chunk(3, 1)
            update = torch.sigmoid(given_z + kept_z)
            new = torch.tanh(given_n + torch.sigmoid(given_r + kept_r) * kept_n)
            h = new + update * (h - new)
            outputs.append(h)
            at += size
        return in_form_of(x, outputs), (torch.cat([h, *reversed(ended)]),)

    def _fused(self, x: Sequences, before: State, weights: list[Tensor]) -> tuple[Sequences, State]:
        hx, settings = before[0][None], (len(weights) > 2, 1, 0.0, False, False)
        if isinstance(x, PackedSequence):
            data, h = torch.gru(x.data, x.batch_sizes, hx, weights, *settings)
            return x._replace(data=data), (h[0],)
        y, h = torch.gru(x, hx, weights, *settings, True)
        return y, (h[0],)

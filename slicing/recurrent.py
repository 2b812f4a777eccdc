"""Sliced recurrent layers: Elman RNN, LSTM and GRU (section 3.3, Equation 8), every gate and state sliced.

A unit reads the inputs of its step and the outputs of the step before. Inside a segment of rates (see
:class:`slicing.connectivity.Connectivity`) a unit of block k reads blocks <= k of both, so block k is a recurrent layer
of its own whose inputs are the layer's inputs and, one step late, the finished outputs of the narrower blocks. That is
how it is computed: the recurrence runs over the new units alone, everything known beforehand goes through one product
for all steps, and a wider pass leaves every narrower state as it was. A segment's first rate is one such block;
widening over a segment's border reuses the narrow outputs as they are, the paper's approximation (section 3.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from slicing.connectivity import Firsts
from slicing.errors import SlicingError
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


class Recurrence(NamedTuple):
    """Units ``first`` to ``stop``, which read the first ``inputs`` inputs and, one step late, the first ``stop`` units.

    Both products are rescaled by what these units read at full width over what they read here (section 3.5.1).
    """

    first: int
    stop: int
    inputs: int
    of_inputs: float
    of_states: float


class SlicedRecurrent(nn.Module):
    """One recurrent layer over sequences; what :class:`SlicedRNN`, :class:`SlicedLSTM` and :class:`SlicedGRU` share.

    Parameters have torch's names, shapes and gate order. A slice takes its units' rows of every gate, never the first
    rows of the stacked matrix.

    Args:
        reads: the inputs.
        gives: the units.
        bias: whether both products have a bias, as in torch.
        firsts: for each rate's position that of the first rate of its segment; None is one segment, nested.
        rescale: multiply both products by M/round(rM) of what they read (section 3.5.1); inside a segment the fan-in
            of a unit never changes, so there is nothing to compensate and it is not done.
    """

    gates: ClassVar[int]
    weight_ih: nn.Parameter
    weight_hh: nn.Parameter

    def __init__(
        self,
        reads: Layout,
        gives: Layout,
        bias: bool = True,
        firsts: Firsts | None = None,
        rescale: bool = False,
    ) -> None:
        super().__init__()
        self.reads, self.gives, self.rescale = reads, gives, rescale
        self.firsts = (0,) * len(gives.widths) if firsts is None else firsts
        units, rows = gives.widths[-1], self.gates * gives.widths[-1]
        self.weight_ih = nn.Parameter(torch.empty(rows, reads.widths[-1]))
        self.weight_hh = nn.Parameter(torch.empty(rows, units))
        self.bias_ih = nn.Parameter(torch.empty(rows)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(rows)) if bias else None
        for first in set(self.firsts):
            self.register_buffer(f"mask_ih_{first}", self._mask(first, of_inputs=True), persistent=False)
            self.register_buffer(f"mask_hh_{first}", self._mask(first, of_inputs=False), persistent=False)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Uniform within 1/sqrt(units read of the step before), as torch does, block by block."""
        for parameter in self.parameters():
            parameter.zero_()
        for a, b, m, _, _ in self.blocks(-1, len(self.gives.widths) - 1):
            bound = b**-0.5
            for gate in range(self.gates):
                rows = slice(gate * self.gives.widths[-1] + a, gate * self.gives.widths[-1] + b)
                self.weight_ih[rows, :m].uniform_(-bound, bound)
                self.weight_hh[rows, :b].uniform_(-bound, bound)
                for bias in (self.bias_ih, self.bias_hh):
                    if bias is not None:
                        bias[rows].uniform_(-bound, bound)

    def blocks(self, start: int, to: int) -> list[Recurrence]:
        """The recurrences that lead from ``start`` to ``to``; each reads the outputs of the ones before."""
        units, inputs, last = self.gives.widths, self.reads.widths, self.firsts[-1]
        found: list[Recurrence] = []
        done = units[start] if start >= 0 else 0
        for k in range(self.firsts[to], to + 1):
            if units[k] > done:
                scales = (1.0, 1.0)
                if self.rescale:
                    widest = max(k, last)
                    scales = inputs[widest] / inputs[k], units[widest] / units[k]
                found.append(Recurrence(done, units[k], inputs[k], *scales))
                done = units[k]
        return found

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
        outputs: list[Sequences] = []
        ends: list[State] = []
        for a, b, m, sx, sh in self.blocks(start, to):
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

    def at_once(self, x: Sequences, to: int, state: State | None = None) -> tuple[Sequences, State]:
        """All units at ``to`` in one recurrence, for training: the masked weights give the gradients their shape, too.

        Several where they are rescaled differently.
        """
        blocks = self.blocks(-1, to)
        masks = [getattr(self, f"mask_{part}_{self.firsts[to]}") for part in ("ih", "hh")]
        if len(blocks) == 1 or masks[0] is None or any(each.of_inputs != 1 or each.of_states != 1 for each in blocks):
            return self(x, -1, to, None, state)
        units, inputs = self.gives.widths[to], self.reads.widths[to]
        w_ih = self._rows(self.weight_ih * masks[0], 0, units)[:, :inputs]
        w_hh = self._rows(self.weight_hh * masks[1], 0, units)[:, :units]
        biases = [self._rows(bias, 0, units) for bias in (self.bias_ih, self.bias_hh) if bias is not None]
        return self._recur(x, None, self._begin(x, state, units), (w_ih, w_hh[:, :0], w_hh), biases)

    def macs(self, start: int, to: int) -> int:
        """Multiply-adds per step of :meth:`forward`; the products of gates and states, unit by unit, do not count."""
        return self.gates * sum((b - a) * (m + b) for a, b, m, _, _ in self.blocks(start, to))

    def parameter_count(self, to: int) -> int:
        """Weights and biases of the r-net; a nested layer has none above the block diagonal."""
        biases = 0 if self.bias_ih is None else 2 * self.gates * self.gives.widths[to]
        return self.macs(-1, to) + biases

    def masks(self) -> list[tuple[nn.Parameter, Tensor]]:
        """The weights and their masks at full width, zero where a weight is; nothing where all are used."""
        pairs = ((self.weight_ih, "ih"), (self.weight_hh, "hh"))
        masks = [(weight, getattr(self, f"mask_{part}_{self.firsts[-1]}")) for weight, part in pairs]
        return [(weight, mask) for weight, mask in masks if mask is not None]

    def narrow(self, to: int) -> dict[str, Tensor]:
        """The r-net's parameters by torch's names for one layer, rescaled, zero where a unit does not read."""
        units = self.gives.widths[to]
        found = {
            "weight_ih_l0": self.weight_ih.new_zeros(self.gates, units, self.reads.widths[to]),
            "weight_hh_l0": self.weight_hh.new_zeros(self.gates, units, units),
        }
        for a, b, m, sx, sh in self.blocks(-1, to):
            found["weight_ih_l0"][:, a:b, :m] = self.by_gate(self.weight_ih)[:, a:b, :m] * sx
            found["weight_hh_l0"][:, a:b, :b] = self.by_gate(self.weight_hh)[:, a:b, :b] * sh
        found = {name: weight.flatten(0, 1) for name, weight in found.items()}
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
        return self.by_gate(stacked)[:, first:stop].reshape(self.gates * (stop - first), *stacked.shape[1:])

    def by_gate(self, stacked: Tensor) -> Tensor:
        """A weight or bias as (gates, units, ...), a view."""
        return stacked.view(self.gates, self.gives.widths[-1], *stacked.shape[1:])

    def _mask(self, first: int, of_inputs: bool) -> Tensor | None:
        """One where a segment uses a weight, zero elsewhere; None where it is one block."""
        blocks = self.blocks(-1, max(k for k, begins in enumerate(self.firsts) if begins == first))
        if len(blocks) == 1:
            return None
        columns = self.reads.widths[-1] if of_inputs else self.gives.widths[-1]
        mask = torch.zeros(self.gives.widths[-1], columns)
        for a, b, m, _, _ in blocks:
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
        firsts: Firsts | None = None,
        rescale: bool = False,
        nonlinearity: str = "tanh",
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise SlicingError(f"nonlinearity must be tanh or relu, got {nonlinearity!r}")
        super().__init__(reads, gives, bias, firsts, rescale)
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

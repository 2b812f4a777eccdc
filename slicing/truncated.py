"""Training a recurrent network on long texts piece by piece: truncated back-propagation through time."""

from collections.abc import Sequence

from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.network import SlicedNetwork
from slicing.recurrent import Carried, State


class Truncated(nn.Module):
    """A sliced network that begins each piece of the text with the states that the piece before left.

    Gradients end where a piece begins. For :func:`slicing.train`, whose schemes call it like any sliced network; its
    batches are ``((words, number), targets)``, ``number`` being a whole number that says which piece this is: 0 begins
    anew, calls with the same number (other rates of the same step) begin alike. Between pieces the states of the widest
    rate of the step go on. A narrower one reads their first units; units that a wider one has more begin at zero.

    The states belong to this object: one text at a time, one thread.
    """

    def __init__(self, network: SlicedNetwork) -> None:
        super().__init__()
        self.network = network
        self.rates, self.connectivity, self.rescale = network.rates, network.connectivity, network.rescale
        self.spec = network.spec
        self._piece: int | None = None
        self._begin: dict[str, State] = {}
        self._end: dict[str, State] = {}

    def forward(self, words: Tensor, number: Tensor, rate: float | None = None) -> Tensor:
        """Scores of one piece, (N, T, C)."""
        carried = self._enter(int(number))
        scores: Tensor = self.network(words, rate=rate, carried=carried)
        self._leave(carried)
        return scores

    def forward_all(self, words: Tensor, number: Tensor, positions: Sequence[int] | None = None) -> Tensor:
        """The scores of one piece at these positions of the rates, (K, N, T, C) without."""
        carried = self._enter(int(number))
        scores = self.network.forward_all(words, positions=positions, carried=carried)
        self._leave(carried)
        return scores

    def _enter(self, number: int) -> Carried:
        if number == 0:
            self._begin = {}
        elif number != self._piece:
            if self._piece is None or number != self._piece + 1:
                raise SlicingError(f"piece {number} must follow piece {number - 1}, got it after {self._piece}")
            self._begin = {name: tuple(part.detach() for part in state) for name, state in self._end.items()}
        if number != self._piece:
            self._end = {}
        self._piece = number
        return Carried(self._begin)

    def _leave(self, carried: Carried) -> None:
        for name, state in carried.end.items():
            if name not in self._end or state[0].shape[1] >= self._end[name][0].shape[1]:
                self._end[name] = state

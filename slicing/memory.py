"""Memory that sessions use again: fresh pages cost about as much as the arithmetic that a cascade saves.

Cached prefixes live until survivors are chosen, then the survivors' rows are copied and everything else is garbage:
the pattern of a copying garbage collector, and the same remedy. Two spaces; blocks are laid one behind the other in
one of them; choosing survivors copies theirs to the other and empties the first.
"""

from collections import deque

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes: a cache line
SMALLEST_SLAB = 1 << 20  # bytes
MOST_IDLE = 256 << 20  # bytes that a scorer keeps for sessions to come


class Space:
    """Tensors one behind the other, emptied all at once. On the CPU; an accelerator's allocator pools by itself."""

    def __init__(self) -> None:
        self._slabs: list[Tensor] = []
        self._slab, self._at = 0, 0
        self._typed: dict[tuple[int, torch.dtype], Tensor] = {}  # a slab, seen as elements of a type

    def empty(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """An uninitialised (rows, columns) of the type and on the device of ``like``."""
        if not like.is_cpu:
            return like.new_empty(rows, columns)
        itemsize = like.itemsize
        size = rows * columns * itemsize
        while self._slab < len(self._slabs) and self._at + size > self._slabs[self._slab].shape[0]:
            self._slab, self._at = self._slab + 1, 0
        if self._slab == len(self._slabs):
            self._slabs.append(torch.empty(_whole(max(size, self.held, SMALLEST_SLAB)), dtype=torch.uint8))
        typed = self._typed.get((self._slab, like.dtype))
        if typed is None:
            typed = self._typed[self._slab, like.dtype] = self._slabs[self._slab].view(like.dtype)
        room = typed.as_strided((rows, columns), (columns, 1), self._at // itemsize)
        self._at += _whole(size)
        return room

    @property
    def held(self) -> int:
        """Bytes."""
        return sum(slab.shape[0] for slab in self._slabs)

    def mark(self) -> tuple[int, int]:
        """The place behind the last tensor, for :meth:`release`."""
        return self._slab, self._at

    def release(self, mark: tuple[int, int]) -> None:
        """Give up the tensors behind a mark."""
        self._slab, self._at = mark

    def clear(self) -> None:
        """Give up every tensor; the memory stays, in one piece."""
        if len(self._slabs) > 1:
            self._slabs, self._typed = [torch.empty(self.held, dtype=torch.uint8)], {}
        self._slab, self._at = 0, 0


def _whole(size: int) -> int:
    """Bytes, rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


class Memory:
    """The two spaces of one session."""

    def __init__(self) -> None:
        self.space, self._other = Space(), Space()

    @property
    def held(self) -> int:
        """Bytes."""
        return self.space.held + self._other.held

    def flip(self) -> Space:
        """Go on in the other space, which is empty, and return the one left: to be cleared after the copying."""
        self.space, self._other = self._other, self.space
        return self._other

    def clear(self) -> None:
        """Give up every tensor in both."""
        self.space.clear()
        self._other.clear()


class Pool:
    """Memories of finished sessions, for the next ones; safe across threads."""

    def __init__(self) -> None:
        self._idle: deque[Memory] = deque()

    def lend(self) -> Memory:
        """A memory nobody else uses."""
        try:
            return self._idle.pop()
        except IndexError:
            return Memory()

    def take_back(self, memory: Memory) -> None:
        """A session is over; beyond :data:`MOST_IDLE` its memory is freed."""
        memory.clear()
        if sum(idle.held for idle in tuple(self._idle)) + memory.held <= MOST_IDLE:
            self._idle.append(memory)

"""Scoring at one rate, choosing survivors, and widening to a later rate with what was computed before."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Literal
from weakref import finalize

import torch
from torch import Tensor

from slicing.cache import Chunk
from slicing.conv import SlicedConv2d
from slicing.errors import SlicingError
from slicing.flops import Cost, cost
from slicing.inputs import Queries
from slicing.memory import Pool
from slicing.mixing import Mixing
from slicing.network import SlicedNetwork
from slicing.packed import PackedLayer
from slicing.rates import rate_index
from slicing.reuse import Reuse

Mode = Literal["fresh", "reuse", "recompute"]

# Copying one cached number takes about as long as this many multiply-adds: what decides between reusing and
# recomputing. `python -m bench.copy_cost` measures 4 to 150, the more the larger the activation; 64 suits large ones.
MULTIPLY_ADDS_PER_COPY = 64

# Images flow through in chunks whose largest activation stays in the processor's cache between one layer and the next.
# Flat features don't need that, because a matrix product works in cache-sized blocks itself: there a chunk only bounds
# the memory, and a large one leaves fewer calls.
IMAGE_CHUNK_BYTES = 16 << 20
FLAT_CHUNK_BYTES = 64 << 20

LANES = 16
"""Channels of fp32 in a vector of 512 bits, which convolutions on processors that have it are blocked by."""


class IncrementalScorer:
    """A sliced network, ready to score candidates stage by stage.

    The weights are packed when they are first used and kept: after more training make a new one.
    Sessions are independent of each other and may
    run in several threads.

    >>> scorer = IncrementalScorer(network)                     # doctest: +SKIP
    >>> session = scorer.start(images)                          # doctest: +SKIP
    >>> scores = session.widen(0.5)                             # doctest: +SKIP
    >>> session.select(scores[:, 0].topk(10).indices.sort().values)  # doctest: +SKIP
    >>> session.widen(1.0)                                      # doctest: +SKIP

    Args:
        network: of any connectivity.
        reuse: ``auto`` takes over what is exact, nothing where a segment begins and no layer outlasts it, and that only
            where it costs less than a pass from scratch. ``always`` takes over everything, at a segment's border and
            so at every step of a dense network the approximation of section 3.4; ``never`` nothing.
        chunk: candidates that flow through the network together; None chooses by the size of the activations.
        lanes: channels that the processor's vector unit computes at once. Blocks of a convolution that do not fill them
            are joined where that costs nothing (see :func:`slicing.mixing.joined`); the zeros between them are no
            arithmetic of the network, and its FLOPs don't count them. 1 joins none.

    Raises:
        SlicingError: for an unknown reuse, a chunk or lanes below 1.
    """

    def __init__(
        self, network: SlicedNetwork, *, reuse: Reuse = "auto", chunk: int | None = None, lanes: int = LANES
    ) -> None:
        if reuse not in ("auto", "always", "never"):
            raise SlicingError(f"reuse must be auto, always or never, got {reuse!r}")
        if chunk is not None and chunk < 1:
            raise SlicingError(f"chunk must be at least 1, got {chunk}")
        if lanes < 1:
            raise SlicingError(f"lanes must be at least 1, got {lanes}; 1 joins no blocks")
        self.network, self.reuse, self.chunk, self.lanes = network, reuse, chunk, lanes
        self._packed: dict[tuple[str, int, int], PackedLayer] = {}
        self._costs: dict[tuple[tuple[int, ...], ...], Cost] = {}
        self.pool = Pool()

    def start(self, *inputs: Tensor | None, queries: Tensor | None = None) -> "Session":
        """Begin with candidates.

        Args:
            inputs: (N, ...) each, as the network takes them; None for one that the first rates do not read, to be given
                later by :meth:`Session.give`.
            queries: int64 (N,), numbers of at least 0 that say whose query each candidate is of. With them, each of the
                network's query inputs has a row per query, by rising number, and what depends on these alone is
                computed once per query. Without, or in a network that has none, every input has a row per candidate.

        Raises:
            SlicingError: when the number of inputs, of candidates or of queries does not match, or one is no tensor.
        """
        expected = self.network.spec.inputs
        self.network.inputs.check(inputs)
        given = {name: x for name, x in zip(expected, inputs, strict=True) if x is not None}
        by_query = () if queries is None else self.network.spec.query_inputs
        rows = [len(x) for name, x in given.items() if name not in by_query]
        rows += [] if queries is None else [len(queries)]
        if len(set(rows)) != 1:
            raise SlicingError(f"every input must hold the same candidates, got {rows} rows")
        session = Session(self, rows[0], queries if by_query else None, self._shapes(given))
        session.give(given)
        return session

    def _shapes(self, given: Mapping[str, Tensor]) -> tuple[tuple[int, ...], ...]:
        """The shape of one candidate in each input; what is given later is (N, features), or ids."""
        spec = self.network.spec
        sizes = spec.input_features or (None,) * len(spec.inputs)
        return tuple(
            tuple(given[name].shape[1:]) if name in given else () if size is None else (size,)
            for name, size in zip(spec.inputs, sizes, strict=True)
        )

    def cost(self, shapes: tuple[tuple[int, ...], ...]) -> Cost:
        """The arithmetic of candidates of these shapes."""
        if shapes not in self._costs:
            self._costs[shapes] = cost(self.network, shapes if len(shapes) > 1 else shapes[0])
        return self._costs[shapes]

    def packed(self, name: str, layer: Mixing, start: int, to: int) -> PackedLayer:
        """A layer's weight blocks between two rates, packed at first use."""
        key = (name, start, to)
        found = self._packed.get(key)
        if found is None:
            # Only convolutions are computed in blocks of channels; matrix products choose blocks of their own.
            found = self._packed[key] = layer.pack(start, to, self.lanes if isinstance(layer, SlicedConv2d) else 1)
        return found

    def chunk_size(self, costs: Cost) -> int:
        """Candidates in a chunk."""
        if self.chunk is not None:
            return self.chunk
        images = any(isinstance(layer, SlicedConv2d) for _, layer in self.network.layer_modules())
        budget = IMAGE_CHUNK_BYTES if images else FLAT_CHUNK_BYTES
        return max(1, budget // (4 * costs.largest_activation()))


class Session:
    """Candidates on their way from rate to rate.

    Attributes:
        mode: how the last :meth:`widen` went: ``fresh``; ``reuse`` when it took over anything of what was computed
            before; else ``recompute``.
        flops: multiply-adds per candidate of the last :meth:`widen`; what ran once per query is shared out.
    """

    def __init__(
        self, scorer: IncrementalScorer, count: int, queries: Tensor | None, shapes: tuple[tuple[int, ...], ...]
    ) -> None:
        self.mode: Mode = "fresh"
        self.flops: float = 0
        self._scorer, self._network = scorer, scorer.network
        self._cost = scorer.cost(shapes)
        self._reached = -1
        self._rows = scorer.chunk_size(self._cost)
        self._memory = scorer.pool.lend()
        finalize(self, scorer.pool.take_back, self._memory).atexit = False
        self._chunks = [
            Chunk(
                self._network,
                stop - at,
                [None] * len(shapes),
                None if queries is None else Queries.of(queries[at:stop]),
                scorer.packed,
                scorer.reuse,
                self._memory,
            )
            for at, stop in pairwise(chunk_bounds(count, self._rows, queries))
        ]

    def __len__(self) -> int:
        return sum([chunk.count for chunk in self._chunks])

    def give(self, inputs: Mapping[str, Tensor]) -> None:
        """Inputs that the next rates read, of the candidates still in.

        Args:
            inputs: by name, (candidates still in, ...) in their order; where the session was told queries, query inputs
                have a row for each query that still has candidates, by rising number.

        Raises:
            SlicingError: for an unknown name or another number of rows.
        """
        names = self._network.inputs.names
        queries = [chunk.queries for chunk in self._chunks if chunk.queries is not None]
        numbers = torch.cat([each.numbers for each in queries]).unique() if queries else torch.empty(0)
        bounds = [0, *accumulate(len(chunk) for chunk in self._chunks)]
        for name, x in inputs.items():
            if name not in names:
                raise SlicingError(f"{name!r} is not one of the network's inputs {list(names)}; name one of them")
            by_query = bool(queries) and name in self._network.spec.query_inputs
            wanted, what = (len(numbers), "queries") if by_query else (bounds[-1], "candidates")
            if len(x) != wanted:
                raise SlicingError(f"input {name!r} must have a row for each of {wanted} {what}, got {len(x)}")
            for chunk, at, stop in zip(self._chunks, bounds, bounds[1:], strict=False):
                if by_query and chunk.queries is not None:
                    part = x[torch.searchsorted(numbers, chunk.queries.numbers)]
                else:
                    part = x[at:stop]
                chunk.inputs[names.index(name)] = _image_layout(part)

    @torch.inference_mode()
    def widen(self, rate: float) -> Tensor:
        """Scores of the candidates still in, at a later rate.

        Args:
            rate: one of the network's rates, wider than the last one asked for.

        Returns:
            (N, C) in the candidates' order.

        Raises:
            SlicingError: for a rate that is not wider.
        """
        to = rate_index(self._network.rates, rate)
        if to <= self._reached:
            reached = self._network.rates[self._reached]
            raise SlicingError(f"can only widen: rate {rate} does not lie above {reached}, reached before")
        share = self._queries_per_candidate()
        start = self._begin_at(to, share)
        self.flops = self._cost.flops_shared(to, start, share, self._scorer.reuse)
        if start < 0:
            for chunk in self._chunks:
                chunk.forget()
        scores = [chunk.advance(start, to) for chunk in self._chunks]
        self._reached = to
        return torch.cat(scores)  # a copy even of one: a head's sum is kept

    @torch.inference_mode()
    def select(self, rows: Tensor) -> None:
        """Keep these candidates alone, copying no more than the cached prefixes of theirs.

        Args:
            rows: int64 (survivors,), rising positions among the candidates still in.

        Raises:
            SlicingError: when the positions do not rise or lie outside.
        """
        rows = torch.as_tensor(rows)
        if rows.dim() != 1 or (len(rows) and rows.dtype not in (torch.int32, torch.int64)):
            raise SlicingError(f"survivors must be given as whole positions (N,), got {rows.dtype} {tuple(rows.shape)}")
        rows = rows.long().contiguous()
        chosen, count = rows.shape[0], len(self)
        places = rows.numpy(force=True)  # for checks as small as these numpy's calls cost less than torch's
        if chosen and (places[0] < 0 or places[-1] >= count or (places[1:] <= places[:-1]).any()):
            raise SlicingError(f"survivors must be rising positions below {count}, got {rows[:5].tolist()}...")
        if chosen == count:
            return
        bounds = [0, *accumulate(len(chunk) for chunk in self._chunks)]
        packs: Sequence[Tensor] = (rows,)
        if chosen > self._rows:
            cuts = chunk_bounds(chosen, self._rows, self._queries_of(rows))
            packs = rows.split([stop - at for at, stop in pairwise(cuts)])
        left = self._memory.flip()
        self._chunks = [self._pack(pack, bounds) for pack in packs]
        left.clear()

    def _queries_of(self, rows: Tensor) -> Tensor | None:
        """The number of the query of each candidate at these positions; None where they were not told."""
        known = [chunk.queries.numbers[chunk.queries.index] for chunk in self._chunks if chunk.queries is not None]
        return torch.cat(known)[rows] if known else None

    def _queries_per_candidate(self) -> float:
        if self._chunks[0].queries is None:
            return 1
        return sum(len(chunk.queries) for chunk in self._chunks if chunk.queries is not None) / max(1, len(self))

    def _begin_at(self, to: int, share: float) -> int:
        start = begin_at(self._cost, self._reached, to, share, self._scorer.reuse)
        self.mode = "fresh" if self._reached < 0 else "recompute" if start < 0 else "reuse"
        return start

    def _pack(self, rows: Tensor, bounds: Sequence[int]) -> Chunk:
        """The survivors at these positions, out of the chunks that begin at these bounds."""
        if len(self._chunks) == 1 or not rows.shape[0]:
            return Chunk.gathered([(self._chunks[0], rows)])
        cuts = torch.searchsorted(rows, torch.tensor(bounds)).tolist()
        parts = [
            (chunk, rows[first:stop] - bound)
            for chunk, bound, first, stop in zip(self._chunks, bounds, cuts, cuts[1:], strict=False)
            if stop > first
        ]
        return Chunk.gathered(parts)


def chunk_bounds(count: int, most: int, queries: Tensor | None = None) -> list[int]:
    """Where chunks begin and end: as large as allowed, and where a query ends, so that its own part runs once.

    Args:
        count: candidates.
        most: in a chunk, at least 1.
        queries: (count,) whose query each is of, a query's candidates in a row; one of more than ``most`` is cut.

    Returns:
        Rising from 0 to ``count``, at least two.
    """
    ends = None if queries is None or count <= most else (queries[1:] != queries[:-1]).nonzero()[:, 0] + 1
    bounds = [0]
    while bounds[-1] < count or len(bounds) < 2:
        stop = min(bounds[-1] + most, count)
        if ends is not None and stop < count:
            before = int(torch.searchsorted(ends, stop, right=True))
            if before and int(ends[before - 1]) > bounds[-1]:
                stop = int(ends[before - 1])
        bounds.append(stop)
    return bounds


def begin_at(costs: Cost, reached: int, to: int, share: float = 1, reuse: Reuse = "auto") -> int:
    """The rate's position whose activations a step takes over: the one reached before, or -1 where it starts anew.

    Args:
        costs: of a candidate.
        reached, to: positions of rates; ``reached=-1`` before the first step.
        share: queries per candidate, see :class:`Cost`.
        reuse: as :class:`IncrementalScorer` takes it.
    """
    if reached < 0 or reuse == "never":
        return -1
    if reuse == "auto":
        step, anew = (costs.flops_shared(to, start, share) for start in (reached, -1))
        copies = costs.cached_values(reached, share) * MULTIPLY_ADDS_PER_COPY
        return reached if step + copies < anew else -1
    return reached


def reuse_error(network: SlicedNetwork, *inputs: Tensor) -> list[dict[str, float]]:
    """How far scores with reuse, widened through every rate, lie from recomputed ones: zero when nested.

    Args:
        network: nested or dense.
        inputs: (N, ...) each.

    Returns:
        For each rate ``rate``, ``mean`` and ``max`` absolute difference, and ``disagree``, the share of candidates
        whose highest class changes.
    """
    session = IncrementalScorer(network, reuse="always").start(*inputs)
    exact = IncrementalScorer(network, reuse="never").start(*inputs)
    errors = []
    for rate in network.rates:
        ours, theirs = session.widen(rate), exact.widen(rate)
        gap = (ours - theirs).abs()
        changed = _best(ours) != _best(theirs)
        errors.append(
            {
                "rate": rate,
                "mean": float(gap.mean()),
                "max": float(gap.max()),
                "disagree": float(changed.float().mean()),
            }
        )
    return errors


def _best(scores: Tensor) -> Tensor:
    return scores.reshape(len(scores), -1).argmax(1)


def _image_layout(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x

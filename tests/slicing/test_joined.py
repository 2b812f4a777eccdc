"""Blocks of a convolution that don't fill a vector are joined where that costs nothing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from slicing import IncrementalScorer, SlicedNetwork, SlicingError, convert
from slicing.mixing import Block, joined
from slicing.models import small_cnn


@st.composite
def layers(draw: st.DrawFn) -> list[Block]:
    """A layer's blocks: rows end to end, ever more columns."""
    rows = draw(st.lists(st.integers(1, 40), min_size=1, max_size=6))
    columns = sorted(draw(st.lists(st.integers(1, 300), min_size=len(rows), max_size=len(rows))))
    stops = [sum(rows[: k + 1]) for k in range(len(rows))]
    return [Block(b - r, b, m, 1.0) for r, b, m in zip(rows, stops, columns, strict=True)]


def vectors(rows: int, lanes: int) -> int:
    return (rows + lanes - 1) // lanes


@given(layers(), st.integers(1, 32))
def test_joined_blocks_are_all_of_them_in_order_and_never_take_more_vectors(blocks: list[Block], lanes: int) -> None:
    groups = joined(blocks, lanes)
    assert [block for group in groups for block in group] == blocks
    apart = sum(vectors(b.stop - b.first, lanes) * b.columns for b in blocks)
    together = sum(vectors(group[-1].stop - group[0].first, lanes) * group[-1].columns for group in groups)
    assert together <= apart
    if lanes == 1:
        assert all(len(group) == 1 for group in groups)


def test_blocks_that_fill_their_vectors_stay_apart_and_narrow_ones_are_joined() -> None:
    full = [Block(0, 16, 8, 1.0), Block(16, 32, 16, 1.0)]
    narrow = [Block(0, 4, 8, 1.0), Block(4, 8, 16, 1.0), Block(8, 16, 24, 1.0)]
    assert joined(full, 16) == [[full[0]], [full[1]]]
    assert joined(narrow, 16) == [narrow]
    scaled = [narrow[0], narrow[1]._replace(scale=2.0)]
    assert joined(scaled, 16) == [[scaled[0]], [scaled[1]]]


# in the mixed network the last rate reads weights that narrower ones must not
@pytest.mark.parametrize(
    ("connectivity", "moves"),
    [("nested", ((None, 1.0), (0.25, 1.0), (None, 0.75))), ("mixed@1", ((None, 0.75), (0.25, 0.75), (0.25, 0.5)))],
)
def test_a_joined_pass_gives_the_scores_of_one_block_by_block_in_fewer_products(
    connectivity: str, moves: tuple[tuple[float | None, float], ...]
) -> None:
    torch.manual_seed(0)
    dense = convert(small_cnn(10, 0.5), [0.25, 0.5, 0.75, 1.0], "dense")
    network = SlicedNetwork(dense.spec, dense.rates, connectivity).eval()
    network.reset_parameters()
    x = torch.randn(5, 1, 8, 8)
    apart, together = IncrementalScorer(network, lanes=1), IncrementalScorer(network)
    for start, to in moves:
        scores, arithmetic = [], []
        for scorer in (apart, together):
            session = scorer.start(x)
            if start is not None:
                session.widen(start)
            with FlopCounterMode(display=False) as counter:
                scores.append(session.widen(to))
            arithmetic.append(counter.get_total_flops() / 2)
            reported = session.flops * len(x)
        assert torch.allclose(*scores, atol=1e-5)
        assert arithmetic[0] == reported <= arithmetic[1]  # the zeros are not the network's arithmetic
        assert arithmetic[0] < arithmetic[1] or (start, to) == (0.25, 0.5)


def test_no_lanes_are_refused() -> None:
    network = convert(small_cnn(10, 0.5), [0.5, 1.0], "dense")
    with pytest.raises(SlicingError, match="lanes must be at least 1, got 0"):
        IncrementalScorer(network, lanes=0)

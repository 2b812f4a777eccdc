"""Each sliced layer against loops over its units, for any pair of rates."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing import (
    Layout,
    SlicedConcat,
    SlicedConv2d,
    SlicedEmbedding,
    SlicedGroupedConv2d,
    SlicedGroupNorm,
    SlicedLinear,
    SlicingError,
)
from slicing.layout import concatenated

RANDOM = settings(max_examples=60, deadline=None)
rising = st.lists(st.integers(1, 3), min_size=3, max_size=3).map(lambda s: (s[0], s[0] + s[1], sum(s)))
spans = st.sampled_from([(-1, 0), (-1, 1), (-1, 2), (0, 1), (0, 2), (1, 2)])
SEGMENTS = {"nested": (0, 0, 0), "dense": (0, 1, 2), "mixed@2": (0, 1, 1), "mixed@3": (0, 0, 2)}  # rates 1, 2 and 3
FIRSTS = pytest.mark.parametrize("firsts", SEGMENTS.values(), ids=SEGMENTS)


def block(layout: Layout, unit: int) -> int:
    return next(k for k, width in enumerate(layout.widths) if unit < width)


def heard_by(unit: int, out: Layout, into: Layout, firsts: tuple[int, ...], to: int) -> int:
    """Inputs that a unit reads at a rate: those of its block, or of its segment's first rate where that is wider."""
    return into.widths[max(block(out, unit), firsts[to])]


def parts_of(x: torch.Tensor, cuts: list[int]) -> list[torch.Tensor]:
    """x in pieces along its units, as an incremental pass holds it."""
    edges = sorted({0, x.shape[-1], *(cut for cut in cuts if cut < x.shape[-1])})
    return [x[:, a:b] for a, b in pairwise(edges)]


@FIRSTS
@given(
    reads=rising, gives=rising, at=spans, bias=st.booleans(), rescale=st.booleans(), cuts=st.lists(st.integers(1, 8))
)
@RANDOM
def test_linear_unit_by_unit(firsts, bias, reads, gives, at, rescale, cuts):
    (start, to), into, out = at, Layout.of(reads, -1), Layout.of(gives, -1)
    layer = SlicedLinear(into, out, bias, firsts, rescale).double()
    if bias:
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, reads[to]).double()
    expected = []
    for unit in range(gives[start] if start >= 0 else 0, gives[to]):
        heard = heard_by(unit, out, into, firsts, to)
        scale = heard_by(unit, out, into, firsts, 2) / heard if rescale else 1.0
        total = sum(layer.weight[unit, i] * x[:, i] for i in range(heard)) * scale
        expected.append(total + (layer.bias[unit] if bias else 0.0))
    expected = torch.stack(expected, 1)
    with torch.no_grad():
        assert torch.allclose(layer(x, start, to), expected)
        assert torch.allclose(layer.pack(start, to)(parts_of(x, cuts)), expected)
        if start == -1:
            assert torch.allclose(layer.at_once(x, to), expected)
            assert torch.allclose(
                F.linear(x, layer.whole_weight(to), layer.bias[: gives[to]] if bias else None), expected
            )
    assert layer.macs(start, to) == sum(
        heard_by(unit, out, into, firsts, to) for unit in range(gives[start] if start >= 0 else 0, gives[to])
    )


@given(reads=rising, at=spans, outputs=st.integers(1, 3), bias=st.booleans(), rescale=st.booleans(), conv=st.booleans())
@RANDOM
def test_the_additive_head_sums_over_blocks(reads, at, outputs, bias, rescale, conv):
    (start, to), axis = at, 1 if conv else -1
    gives = Layout.fixed(outputs, 3, axis)
    if conv:
        layer = SlicedConv2d(Layout.of(reads), gives, (1, 1), bias=bias, head=True).double()
    else:
        layer = SlicedLinear(Layout.of(reads, -1), gives, bias, rescale=rescale, head=True).double()
    x = torch.randn(2, reads[to], *((2, 3) if conv else ())).double()
    first = reads[start] if start >= 0 else 0
    weight = layer.weight[:, :, 0, 0] if conv else layer.weight
    share = sum(torch.stack([weight[o, i] * x[:, i] for o in range(outputs)], 1) for i in range(first, reads[to]))
    with torch.no_grad():
        assert torch.allclose(layer(x[:, first:], start, to), share)
        assert torch.allclose(layer.pack(start, to)((x[:, first:],)), share)
        scale = reads[-1] / reads[to] if rescale and not conv else 1.0
        shift = layer.bias.reshape(-1, *((1, 1) if conv else ())) if bias else 0.0
        assert torch.allclose(layer.finish_head(share, to), scale * share + shift)
    assert layer.macs(start, to) == outputs * (reads[to] - first)
    assert layer.parameter_count(to) == outputs * reads[to] + (outputs if bias else 0)


@FIRSTS
@given(
    reads=rising,
    gives=rising,
    at=spans,
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
@RANDOM
def test_convolution_unit_by_unit(firsts, reads, gives, at, stride, padding, dilation):
    (start, to), out = at, Layout.of(gives)
    options = {"stride": (stride, 1), "padding": (padding, 0), "dilation": (1, dilation)}
    into = Layout.of(reads)
    layer = SlicedConv2d(into, out, (2, 3), firsts=firsts, **options).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(1, reads[to], 5, 6).double()
    expected = []
    for unit in range(gives[start] if start >= 0 else 0, gives[to]):
        heard = heard_by(unit, out, into, firsts, to)
        kernel = layer.weight[unit : unit + 1, :heard]
        expected.append(F.conv2d(x[:, :heard], kernel, layer.bias[unit : unit + 1], **options))
    expected = torch.cat(expected, 1)
    with torch.no_grad():
        assert torch.allclose(layer(x, start, to), expected)
        assert torch.allclose(layer.pack(start, to)((x,)), expected)
        if start == -1:
            assert torch.allclose(layer.at_once(x, to), expected)


@FIRSTS
@given(reads=rising, gives=rising)
@RANDOM
def test_the_full_widths_weights_begin_with_the_variance_of_their_fan_in_and_no_others_do(firsts, reads, gives):
    into, out = Layout.of([64 * units for units in reads], -1), Layout.of([16 * units for units in gives], -1)
    layer = SlicedLinear(into, out, firsts=firsts)
    for unit in range(0, out.widths[-1], 16):
        heard = heard_by(unit, out, into, firsts, 2)
        rows = layer.weight[unit : unit + 16]
        assert rows[:, :heard].var().item() == pytest.approx(2 / heard, rel=0.3)
        assert not rows[:, heard:].any()
        if layer.mask is not None:
            assert layer.mask[unit].tolist() == [1.0] * heard + [0.0] * (into.widths[-1] - heard)


def test_an_unsliced_input_is_read_whole_in_one_product():
    layer = SlicedLinear(Layout.fixed(3, 3, -1), Layout.of((2, 4, 6), -1))
    assert layer.blocks(-1, 2) == [(0, 6, 3, 1.0)]
    assert layer.blocks(0, 2) == [(2, 6, 3, 1.0)]
    assert layer.mask is None
    nested = SlicedLinear(Layout.of((1, 2, 3), -1), Layout.of((2, 4, 6), -1))
    assert nested.blocks(-1, 2) == [(0, 2, 1, 1.0), (2, 4, 2, 1.0), (4, 6, 3, 1.0)]
    assert nested.blocks(1, 2) == [(4, 6, 3, 1.0)]
    assert nested.parameter_count(1) == 2 * 1 + 2 * 2 + 4
    head = SlicedLinear(Layout.fixed(3, 2, -1), Layout.fixed(2, 2, -1), head=True)
    assert head.column_span(-1, 0) == (0, 3)
    assert head.column_span(0, 1) == (3, 3)
    assert head.macs(0, 1) == 0


@pytest.mark.parametrize("units", [2, 4])
def test_an_input_of_another_width_is_refused(units):
    layer = SlicedLinear(Layout.of((1, 3), -1), Layout.of((2, 4), -1))
    with pytest.raises(SlicingError, match=f"reads 3 units at this rate got {units}"):
        layer(torch.zeros(1, units), -1, 1)
    with pytest.raises(SlicingError, match=f"reads 3 units at this rate got {units}"):
        layer.pack(-1, 1)((torch.zeros(1, 1), torch.zeros(1, units - 1)))


@given(group=st.integers(1, 2), out=st.integers(1, 2), cuts=rising, at=spans, bias=st.booleans())
@RANDOM
def test_grouped_convolution_is_the_plain_one_cut(group, out, cuts, at, bias):
    start, to = at
    reads = Layout.of(tuple(group * cut for cut in cuts))
    layer = SlicedGroupedConv2d(
        reads, out * cuts[-1], cuts[-1], (3, 3), padding=(1, 1), bias=bias, rates=(0.3, 0.6, 1.0)
    ).double()
    x = torch.randn(2, reads.widths[-1], 4, 4).double()
    whole = F.conv2d(x, layer.weight, layer.bias, 1, 1, 1, cuts[-1])
    old, new = (cuts[start] if start >= 0 else 0), cuts[to]
    assert layer.gives.widths == tuple(out * cut for cut in cuts)
    with torch.no_grad():
        assert torch.allclose(layer(x[:, group * old : group * new], start, to), whole[:, out * old : out * new])
    assert layer.macs(start, to) == out * (new - old) * group * 9
    assert layer.parameter_count(to) == out * new * group * 9 + (out * new if bias else 0)


@given(group=st.integers(1, 3), cuts=rising, at=spans, affine=st.booleans())
@RANDOM
def test_group_norm_is_the_plain_one_cut(group, cuts, at, affine):
    start, to = at
    reads = Layout.of(tuple(group * cut for cut in cuts))
    layer = SlicedGroupNorm(reads, cuts[-1], 1e-3, affine, rates=(0.3, 0.6, 1.0)).double()
    if affine:
        torch.nn.init.normal_(layer.weight)
        torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, reads.widths[-1], 2, 3).double()
    whole = F.group_norm(x, cuts[-1], layer.weight, layer.bias, 1e-3)
    old, new = (reads.widths[start] if start >= 0 else 0), reads.widths[to]
    with torch.no_grad():
        assert torch.allclose(layer(x[:, old:new], start, to), whole[:, old:new])
    assert layer.parameter_count(to) == (2 * new if affine else 0)
    layer.reset_parameters()
    assert not affine or (bool((layer.weight == 1).all()) and not layer.bias.any())


@given(cuts=rising, at=spans, padding=st.sampled_from([None, 0, 2]))
@RANDOM
def test_embedding_is_the_first_columns_of_the_table(cuts, at, padding):
    start, to = at
    layer = SlicedEmbedding(5, Layout.of(cuts, -1), padding)
    ids = torch.tensor([[0, 4], [2, 2]])
    old, new = (cuts[start] if start >= 0 else 0), cuts[to]
    assert torch.equal(layer(ids, start, to), layer.weight[ids][..., old:new])
    assert padding is None or not layer.weight[padding].any()
    assert layer.parameter_count(to) == 5 * new


def test_the_padding_row_does_not_learn():
    layer = SlicedEmbedding(3, Layout.of((2, 4), -1), 1)
    layer(torch.tensor([0, 1]), -1, 1).sum().backward()
    assert layer.weight.grad[0].tolist() == [1.0] * 4
    assert not layer.weight.grad[1].any()


@given(first=rising, second=rising, at=spans)
@RANDOM
def test_concatenation_interleaves_block_by_block(first, second, at):
    start, to = at
    branches = [Layout.of(first), Layout.of(second)]
    layer = SlicedConcat(branches, concatenated(branches), 1)
    whole = [torch.arange(float(widths[-1])).reshape(1, -1) + 100 * i for i, widths in enumerate((first, second))]
    new = [x[:, (w[start] if start >= 0 else 0) : w[to]] for x, w in zip(whole, (first, second), strict=True)]
    expected = [
        whole[i][0, unit].item()
        for k in range(start + 1, to + 1)
        for i, widths in enumerate((first, second))
        for unit in range(widths[k - 1] if k else 0, widths[k])
    ]
    assert layer(new, start, to)[0].tolist() == expected

"""Block order against a list of units written out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slicing import Layout, SlicingError
from slicing.layout import concatenated

branches_of = st.integers(1, 4).flatmap(
    lambda rates: st.lists(
        st.lists(st.integers(0, 3), min_size=rates, max_size=rates).map(
            lambda steps: tuple(sum(steps[: k + 1]) + 1 for k in range(rates))
        ),
        min_size=1,
        max_size=3,
    )
)


@given(branches=branches_of, repeat=st.integers(1, 3))
def test_plain_positions_lead_from_block_order_to_branch_order(branches, repeat):
    layout = concatenated([Layout.of(branch) for branch in branches]).times(repeat, "flatten")
    wide = [[(b, unit) for unit in range(branch[-1] * repeat)] for b, branch in enumerate(branches)]
    assert layout.widths == tuple(sum(branch[k] for branch in branches) * repeat for k in range(len(branches[0])))
    for k in range(len(branches[0])):
        block_order = [
            unit
            for block in range(k + 1)
            for b, branch in enumerate(branches)
            for unit in wide[b][(branch[block - 1] * repeat if block else 0) : branch[block] * repeat]
        ]
        branch_order = [unit for b, branch in enumerate(branches) for unit in wide[b][: branch[k] * repeat]]
        places = layout.plain_positions(k)
        if len(branches) == 1:
            assert places is None
            assert block_order == branch_order
        else:
            assert [branch_order[place] for place in places.tolist()] == block_order
            assert places.dtype == torch.int64


def test_the_prefix_of_a_wide_block_order_is_the_narrow_one():
    layout = concatenated([Layout.of((1, 2)), Layout.of((2, 3))])  # A0 B0 B1 | A1 B2
    assert layout.plain_positions(0).tolist() == [0, 1, 2]
    assert layout.plain_positions(1).tolist() == [0, 2, 3, 1, 4]


def test_a_flatten_is_resolved_by_the_layer_that_reads_it():
    pending = Layout(((2, 4),), True, pending=True)
    assert pending.resolve(12, "fc") == Layout(((6, 12),), True)
    with pytest.raises(SlicingError, match="fc: reads 13 features, but what flows into it has 4 units"):
        pending.resolve(13, "fc")
    with pytest.raises(SlicingError, match="fc: reads 8 features"):
        Layout.of((2, 4)).resolve(8, "fc")
    assert Layout.of((2, 4)).resolve(4, "fc").widths == (2, 4)
    assert Layout.fixed(5, 3).widths == (5, 5, 5)
    assert Layout.fixed(5, 3).plain_positions(0) is None


def test_units_on_the_last_axis_cannot_be_flattened_with_other_positions():
    last = Layout.of((2, 4), axis=-1)
    assert last.times(1, "flatten").widths == (2, 4)
    with pytest.raises(SlicingError, match="flatten: flattens 3 positions whose units lie on the last axis"):
        last.times(3, "flatten")
    assert Layout.fixed(4, 2, axis=-1).times(3, "flatten").widths == (12, 12)

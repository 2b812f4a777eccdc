"""The latency table against its measurements, and the promises policies rely on: monotone, inverse, complete."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import CallableScorer, CascadeError, LatencyTable, StageInfo, measure_latency
from cascade.latency import FRESH, steps

SIZES = (1, 4, 16)
times = st.lists(st.floats(1e-6, 10.0), min_size=3, max_size=3)


@st.composite
def tables(draw: st.DrawFn) -> LatencyTable:
    stages = draw(st.integers(1, 3))
    return LatencyTable(SIZES, {step: draw(times) for step in steps(stages)})


def test_steps_are_each_stage_fresh_and_each_pair() -> None:
    assert sorted(steps(3)) == [(-1, 0), (-1, 1), (-1, 2), (0, 1), (0, 2), (1, 2)]


def test_times_written_out() -> None:
    table = LatencyTable(SIZES, {(FRESH, 0): [1.0, 4.0, 10.0]})
    assert [table.seconds(0, n) for n in (0, 1, 2, 4, 10, 16, 32)] == [0.0, 1.0, 2.0, 4.0, 7.0, 10.0, 20.0]
    assert table.most(0, 6.9, 100) == 9
    assert table.most(0, 7.0, 100) == 10
    assert table.most(0, 20.0, 100) == 32
    assert table.most(0, 20.0, 5) == 5
    assert table.most(0, 0.5, 5) == 0


@given(tables(), st.integers(0, 100), st.integers(0, 100))
def test_a_larger_batch_is_never_quicker(table: LatencyTable, a: int, b: int) -> None:
    few, many = sorted((a, b))
    for stage in range(table.stages):
        assert table.seconds(stage, few) <= table.seconds(stage, many)


@given(tables(), st.floats(0, 30), st.integers(0, 80))
def test_most_is_the_last_size_that_fits(table: LatencyTable, left: float, limit: int) -> None:
    fits = [n for n in range(limit + 1) if table.seconds(0, n) <= left]
    assert table.most(0, left, limit) == max(fits)


@given(tables(), st.integers(1, 80), st.floats(0, 30), st.data())
def test_widest_is_the_last_stage_that_fits(table: LatencyTable, n: int, left: float, data: st.DataObject) -> None:
    start = data.draw(st.integers(FRESH, table.stages - 1))
    fits = [stage for stage in range(start + 1, table.stages) if table.seconds(stage, n, start) <= left]
    assert table.widest(n, left, start) == (max(fits) if fits else None)


@given(tables(), st.floats(0, 3), st.integers(0, 100))
def test_headroom_makes_every_step_slower_by_its_share(table: LatencyTable, share: float, n: int) -> None:
    slower = table.with_headroom(share)
    for start, stage in steps(table.stages):
        expected = pytest.approx((1 + share) * table.seconds(stage, n, start))
        assert slower.seconds(stage, n, start) == expected


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_headroom_out_of_range_is_refused(share: float) -> None:
    table = LatencyTable((1,), {(FRESH, 0): [1.0]})
    with pytest.raises(CascadeError, match="headroom must be a share of at least 0"):
        table.with_headroom(share)


@given(tables())
def test_a_table_survives_its_frame(table: LatencyTable) -> None:
    again = LatencyTable.of_frame(table.frame().sample(fraction=1, shuffle=True, seed=1))
    assert again.sizes == table.sizes
    assert again.frame().equals(table.frame())


@pytest.mark.parametrize(
    ("sizes", "seconds"),
    [
        ((), {(FRESH, 0): []}),
        ((2, 4), {(FRESH, 0): [1, 1]}),
        ((1, 1), {(FRESH, 0): [1, 1]}),
        ((1, 2), {(FRESH, 0): [1, 0.0]}),
        ((1, 2), {(FRESH, 0): [1, float("nan")]}),
        ((1, 2), {(FRESH, 0): [1]}),
        ((1, 2), {(FRESH, 0): [1, 1], (FRESH, 1): [1, 1]}),  # the step from stage 0 to 1 is missing
        ((1, 2), {}),
    ],
)
def test_an_incomplete_table_is_refused(sizes: tuple[int, ...], seconds: dict) -> None:
    with pytest.raises(CascadeError):
        LatencyTable(sizes, seconds)


def test_measuring_times_each_step_by_the_clock_and_takes_medians() -> None:
    """Stage k takes (k + 1) seconds a candidate, the first of four rounds of 8 calls and the last ten times as long."""
    time, calls = 0.0, 0

    def stage(k: int):  # type: ignore[no-untyped-def]
        def score(frame: pl.DataFrame) -> np.ndarray:
            nonlocal time, calls
            calls += 1
            time += (k + 1) * len(frame) * (1 if 8 < calls <= 3 * 8 else 10)
            return np.zeros(len(frame))

        return score

    scorer = CallableScorer([stage(0), stage(1)], [StageInfo(None, 0, 0.0)] * 2)
    table = measure_latency(scorer, lambda n: pl.DataFrame({"docid": range(n)}), (1, 3), repeats=3, clock=lambda: time)
    assert [table.seconds(0, n) for n in (1, 3)] == [1, 3]
    assert [table.seconds(1, n) for n in (1, 3)] == [2, 6]
    assert [table.seconds(1, n, start=0) for n in (1, 3)] == [2, 6]

"""Slice rates and legal widths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicing import SlicingError, check_rates, legal_rates, width, widths
from slicing.rates import rate_index


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([], "at least one"),
        ([0.0, 1.0], r"in \(0, 1\], got \[0.0, 1.0\]"),
        ([-0.5, 1.0], r"in \(0, 1\]"),
        ([0.5, 1.5], r"in \(0, 1\]"),
        ([float("nan"), 1.0], r"in \(0, 1\]"),
        ([0.5, 0.25, 1.0], r"rise strictly, got \[0.5, 0.25, 1.0\]; try \[0.25, 0.5, 1.0\]"),
        ([0.5, 0.5, 1.0], "rise strictly"),
        ([0.25, 0.5], r"last rate must be 1.0, .* append 1.0"),
        (["a", 1.0], "must be numbers"),
        ([None], "must be numbers"),
        (None, "must be numbers"),
        (0.5, "must be numbers"),
        ([[0.5], 1.0], "must be numbers"),
    ],
)
def test_rates_that_are_none_are_refused(rates, message):
    with pytest.raises(SlicingError, match=message):
        check_rates(rates)


def test_rates_come_back_as_floats():
    assert check_rates([0.25, 1]) == (0.25, 1.0)
    assert all(type(rate) is float for rate in check_rates(iter([1])))


def test_a_rate_is_found_in_spite_of_rounding():
    assert rate_index((0.1, 0.3, 1.0), 0.1 + 0.2) == 1
    assert rate_index((0.5, 1.0), None) == 1
    with pytest.raises(SlicingError, match=r"rate 0\.4 is not one of"):
        rate_index((0.5, 1.0), 0.4)


@pytest.mark.parametrize(
    ("rate", "units", "expected"), [(0.5, 5, 3), (0.5, 7, 4), (0.1, 5, 1), (0.375, 64, 24), (1 / 3, 3, 1), (1.0, 9, 9)]
)
def test_halves_round_up(rate, units, expected):
    assert width(rate, units) == expected


@given(units=st.integers(1, 200), granularity=st.integers(1, 8))
def test_legal_rates_are_all_the_rates_that_split_no_group(units, granularity):
    units *= granularity
    legal = legal_rates(units, granularity)
    assert [width(rate, units) for rate in legal] == list(range(granularity, units + 1, granularity))
    assert widths(legal, units, granularity) == tuple(width(rate, units) for rate in legal)


@given(units=st.integers(1, 64), rates=st.lists(st.floats(0.001, 1.0), min_size=1, max_size=4, unique=True))
def test_widths_are_legal_or_refused(units, rates):
    rates = check_rates(sorted({*rates, 1.0}))
    expected = [int(rate * units + 0.5) for rate in rates]
    if expected[0] == 0 or len(set(expected)) < len(expected):
        with pytest.raises(SlicingError):
            widths(rates, units)
    else:
        assert widths(rates, units) == tuple(expected)


@pytest.mark.parametrize(
    ("rates", "units", "granularity", "message"),
    [
        (
            (0.1, 1.0),
            4,
            1,
            r"fc: rate 0.1 asks for 0 of 4 units, which uses no unit at all; legal widths: 1 \(rate 0.25\)",
        ),
        ((0.3, 1.0), 12, 4, r"fc: rate 0.3 asks for 4"),
        (
            (0.5, 1.0),
            12,
            4,
            r"fc: rate 0.5 asks for 6 of 12 units, which splits a group of 4; legal widths: 4 .* 8 .* 12",
        ),
        ((0.5, 1.0), 10, 4, r"splits a group of 4"),
        ((0.4, 0.5, 1.0), 4, 1, r"rates 0.4 and 0.5 both use 2 of 4 units, .* add nothing; legal widths: 1"),
        ((0.001, 1.0), 100, 1, r"multiples of 1 up to 100 \(rates k/100\)"),
        ((1e-12, 1.0), 2**31 - 1, 1, r"multiples of 1 up to 2147483647"),
    ],
)
def test_widths_that_are_none_are_refused_with_the_legal_ones(rates, units, granularity, message):
    if (units, granularity, rates[0]) == (12, 4, 0.3):
        assert widths(rates, units, granularity, "fc") == (4, 12)
        return
    with pytest.raises(SlicingError, match=message):
        widths(rates, units, granularity, "fc")

"""Ticks against whole-number arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from cascade.ticks import SystemClock, Ticks


@given(st.integers(-1000, 1000), st.integers(1, 50), st.integers(0, 5000))
def test_ticks_of_whole_numbers(origin: int, interval: int, time: int) -> None:
    ticks = Ticks(origin, interval)
    later = next(t for t in range(origin, origin + 10**6, interval) if t >= origin + time)
    assert ticks.at_or_after(origin + time) == later
    strictly = next(t for t in range(origin, origin + 10**6, interval) if t > origin + time)
    assert ticks.after(origin + time) == strictly


@given(st.floats(0.01, 10), st.integers(0, 10**5))
def test_a_tick_is_its_own_tick_in_floating_point(interval: float, k: int) -> None:
    ticks = Ticks(0.3, interval)
    tick = ticks.after(0.3 + (k + 0.5) * interval)
    assert ticks.at_or_after(tick) == tick
    assert abs(ticks.after(tick) - tick - interval) < 1e-6 * interval + 1e-9


def test_the_system_clock_does_not_fall() -> None:
    clock = SystemClock()
    assert clock.now() <= clock.now()

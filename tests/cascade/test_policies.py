"""The policies: the paper's rule written out, monotone in load and time, and what the anytime policy spends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Always, Anytime, CascadeError, DropExcess, LatencyRule, LatencyTable, PaperRule, Policy
from cascade.latency import FRESH
from cascade.policies import score_in_time

RATES = (0.25, 0.5, 0.75, 1.0)


def quadratic(per_candidate: float = 1.0) -> LatencyTable:
    """Stage k takes r^2 t a candidate, and widening the difference."""
    cost = [rate**2 * per_candidate for rate in RATES]
    seconds = {
        (start, stage): [cost[stage] - (cost[start] if start != FRESH else 0)]
        for stage in range(4)
        for start in range(FRESH, stage)
    }
    return LatencyTable((1,), seconds)


def test_the_papers_rule_written_out() -> None:
    """t = 1 ms, T/2 = 100 ms: n r^2 <= 100, so r = 1 up to 100, 0.75 up to 177, 0.5 up to 400, then 0.25."""
    rule = PaperRule(RATES, 0.001)
    chosen = {n: RATES[rule.first(n, 0.1)] for n in (1, 99, 101, 177, 178, 399, 401, 1600, 5000)}
    assert chosen == {1: 1, 99: 1, 101: 0.75, 177: 0.75, 178: 0.5, 399: 0.5, 401: 0.25, 1600: 0.25, 5000: 0.25}


def test_the_rule_holds_at_equality() -> None:
    assert PaperRule(RATES, 0.5).first(4, 2.0) == 3  # 4 * 1 * 0.5 = 2


POLICIES = [
    PaperRule(RATES, 1.0),
    LatencyRule(quadratic()),
    Anytime(quadratic()),
    Always(0),
    Always(3),
    DropExcess(quadratic(), 3),
]


@given(st.sampled_from(POLICIES), st.integers(1, 300), st.integers(0, 100), st.floats(0, 300), st.floats(0, 100))
def test_more_load_or_less_time_never_widens(policy: Policy, n: int, more: int, left: float, less: float) -> None:
    assert reached(policy, n + more, left) <= reached(policy, n, left)
    assert reached(policy, n, max(0.0, left - less)) <= reached(policy, n, left)


def reached(policy: Policy, n: int, left: float, slower: float = 1.0) -> int:
    """The stage a batch ends with when scoring takes `slower` times what the table says."""
    return run(policy, n, left, slower)[0]


def run(policy: Policy, n: int, left: float, slower: float = 1.0) -> tuple[int, float]:
    table, time, at = quadratic(), 0.0, FRESH

    def score(stage: int) -> int:
        nonlocal time, at
        time += slower * table.seconds(stage, n, at)
        at = stage
        return stage

    scores, stage = score_in_time(policy, n, score, now=lambda: time, begun=0.0, until=left)
    assert scores == stage == at
    return stage, time


@given(st.integers(1, 2000), st.floats(0.1, 300))
def test_with_exact_times_the_rules_agree_and_hold_the_limit(n: int, left: float) -> None:
    stage, time = run(LatencyRule(quadratic()), n, left)
    assert stage == reached(PaperRule(RATES, 1.0), n, left)
    assert time <= left or stage == 0


@given(st.integers(1, 2000), st.floats(0.1, 300))
def test_anytime_holds_the_limit_and_is_as_wide_as_the_rule(n: int, left: float) -> None:
    """Increments of an exact table add up, up to rounding: a hair more time pays for it."""
    stage, time = run(Anytime(quadratic()), n, left * (1 + 1e-9))
    assert time <= left * (1 + 1e-9) or stage == 0
    assert stage >= reached(LatencyRule(quadratic()), n, left)


@given(st.integers(1, 2000), st.floats(0.1, 300), st.floats(1, 5))
def test_anytime_on_a_slower_machine_stops_in_time(n: int, left: float, slower: float) -> None:
    stage, time = run(Anytime(quadratic()), n, left, slower)
    assert time <= left * (1 + 1e-9) or stage == 0


def test_dropping_admits_what_fits_at_full_width() -> None:
    policy = DropExcess(quadratic(0.01), 3)
    assert [policy.admit(n, 1.0) for n in (5, 100, 101, 500)] == [5, 100, 100, 100]
    assert policy.first(100, 1.0) == 3


def test_the_others_admit_everything() -> None:
    assert all(each.admit(10**6, 0.0) == 10**6 for each in POLICIES if not isinstance(each, DropExcess))


@pytest.mark.parametrize("rates", [(), (0.5, 0.5), (1.0, 0.5), (0.0, 1.0), (0.5, 1.5)])
def test_rates_that_are_none_are_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(CascadeError, match="rates"):
        PaperRule(rates, 1.0)


@pytest.mark.parametrize("time", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time: float) -> None:
    with pytest.raises(CascadeError, match="time"):
        PaperRule(RATES, time)

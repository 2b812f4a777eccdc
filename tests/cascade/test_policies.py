"""The policies: the paper's rule written out, monotone in load and time, and what the anytime policy spends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cascade import Always, Anytime, CascadeError, DropExcess, LatencyRule, LatencyTable, PaperRule, Policy
from cascade.latency import FRESH, steps
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


def run(
    policy: Policy, n: int, left: float, slower: float = 1.0, table: LatencyTable | None = None
) -> tuple[int, float]:
    """The stage a batch ends with, and when."""
    table, time, at = table or quadratic(), 0.0, FRESH

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


def with_overhead(share: float) -> LatencyTable:
    """As `quadratic`, but to widen takes a share longer than the difference."""
    fresh = quadratic()
    seconds = {
        (start, stage): [fresh.seconds(stage, 1, start) * (1 if start == FRESH else 1 + share)]
        for start, stage in steps(4)
    }
    return LatencyTable((1,), seconds)


@given(st.integers(1, 2000), st.floats(0.1, 300), st.floats(0, 2))
def test_anytime_holds_the_limit_and_is_never_narrower_than_the_rule(n: int, left: float, overhead: float) -> None:
    table = with_overhead(overhead)
    stage, time = run(Anytime(table), n, left, table=table)
    rule, rule_time = run(LatencyRule(table), n, left, table=table)
    assert stage >= rule
    assert time <= left * (1 + 1e-9) or (stage, time) == (rule, rule_time) == (0, rule_time)


@given(st.integers(1, 2000), st.floats(0.1, 300), st.floats(0, 2))
def test_anytime_starts_as_narrow_as_costs_nothing(n: int, left: float, overhead: float) -> None:
    table = with_overhead(overhead)
    policy = Anytime(table)
    start, (reached, _) = policy.first(n, left), run(policy, n, left, table=table)
    for narrower in range(start):
        stage, _ = run(_From(table, narrower), n, left, table=table)
        assert stage <= reached
        assert stage < reached or left < 1.00001 * (table.seconds(narrower, n) + table.seconds(reached, n, narrower))


class _From(Anytime):
    """Anytime with a start of one's own."""

    def __init__(self, table: LatencyTable, start: int) -> None:
        super().__init__(table)
        self.start = start

    def first(self, n: int, left: float) -> int:
        return self.start


def test_anytime_written_out() -> None:
    """Fresh 1, 4, 9, 16 of 16 units a candidate; widening takes half as much again as the difference."""
    policy = Anytime(with_overhead(0.5))
    # 1 + 1.5 * 15 = 23.5 units for narrow then whole, 4 + 18 = 22, 9 + 10.5 = 19.5, 16 at once
    chosen = {units: policy.first(1, units / 16) for units in (24, 23, 20, 19, 16, 15, 14, 12, 10, 9, 6, 5, 4, 0.5)}
    # 0.75: 1 + 12 = 13, 4 + 7.5 = 11.5, 9; 0.5: 1 + 4.5 = 5.5, 4
    assert chosen == {24: 0, 23: 1, 20: 2, 19: 3, 16: 3, 15: 0, 14: 0, 12: 1, 10: 2, 9: 2, 6: 0, 5: 1, 4: 1, 0.5: 0}


@given(st.integers(1, 2000), st.floats(0.1, 300), st.floats(1, 5))
def test_anytime_on_a_slower_machine_stops_after_its_start_or_in_time(n: int, left: float, slower: float) -> None:
    policy = Anytime(quadratic())
    stage, time = run(policy, n, left, slower)
    assert time <= left * (1 + 1e-9) or stage == policy.first(n, left)


@given(st.integers(1, 2000), st.floats(0.1, 300), st.floats(0, 2), st.floats(1, 3))
def test_headroom_covers_a_machine_that_much_slower(n: int, left: float, headroom: float, slower: float) -> None:
    """Before anything is measured it is all there is; after the start the pace is known."""
    table = with_overhead(0.5)  # without overhead the start is always the narrowest, which needs none
    stage, time = run(Anytime(table, headroom), n, left, min(slower, 1 + headroom), table)
    assert time <= left * (1 + 1e-9) or stage == 0


@given(st.integers(1, 2000), st.floats(0.1, 300), st.floats(0, 2), st.floats(0, 1))
def test_a_pace_that_is_known_takes_less_headroom(n: int, left: float, headroom: float, share: float) -> None:
    table = with_overhead(0.2)
    later = headroom * share
    stage, time = run(Anytime(table, headroom, later), n, left, table=table)
    assert stage >= reached_with(Anytime(table.with_headroom(headroom)), n, left, table)
    assert time <= left * (1 + 1e-9) or stage == 0


def test_a_detour_is_no_slow_pace() -> None:
    """Widening takes twice the difference: 4 of 16 units by way of the first stage are 1 + 6, and 24 more reach 16."""
    policy = Anytime(with_overhead(1.0))
    assert policy.widen(1, [0, 1], 7 / 16, 24 / 16) == 3
    assert policy.widen(1, [0, 1], 7.1 / 16, 24 / 16) == 2


def test_headroom_of_a_widening_written_out() -> None:
    """Fresh 1, 4, 9, 16 of 16 units, widening the difference; 1 unit spent at the pace of the table, 15 to go."""
    table = quadratic()
    assert Anytime(table, later=0.2).widen(1, [0], 1 / 16, 18 / 16) == 3
    assert Anytime(table, later=0.2).widen(1, [0], 1 / 16, 17.9 / 16) == 2
    assert Anytime(table, later=0.2).widen(1, [0], 2 / 16, 19.2 / 16) == 2  # at half the pace 8 units take 19.2


def reached_with(policy: Policy, n: int, left: float, table: LatencyTable) -> int:
    return run(policy, n, left, table=table)[0]


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.0, float("nan"))])
def test_shares_that_are_no_headroom_are_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(CascadeError, match="headroom must be a share of at least 0"):
        Anytime(quadratic(), *shares)


def test_dropping_written_out() -> None:
    """A hundred candidates fit in a second: two thirds of 150; ten of 24, which is three of each and one more."""
    policy = DropExcess(quadratic(0.01), 3)
    assert policy.admit([60, 40], 1.0) == [60, 40]
    assert policy.admit([90, 60], 1.0) == [60, 40]
    assert policy.admit([8, 8, 8], 0.1) == [4, 3, 3]
    assert policy.admit([1, 1, 1], 0.02) == [1, 1, 0]
    assert policy.admit([5, 5], 0.0) == [0, 0]
    assert policy.first(100, 1.0) == 3


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.floats(0, 300))
def test_dropping_uses_the_time_and_takes_the_same_share_of_all(sizes: list[int], left: float) -> None:
    table = quadratic()
    admits = DropExcess(table, 3).admit(sizes, left)
    total, kept = sum(sizes), sum(admits)
    assert table.seconds(3, kept) <= left
    assert kept == total or table.seconds(3, kept + 1) > left
    assert all(0 <= admit <= size for admit, size in zip(admits, sizes, strict=True))
    extra = [
        admit * total - size * kept for admit, size in zip(admits, sizes, strict=True)
    ]  # over the share, in totals
    assert all(-total < each <= total for each in extra)
    more = [each > 0 for each in extra]
    assert more == sorted(more, reverse=True)  # rounded up for the first, down for the others


def test_the_others_admit_everything() -> None:
    assert all(list(each.admit([10**6, 1], 0.0)) == [10**6, 1] for each in POLICIES if not isinstance(each, DropExcess))


@pytest.mark.parametrize("rates", [(), (0.5, 0.5), (1.0, 0.5), (0.0, 1.0), (0.5, 1.5)])
def test_rates_that_are_none_are_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(CascadeError, match="rates"):
        PaperRule(rates, 1.0)


@pytest.mark.parametrize("time", [0.0, -1.0, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time: float) -> None:
    with pytest.raises(CascadeError, match="time"):
        PaperRule(RATES, time)

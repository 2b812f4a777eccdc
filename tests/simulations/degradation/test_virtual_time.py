"""Virtual time against an event loop that goes through every moment, and what holds for any trace and policy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade import Always, Anytime, DropExcess, LatencyRule, LatencyTable, PaperRule, Policy
from cascade.latency import FRESH, steps
from simulations.degradation.served import SHED, Served
from simulations.degradation.virtual_time import serve_virtually

UNIT = 1 / 1024  # of a second: whole units are exact in floating point
HALF = 32  # T/2 in units
COSTS = (1, 4, 9)  # units a candidate takes at each stage; widening costs the difference
RATES = (0.25, 0.5, 0.75)
TABLE = LatencyTable(
    (1,),
    {(start, stage): [(COSTS[stage] - (COSTS[start] if start != FRESH else 0)) * UNIT] for start, stage in steps(3)},
)
POLICIES: dict[str, Policy] = {
    "narrowest": Always(0),
    "full": Always(2),
    "drop": DropExcess(TABLE, 2),
    "paper-rule": PaperRule(RATES, 16 * UNIT),  # r^2 t is 1, 4 and 9 units
    "latency-rule": LatencyRule(TABLE),
    "anytime": Anytime(TABLE),
}

RIGHT = np.random.default_rng(0).random((3, 7)) < [[0.25], [0.5], [0.75]]  # (stages, images)

traces = st.lists(st.integers(0, 400), max_size=60).map(sorted)


def brute_force(name: str, arrivals: list[int], size: int) -> list[tuple[int, int, int, int] | None]:
    """For each request (stage, begun, finished, candidates scored) in units, None for one that was shed."""
    found: dict[int, tuple[int, int, int, int] | None] = {}
    waiting: list[int] = []
    free = moment = 0
    while len(found) < len(arrivals):
        waiting += [k for k, arrival in enumerate(arrivals) if arrival == moment]
        due = any(moment >= -(-arrivals[k] // HALF) * HALF for k in waiting)
        if due and moment >= free:
            left = HALF - moment % HALF
            batch, waiting = waiting, []
            kept = dict.fromkeys(batch, size)
            if name == "drop" and len(batch) * size * COSTS[2] > left:
                each, more = divmod(left // COSTS[2], len(batch))
                kept = {k: each + (place < more) for place, k in enumerate(batch)}
            n = sum(kept.values())
            stage = {"narrowest": 0, "full": 2, "drop": 2}.get(name, -1)
            if stage < 0:
                stage = 0
                for wider in (1, 2):
                    if n * COSTS[wider] <= left:
                        stage = wider
            if n:
                free = moment + n * COSTS[stage]
            found |= {k: (stage, moment, free, own) if own else None for k, own in kept.items()}
        moment += 1
    return [found[k] for k in range(len(arrivals))]


def serve(policy: Policy, arrivals: list[int], size: int, table: LatencyTable = TABLE) -> Served:
    images = np.arange(len(arrivals) * size).reshape(-1, size) % RIGHT.shape[1]
    return serve_virtually(np.array(arrivals, dtype=float) * UNIT, images, policy, table, 2 * HALF * UNIT, RIGHT)


@pytest.mark.parametrize("name", POLICIES)
@given(arrivals=traces, size=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_as_an_event_loop_does(name: str, arrivals: list[int], size: int) -> None:
    served = serve(POLICIES[name], arrivals, size)
    for k, wanted in enumerate(brute_force(name, arrivals, size)):
        if wanted is None:
            assert served.stage[k] == SHED
            assert np.isnan([served.begun[k], served.finished[k]]).all()
            assert served.right[k] == 0
        else:
            stage, begun, finished, scored = wanted
            assert (served.stage[k], served.begun[k], served.finished[k]) == (stage, begun * UNIT, finished * UNIT)
            assert served.delivered[k] == served.finished[k]
            assert served.scored[k] == scored / size
            assert served.right[k] == sum(RIGHT[stage, (k * size + i) % 7] for i in range(scored)) / size


@pytest.mark.parametrize("name", POLICIES)
@given(arrivals=traces)
@settings(max_examples=25, deadline=None)
def test_every_request_is_answered_or_shed_once_and_in_order(name: str, arrivals: list[int]) -> None:
    served = serve(POLICIES[name], arrivals, 1)
    answered = served.stage != SHED
    assert len(served.stage) == len(arrivals)
    assert (answered == np.isfinite(served.finished)).all()
    assert (served.begun[answered] >= served.arrived[answered]).all()
    assert (served.finished[answered] > served.begun[answered]).all()
    assert (np.diff(served.finished[answered]) >= 0).all()
    assert name == "drop" or answered.all()


@given(arrivals=traces)
@settings(max_examples=40, deadline=None)
def test_policies_that_hold_the_time_answer_within_the_limit(arrivals: list[int]) -> None:
    """Whenever the narrowest stage is quick enough for every batch, the rules and anytime are never late."""
    narrowest = serve(POLICIES["narrowest"], arrivals, 1)
    if (narrowest.finished - narrowest.begun > HALF * UNIT).any():
        return
    for name in ("paper-rule", "latency-rule", "anytime"):
        served = serve(POLICIES[name], arrivals, 1)
        assert (served.finished - served.arrived <= 2 * HALF * UNIT).all()
        assert (served.stage >= narrowest.stage).all()


@given(arrivals=traces, overhead=st.floats(0, 2), size=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_anytime_serves_the_latency_rules_batches_with_stages_no_narrower(
    arrivals: list[int], overhead: float, size: int
) -> None:
    """Whatever widening costs: where the table tells the truth, both end every batch before the next is due."""
    seconds = {
        (start, stage): [TABLE.seconds(stage, 1, start) * (1 if start == FRESH else 1 + overhead)]
        for start, stage in steps(3)
    }
    table = LatencyTable((1,), seconds)
    anytime, rule = (serve(policy(table), arrivals, size, table) for policy in (Anytime, LatencyRule))
    assert np.array_equal(anytime.begun, rule.begun)
    assert (anytime.stage >= rule.stage).all()
    half = HALF * UNIT
    late = anytime.finished - rule.finished > 0
    assert (anytime.finished <= np.floor(anytime.begun / half) * half + half + 1e-12)[late].all()


def test_no_requests() -> None:
    assert len(serve(Always(0), [], 1).stage) == 0

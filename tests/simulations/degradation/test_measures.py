"""The measures against numbers counted by hand."""

import numpy as np
import pytest

from simulations.degradation.arrivals import Profile
from simulations.degradation.measures import BINS, Outcome, answered_by, at_peak, over_time, summary
from simulations.degradation.served import Served

NAN = float("nan")
PROFILE = Profile("steps", "hour", (0.0, 12.0, 24.0), (1.0, 2.0))
# T = 2: a batch of two from 1 to 2, delivered at 2 and 2.25 (late), one shed, one from 4 to 7 (late), one from 7 to 7.5
SERVED = Served(
    arrived=np.array([0.0, 0.125, 2.5, 3.5, 6.0]),
    begun=np.array([1.0, 1.0, NAN, 4.0, 7.0]),
    finished=np.array([2.0, 2.0, NAN, 7.0, 7.5]),
    delivered=np.array([2.0, 2.25, NAN, 7.0, 7.5]),
    stage=np.array([0, 0, -1, 1, 1]),
    scored=np.array([1.0, 1.0, 0.0, 1.0, 0.75]),
    right=np.array([1.0, 0.5, 0.0, 1.0, 0.5]),
)
OUTCOME = Outcome("one", SERVED, (0.25, 1.0), 8.0, 2.0)


def test_summary_counted_by_hand() -> None:
    found = summary(OUTCOME, at_peak(SERVED.arrived, PROFILE, 8.0))
    assert found["requests"] == found["answered"] + found["shed"] == 5
    assert (found["late"], found["shed"], found["batches"]) == (2, 1, 3)
    assert found["within"] == 2 / 5
    assert found["within_at_peak"] == 1  # the last one alone came in the second half
    assert found["latency"]["max"] == 3.5
    assert found["latency"]["p50"] == np.median([2.0, 2.125, 3.5, 1.5])
    assert found["candidates_scored"] == 3.75 / 5
    assert found["right"] == (1 + 0.5 + 1 + 0.5) / 3.75  # of what was scored
    assert found["right_within"] == (1 + 0.5) / 5
    assert found["rate"] == (0.25 + 0.25 + 1 + 1) / 4
    assert found["utilisation"] == (1 + 3 + 0.5) / 8
    assert found["batches_within_half"] == 2 / 3


def test_over_time_adds_up_to_the_summary() -> None:
    frame = over_time(OUTCOME, PROFILE)
    assert len(frame) == BINS
    assert frame["requests"].sum() == 5
    assert frame["shed"].sum() == 1
    assert frame["at"][0] == 24 / BINS / 2
    assert frame["utilisation"].sum() * 8 / BINS == pytest.approx(4.5)
    first = frame.row(0, named=True)
    assert (first["requests"], first["within"], first["right"], first["right_within"]) == (2, 0.5, 0.75, 0.5)
    last = frame.row(int(6 / 8 * BINS), named=True)
    assert (last["requests"], last["within"], last["right"], last["rate"]) == (1, 1.0, 0.5 / 0.75, 1.0)
    assert last["candidates_scored"] == 0.75
    shed = frame.row(int(2.5 / 8 * BINS), named=True)
    assert (shed["shed"], shed["within"], shed["right"], shed["right_within"]) == (1, 0.0, None, 0.0)


def test_answered_by_counts_the_shed_as_never() -> None:
    assert answered_by(OUTCOME, [1.0, 1.5, 2.0, 4.0]) == [0.0, 0.2, 0.4, 0.8]


def test_a_service_that_answers_nothing() -> None:
    nan = np.array([NAN])
    nothing = Served(np.array([1.0]), nan, nan, nan, np.array([-1]), np.array([0.0]), np.array([0.0]))
    found = summary(Outcome("none", nothing, (1.0,), 8.0, 2.0), np.array([True]))
    assert (found["within"], found["right"], found["right_within"], found["rate"]) == (0.0, None, 0.0, None)
    assert (found["latency"]["max"], found["utilisation"], found["batches_within_half"]) == (None, 0.0, None)
    assert over_time(Outcome("none", nothing, (1.0,), 8.0, 2.0), PROFILE)["utilisation"].sum() == 0


def test_served_survives_its_frame() -> None:
    again = Served.of_frame(SERVED.frame())
    assert all(np.array_equal(value, vars(again)[name], equal_nan=True) for name, value in vars(SERVED).items())

"""Load profiles, their files, and Poisson arrivals."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from data import DataError
from simulations.degradation.arrivals import VOLATILE_DAY, Profile, poisson_arrivals, read_profile

STEPS = Profile("steps", "hour", (0.0, 1.0, 3.0), (1.0, 4.0))


def test_the_volatile_day_is_what_it_is_called() -> None:
    assert VOLATILE_DAY.volatility == 16
    assert VOLATILE_DAY.loads[0] == 10 * min(VOLATILE_DAY.loads)
    assert len(VOLATILE_DAY.loads) == len(VOLATILE_DAY.edges) - 1 == 24


def test_arrivals_rise_within_the_trace_and_depend_on_the_seed_alone() -> None:
    times = poisson_arrivals(STEPS, 6.0, 100.0, [1])
    assert (np.diff(times) >= 0).all()
    assert times.min() >= 0
    assert times.max() < 6
    assert np.array_equal(times, poisson_arrivals(STEPS, 6.0, 100.0, [1]))
    assert not np.array_equal(times[:9], poisson_arrivals(STEPS, 6.0, 100.0, [2])[:9])


def test_counts_are_poisson_with_the_profiles_load() -> None:
    """Steps of 2 s at 25 a second and 4 s at 100: 50 and 400 expected; variance equal to the mean."""
    drawn = [poisson_arrivals(STEPS, 6.0, 100.0, [seed]) for seed in range(400)]
    low = np.array([(times < 2).sum() for times in drawn])
    high = np.array([(times >= 2).sum() for times in drawn])
    for counts, mean in ((low, 50), (high, 400)):
        assert abs(counts.mean() - mean) < 4 * np.sqrt(mean / len(counts))
        assert 0.75 < counts.var() / mean < 1.25
    late = np.concatenate([times[times >= 2] for times in drawn])
    assert stats.kstest(late[:5000], stats.uniform(2, 4).cdf).pvalue > 1e-4


def test_a_trace_file(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("requests,seconds\n10,100\n60,110\n0,140\n")
    profile = read_profile(path)
    assert profile.edges == (100, 110, 140, 170)
    assert profile.loads == (1, 2, 0)
    assert profile.volatility is None
    times = poisson_arrivals(profile, 7.0, 50.0, [0])
    assert times.max() < 4  # nothing comes in the last interval
    assert profile.position(np.array([0.0, 7.0]), 7.0).tolist() == [100, 170]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seconds,load\n0,1\n1,2\n", "requests"),
        ("seconds,requests\n0,1\n", "two rows"),
        ("seconds,requests\n0,1\n1,\n", "finite"),
        ("seconds,requests\n0,1\n1,x\n", "finite"),
        ("seconds,requests\n0,1\n0,2\n", "rise"),
        ("seconds,requests\n1,1\n0,2\n2,1\n", "rise"),
        ("seconds,requests\n0,1\n1,-2\n", "at least 0"),
        ("seconds,requests\n0,0\n1,0\n", "above"),
    ],
)
def test_a_wrong_trace_file_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "load.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_profile(path)
    assert "\n" not in str(caught.value)


def test_a_missing_trace_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        read_profile(tmp_path / "none.csv")

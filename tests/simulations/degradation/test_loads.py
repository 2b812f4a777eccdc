"""How long a trace lasts and how heavy it is, by hand; one that is too heavy is refused at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from cascade import CascadeError, LatencyTable
from simulations.degradation import SCALES, DegradationSettings, simulate_degradation
from simulations.degradation.arrivals import VOLATILE_DAY, Profile, poisson_arrivals, read_profile
from simulations.degradation.loads import MOST_REQUESTS, Load, loads, own_load

SCALE = replace(SCALES["smoke"], candidates=2, latency=1.0, virtual_seconds=600.0, live_seconds=12.0)
DAY = DegradationSettings(Path("out"), SCALE)
# a candidate takes the narrowest rate 1/256 s, so that in T/2 = 0.5 s it scores 64 requests: 128 a second
TABLE = LatencyTable((1,), {(-1, 0): [1 / 256]})


@pytest.fixture
def own(tmp_path: Path) -> tuple[DegradationSettings, Profile]:
    path = tmp_path / "load.csv"
    path.write_text("seconds,requests\n1000,100\n1010,400\n")
    return replace(DAY, trace=path), read_profile(path)


def played(settings: DegradationSettings, profile: Profile) -> dict[str, tuple[float, float]]:
    return {mode: (load.seconds, load.peak) for mode, load in loads(settings, profile, TABLE).items()}


def test_the_day_is_scaled_in_both_modes() -> None:
    expected = {"virtual": (600.0, 0.5 * 128), "live": (12.0, 0.5 * 128)}
    assert played(DAY, VOLATILE_DAY) == played(replace(DAY, peak_load=0.5), VOLATILE_DAY) == expected
    assert played(replace(DAY, peak_load=0.25), VOLATILE_DAY)["virtual"] == (600.0, 32.0)


def test_ones_own_trace_keeps_its_seconds_and_requests_in_virtual_time(
    own: tuple[DegradationSettings, Profile],
) -> None:
    settings, profile = own
    assert played(settings, profile) == {"virtual": (20.0, 40.0), "live": (12.0, 0.5 * 128)}
    assert profile.expected(20.0, 40.0).tolist() == [100, 400]
    drawn = [len(poisson_arrivals(profile, 20.0, 40.0, [seed])) for seed in range(100)]
    assert sum(drawn) / 100 == pytest.approx(500, abs=4 * 500**0.5 / 10)


def test_ones_own_trace_is_scaled_when_told_so(own: tuple[DegradationSettings, Profile]) -> None:
    settings, profile = own
    assert played(replace(settings, peak_load=0.25), profile) == {"virtual": (20.0, 32.0), "live": (12.0, 32.0)}


def test_what_was_done_is_said(own: tuple[DegradationSettings, Profile]) -> None:
    settings, profile = own

    def said(settings: DegradationSettings, mode: str, profile: Profile = profile) -> Load:
        return loads(settings, profile, TABLE)[mode].text

    share = "its peak scaled to {} of what the narrowest rate scores in time"
    assert said(settings, "virtual") == "kept its own 20.0 s and requests per second"
    assert said(settings, "live") == f"was made to last 12.0 s, {share.format(0.5)}"
    assert said(replace(settings, peak_load=0.25), "virtual") == f"kept its own 20.0 s, {share.format(0.25)}"
    assert said(DAY, "virtual", VOLATILE_DAY) == f"was made to last 10 min 0 s, {share.format(0.5)}"


@pytest.mark.parametrize("requests", ["10000001", "1e300", "99"])
def test_a_trace_too_heavy_or_light_for_virtual_time_is_refused_before_any_work(
    tmp_path: Path, requests: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        raise AssertionError("data was loaded")

    monkeypatch.setattr("simulations.degradation.run.load_data", work)
    path = tmp_path / "load.csv"
    path.write_text(f"seconds,requests\n0,0\n1e-3,{requests}\n")
    with pytest.raises(CascadeError, match=r"load\.csv: a trace must bring 100 to 10,000,000 .*--peak-load") as caught:
        simulate_degradation(replace(DAY, out=tmp_path / "out", trace=path), "slicerank")
    assert "\n" not in str(caught.value)


def test_a_trace_too_long_for_the_peak_asked_for_is_refused(tmp_path: Path) -> None:
    """128 requests a second at the full peak load, all along."""
    longest = MOST_REQUESTS / 128
    settings = replace(DAY, trace=tmp_path / "load.csv", peak_load=1.0)
    fits = Profile("load.csv", "second", (0.0, longest), (1e9,))
    assert played(settings, fits)["virtual"] == (longest, 128.0)
    assert own_load(settings, fits) is None  # its own requests don't matter then
    for seconds, remedy in ((1.01 * longest, "shorter"), (0.7, "longer")):
        with pytest.raises(CascadeError, match=f"{remedy} or .* another --peak-load"):
            loads(settings, Profile("load.csv", "second", (0.0, seconds), (1.0,)), TABLE)


def test_a_latency_for_not_one_request_is_refused() -> None:
    with pytest.raises(CascadeError, match="longer --latency"):
        loads(replace(DAY, latency=0.01), VOLATILE_DAY, TABLE)

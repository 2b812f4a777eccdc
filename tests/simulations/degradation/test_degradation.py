"""The whole experiment in its smallest form, and serving for real."""

import json
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cascade import Always, CallableScorer, CascadeError, DropExcess, LatencyTable, StageInfo
from cascade.ticks import SystemClock
from simulations.degradation import SCALES, DegradationSettings, simulate_degradation
from simulations.degradation.live import serve_live
from simulations.degradation.served import SHED
from slicing.progress import open_task

POLICIES = ["full", "narrowest", "drop", "small-model", "paper-rule", "latency-rule", "anytime"]
TINY = replace(
    SCALES["smoke"],
    width=0.25,
    rates=(0.25, 0.5, 1.0),
    epochs=1,
    candidates=2,
    latency=0.4,
    virtual_seconds=10.0,
    live_seconds=0.2,
    sizes=(1, 16, 64),
    repeats=1,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[DegradationSettings, dict]:
    settings = DegradationSettings(out=tmp_path_factory.mktemp("run"), scale=TINY)
    simulate_degradation(settings, "slicerank simulate degradation")
    return settings, json.loads((settings.out / "report.json").read_text())


def test_every_policy_accounts_for_every_request(run: tuple[DegradationSettings, dict]) -> None:
    _, report = run
    for mode, summaries in report["degradation"]["summaries"].items():
        assert list(summaries) == POLICIES
        assert len({found["requests"] for found in summaries.values()}) == 1, mode
        for name, found in summaries.items():
            assert found["answered"] + found["shed"] == found["requests"] > 0
            assert name == "drop" or found["shed"] == 0
            assert found["late"] == round((1 - found["within"]) * found["requests"]) - found["shed"]


def test_what_holds_in_virtual_time_whatever_the_machine(run: tuple[DegradationSettings, dict]) -> None:
    _, report = run
    found = report["degradation"]["summaries"]["virtual"]
    assert found["narrowest"]["rate"] == 0.25
    assert found["full"]["rate"] == found["drop"]["rate"] == 1
    for name in ("paper-rule", "latency-rule", "anytime", "small-model"):
        assert 0.25 <= found[name]["rate"] <= 1
    accuracy = report["degradation"]["accuracy_by_stage"]
    assert found["full"]["right"] == pytest.approx(accuracy["full"][1], abs=0.1)


def test_the_files_beside_the_report(run: tuple[DegradationSettings, dict]) -> None:
    settings, report = run
    names = {path.name for path in settings.out.iterdir()}
    assert {"report.html", "policies.csv", "over-time.csv", "service-times.csv"} <= names
    assert {f"curve-{mode}-accuracy.png" for mode in ("virtual", "live")} <= names
    policies = pl.read_csv(settings.out / "policies.csv")
    assert policies["policy"].to_list() == POLICIES * 2
    assert policies["within"][0] == report["degradation"]["summaries"]["virtual"]["full"]["within"]
    times = LatencyTable.of_frame(pl.read_csv(settings.out / "service-times.csv").filter(network="sliced"))
    assert times.sizes == TINY.sizes
    page = (settings.out / "report.html").read_text()
    assert "Beside the paper&#39;s statements" in page
    assert "Stage by stage" not in page


def test_a_finished_run_resumes_to_the_same_numbers(
    run: tuple[DegradationSettings, dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, report = run
    monkeypatch.setattr("simulations.degradation.run.write_report", lambda report, out: [])  # it draws for seconds
    said = replace(settings, resume=True, peak_load=0.5)  # the default said aloud is no change
    again = simulate_degradation(said, "slicerank simulate degradation")
    assert json.loads(json.dumps(again)) == report


def test_resuming_another_run_is_refused(run: tuple[DegradationSettings, dict]) -> None:
    settings, _ = run
    with pytest.raises(CascadeError, match="settings changed"):
        simulate_degradation(replace(settings, resume=True, peak_load=0.6), "slicerank")


def test_ones_own_trace(run: tuple[DegradationSettings, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 4 seconds and 60 a second in virtual time; for real the scale's 0.2 s. With the networks trained above."""
    settings, before = run
    shutil.copytree(settings.out / "checkpoints", tmp_path / "out" / "checkpoints")
    (tmp_path / "load.csv").write_text("seconds,requests\n7,20\n9,120\n")
    monkeypatch.setattr("simulations.degradation.run.write_report", lambda report, out: [])  # it draws for seconds
    own = replace(settings, out=tmp_path / "out", trace=tmp_path / "load.csv", resume=True)
    report: dict = simulate_degradation(own, "slicerank simulate degradation")  # type: ignore[assignment]
    found = report["degradation"]
    assert found["loads"]["virtual"] == {
        "seconds": 4.0,
        "peak_requests_per_second": 60.0,
        "trace": "kept its own 4.0 s and requests per second",
    }
    assert found["loads"]["live"]["seconds"] == before["degradation"]["loads"]["live"]["seconds"] == 0.2
    summaries = found["summaries"]["virtual"]
    assert 80 < summaries["full"]["requests"] < 200  # 140 expected
    assert "60 a second at the peak" in report["protocols"]["virtual"]["tables"][0]["text"]
    at = report["protocols"]["virtual"]["curves"][1]["series"][0]["x"]
    assert 7 < at[0] < at[-1] < 11


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"latency": 0.0}, "latency must be above 0"),
        ({"latency": float("nan")}, "latency must be above 0"),
        ({"latency": float("inf")}, "latency must be above 0"),
        ({"peak_load": 0.0}, "peak load must lie"),
        ({"peak_load": 1.5}, "peak load must lie"),
        ({"headroom": -0.1}, "headroom must be a share of at least 0"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path: Path, changed: dict, said: str) -> None:
    with pytest.raises(CascadeError, match=said):
        simulate_degradation(DegradationSettings(out=tmp_path, scale=TINY, **changed), "slicerank")


def by_docid(frame: pl.DataFrame) -> np.ndarray:
    """Image k is taken for class k modulo 3."""
    return np.eye(3)[frame["docid"].to_numpy() % 3]


def test_serving_for_real_gives_every_request_its_own_answer() -> None:
    scorer = CallableScorer([by_docid], [StageInfo(None, 0, 0.0)])
    images = np.arange(40).reshape(20, 2)
    labels = np.where(np.arange(40) < 10, 0, np.arange(40) % 3)
    arrived = np.linspace(0, 0.1, 20)
    with open_task(None, "", 20) as task:
        served = serve_live(arrived, images, labels, scorer, Always(0), 0.04, task)
    assert served.right.tolist() == [float(np.mean([k % 3 == labels[k] for k in pair])) for pair in images]
    assert (served.stage == 0).all()
    assert (served.begun >= served.arrived).all()
    assert (served.finished >= served.begun).all()


def test_to_deliver_an_answer_takes_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that goes on by a second whenever it is looked at, which a delivery does once."""

    class Hurried(SystemClock):
        looked = count()

        def now(self) -> float:
            return float(next(self.looked))

    monkeypatch.setattr("simulations.degradation.live.SystemClock", Hurried)
    scorer = CallableScorer([by_docid], [StageInfo(None, 0, 0.0)])
    images = np.arange(40).reshape(20, 2)
    with open_task(None, "", 20) as task:
        served = serve_live(np.zeros(20), images, np.zeros(40, np.int64), scorer, Always(0), 1000.0, task)
    assert (served.delivered > served.finished).all()
    assert (np.diff(served.delivered) >= 1).all()
    assert len(np.unique(served.finished)) == 1


def test_what_the_policy_drops_for_real_is_marked_as_shed() -> None:
    scorer = CallableScorer([by_docid], [StageInfo(None, 0, 0.0)])
    never = DropExcess(LatencyTable((1,), {(-1, 0): [100.0]}), 0)
    with open_task(None, "", 3) as task:
        served = serve_live(np.zeros(3), np.zeros((3, 1), np.int64), np.zeros(1, np.int64), scorer, never, 0.01, task)
    assert (served.stage == SHED).all()
    assert np.isnan([served.finished, served.delivered]).all()
    assert (served.right == 0).all()

"""The language-model simulation in its tiniest form: what it trains, reports, resumes and refuses."""

import csv
import json
import math

import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from cli import main
from data import library_text
from simulations import paper_language as paper
from simulations.language_model import simulate_language_model
from simulations.language_settings import SCALES, LanguageScale, LanguageSettings
from simulations.language_training import EVALUATION_STREAMS, language_network, perplexity
from simulations.report.figures import MISSING

TINY = LanguageScale(40, 400, 150, 16, 16, 5, 10, 1, 0.1, (0.25, 1.0))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("language")
    return simulate_language_model(LanguageSettings(out, TINY), "slicerank simulate language-model"), out


def test_every_system_is_judged_at_its_rates_and_the_csv_says_the_same(run):
    report, out = run
    judged = report["language_model"]
    rates = {}
    for each in judged:
        rates.setdefault(each["system"], []).append(each["rate"])
        assert 1.0 < each["perplexity"] < 1000.0
    assert rates["lb-1.0"] == rates["sliced-dense"] == [k / 16 for k in range(4, 17)]
    assert rates["sliced-nested"] == [k / 8 for k in range(2, 9)]
    assert rates["separate"] == [0.25, 1.0]
    at = {(each["system"], each["rate"]): each for each in judged}
    assert at["lb-1.0", 1.0]["perplexity"] == pytest.approx(at["separate", 1.0]["perplexity"], rel=1e-5)
    for rate in (0.25, 1.0):  # the same widths whoever trained them
        for what in ("params", "flops"):
            assert at["separate", rate][what] == at["sliced-dense", rate][what]
    with (out / "perplexity.csv").open() as file:
        assert [float(row["perplexity"]) for row in csv.DictReader(file)] == [each["perplexity"] for each in judged]
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))


def test_the_papers_table_2_stands_beside_ours(run):
    report, out = run
    table = report["protocols"]["language model"]["tables"][0]
    assert table["columns"] == ["slice rate", "1.000", "0.875", "0.750", "0.625", "0.500", "0.375", "0.250"]
    rows = {row[0].strip(): row[1:] for row in table["rows"]}
    assert rows["paper: NNLM-0.375"] == ["81.12", "82.02", "83.1", "85.25", "88.92", "97.02", "128.8"]
    assert rows["separate"][1:-1] == [MISSING] * 5
    assert all(math.isclose(c, 100 * r * r, rel_tol=1e-3) for r, c in zip(paper.RATES, paper.COMPUTATION, strict=True))
    page = (out / "report.html").read_text()
    assert "NNLM-fixed" in page
    assert len(list(out.glob("curve-*.png"))) == 2


def test_a_resumed_run_trains_nothing_and_finds_the_same(run):
    before, out = run
    stamps = {path: path.stat().st_mtime_ns for path in (out / "checkpoints").iterdir()}
    again = simulate_language_model(LanguageSettings(out, TINY, resume=True), "slicerank simulate language-model")
    assert again["language_model"] == before["language_model"]
    assert {path: path.stat().st_mtime_ns for path in (out / "checkpoints").iterdir()} == stamps


def test_perplexity_is_the_exponential_of_the_mean_loss_stream_by_stream():
    text = library_text(vocabulary=40, train_limit=400, held_out_limit=150)
    settings = LanguageSettings(None, TINY)
    for connectivity in ("dense", "nested"):
        network = language_network(settings, 40, [0.25, 1.0], connectivity).eval()
        streams = text.test[: len(text.test) // EVALUATION_STREAMS * EVALUATION_STREAMS].view(EVALUATION_STREAMS, -1)
        for rate in network.rates:
            with torch.no_grad():
                scores = torch.stack([network(stream[None, :-1], rate=rate)[0] for stream in streams])
            losses = F.cross_entropy(scores.flatten(0, 1), streams[:, 1:].flatten())
            assert perplexity(network, text.test, rate) == pytest.approx(math.exp(losses), rel=1e-4)


def test_every_scale_can_be_sliced_at_every_sixteenth():
    for scale in SCALES.values():
        assert scale.units % 16 == 0
        assert scale.separate[-1] == 1.0


def test_the_command_runs_and_says_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setitem(SCALES, "smoke", TINY)
    ran = CliRunner().invoke(main, ["simulate", "language-model", "--out", str(tmp_path / "out"), "--quiet"])
    assert ran.exit_code == 0, ran.output
    assert "Test perplexity by slice rate" in ran.output
    assert "stages.csv" not in ran.output
    lacking = CliRunner().invoke(main, ["simulate", "language-model", "--scale", "small"])
    assert lacking.exit_code == 2
    assert "pass --data-dir" in lacking.output
    wrong = CliRunner().invoke(main, ["simulate", "language-model", "--data-dir", str(tmp_path), "--quiet"])
    assert wrong.exit_code == 2
    assert "holds no train text" in wrong.output

"""The language-model simulation (section 5.2): perplexity against slice rate, Table 2 and Figure 5."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data import TextData, library_text, load_text
from simulations import paper_language as paper
from simulations.language_settings import LanguageSettings
from simulations.language_training import WHOLE, LanguageTrainer, language_network, perplexity
from simulations.report import Report, check_out, machine, validate_report, versions, write_report
from simulations.report.figures import MISSING, large, rate
from slicing import (
    Joint,
    Plain,
    Sampled,
    Scheme,
    SlicedNetwork,
    TrainResult,
    convert,
    cost,
    extract,
    parameter_count,
    width,
)
from slicing.files import atomic_path
from slicing.progress import Progress, open_task

CONVENTION = "one multiply-add = 1, per word; recurrent and dense layers"


@dataclass(frozen=True)
class Judged:
    """One system at one rate: a network's test perplexity, what it holds and what a word costs."""

    system: str
    rate: float
    perplexity: float
    params: int
    flops: int


def simulate_language_model(settings: LanguageSettings, command: str, progress: Progress | None = None) -> Report:
    """Train the networks, judge every one at every rate, write the report.

    Args:
        settings: what to do.
        command: the command line, for the report.
        progress: shows the pace of long work; None is silent.

    Returns:
        The report, as written to ``settings.out``.

    Raises:
        ValueError: for bad input, in one line: of the packages' own errors the one it concerns.
    """
    check_out(settings.out)
    scale = settings.scale
    limits = {name: getattr(scale, name) for name in ("vocabulary", "train_limit", "held_out_limit")}
    text = library_text(**limits) if settings.data_dir is None else load_text(settings.data_dir, **limits)
    folder = settings.out / "checkpoints"
    folder.mkdir(exist_ok=True)
    trainer = LanguageTrainer(settings, text, folder, progress)
    words, results = len(text.vocabulary), {}
    separate: dict[float, SlicedNetwork] = {}
    trained: list[tuple[str, SlicedNetwork, Scheme]] = []
    for each in scale.separate:
        separate[each] = language_network(settings, words, [1.0], "dense", width(each, scale.units))
        trained.append((f"separate-{each:g}", separate[each], Plain()))
    above = [each for each in paper.EVERY_SIXTEENTH if each >= settings.lower_bound]
    dense = language_network(settings, words, above, "dense")
    nested = language_network(settings, words, paper.EVERY_EIGHTH, "nested")
    trained += [("sliced-dense", dense, Sampled()), ("sliced-nested", nested, Joint())]
    for name, network, scheme in trained:
        results[name] = trainer.fit(name, network, scheme)
    judged = _judged(text, separate, dense, nested, progress)
    report = _report(settings, text, judged, results, command)
    write_report(report, settings.out)
    _write_csv(settings, judged)
    return report


def _judged(
    text: TextData,
    separate: dict[float, SlicedNetwork],
    dense: SlicedNetwork,
    nested: SlicedNetwork,
    progress: Progress | None,
) -> list[Judged]:
    systems = {
        "lb-1.0": _at_every_sixteenth(separate[1.0]),
        "sliced-dense": _at_every_sixteenth(dense),
        "sliced-nested": nested,
    }
    total = sum(len(network.rates) for network in systems.values()) + len(separate)
    with open_task(progress, "test perplexity", total, "rates") as task:

        def judge(system: str, network: SlicedNetwork, own: float, named: float) -> Judged:
            found = perplexity(network, text.test, own)
            task.advance(1)
            flops = cost(network, (1,)).flops(network.rates.index(own))
            return Judged(system, named, found, parameter_count(network, own), flops)

        judged = [judge(name, network, each, each) for name, network in systems.items() for each in network.rates]
        return judged + [judge("separate", network, 1.0, each) for each, network in separate.items()]


def _at_every_sixteenth(network: SlicedNetwork) -> SlicedNetwork:
    """A dense network's weights, sliced at every 1/16 from 0.25, below its lower bound too (section 5.1.1)."""
    return convert(extract(network), paper.EVERY_SIXTEENTH, "dense", whole=WHOLE)


def _report(
    settings: LanguageSettings,
    text: TextData,
    judged: Sequence[Judged],
    results: dict[str, TrainResult],
    command: str,
) -> Report:
    at = {(each.system, each.rate): each for each in judged}
    sliced, alone = at["sliced-dense", 1.0], at["separate", 1.0]
    report: dict[str, Any] = {
        "schema": 1,
        "command": command,
        "seed": settings.seed,
        "versions": versions(),
        "machine": machine(),
        "data": {
            "name": text.name,
            "fingerprint": text.fingerprint,
            "candidates": len(text.test),
            "queries": 1,
            "vocabulary": len(text.vocabulary),
            "train": len(text.train),
            "validation": len(text.validation),
            "unknown": text.unknown,
        },
        "settings": {**asdict(settings.scale), "lower_bound": settings.lower_bound, "clip": settings.clip},
        "flops_convention": CONVENTION,
        "headline": f"On {text.name} ({len(text.train):,} words to learn from, {len(text.test):,} to test, "
        f"a vocabulary of {len(text.vocabulary):,}) the sliced network has perplexity {sliced.perplexity:.1f} at rate "
        f"1, {at['sliced-dense', 0.25].perplexity:.1f} at 0.25; the nested one "
        f"{at['sliced-nested', 1.0].perplexity:.1f} "
        f"and {at['sliced-nested', 0.25].perplexity:.1f}; a network trained whole {alone.perplexity:.1f}, sliced "
        f"afterwards {at['lb-1.0', 0.25].perplexity:.1f}.",
        "protocols": {
            "language model": {
                "systems": [],
                "tables": [_perplexity_table(settings, at), _cost_table(at)],
                "curves": [_curve(judged), _paper_curve()],
            }
        },
        "language_model": [asdict(each) for each in judged],
        "paper_language_model": {
            "source": paper.SOURCE,
            "setting": paper.SETTING,
            "rates": list(paper.RATES),
            "computation_percent": list(paper.COMPUTATION),
            "perplexity": {name: list(row) for name, row in paper.PERPLEXITY.items()},
        },
        "training": [_history(name, result) for name, result in results.items()],
    }
    return validate_report(report)


def _perplexity_table(settings: LanguageSettings, at: dict[tuple[str, float], Judged]) -> dict[str, Any]:
    rows = []
    beside = {ours: name for name, ours in paper.BESIDE.items()}
    for system in dict.fromkeys(name for name, _ in at):
        found = [at.get((system, each)) for each in paper.RATES]
        rows.append([system, *(MISSING if each is None else f"{each.perplexity:.2f}" for each in found)])
        if system in beside:
            printed = paper.PERPLEXITY[beside[system]]
            rows.append([f"  paper: {beside[system]}", *(f"{value:g}" for value in printed)])
    rows.append(["  paper: Ct (%)", *(f"{value:g}" for value in paper.COMPUTATION)])
    scale = settings.scale
    return {
        "title": "Test perplexity by slice rate (Table 2)",
        "text": f"Ours: embedding {scale.embedding}, {scale.units} units, {scale.epochs} epochs; lb-1.0 is the whole "
        f"network sliced afterwards, sliced-dense is trained from rate {settings.lower_bound:g} up, separate has a "
        f"network of its own for each rate. The paper: {paper.SETTING}; another text and size, so compare the rows' "
        "shapes, not the numbers.",
        "columns": ["slice rate", *(rate(each) for each in paper.RATES)],
        "rows": rows,
    }


def _cost_table(at: dict[tuple[str, float], Judged]) -> dict[str, Any]:
    rows = []
    for system in ("sliced-dense", "sliced-nested"):
        found = [at[system, each] for each in paper.RATES]
        rows.append([f"{system}, parameters", *(large(each.params) for each in found)])
        rows.append([f"{system}, FLOPs a word", *(large(each.flops) for each in found)])
        rows.append([f"{system}, of the whole (%)", *(f"{100 * each.flops / found[0].flops:.1f}" for each in found)])
    return {
        "title": "What a word costs",
        "text": "The embedding is not sliced, so parameters fall less than FLOPs; the output layer falls with r, the "
        "recurrent layers with r squared.",
        "columns": ["slice rate", *(rate(each) for each in paper.RATES)],
        "rows": rows,
    }


def _curve(judged: Sequence[Judged]) -> dict[str, Any]:
    series = []
    for system in dict.fromkeys(each.system for each in judged):
        own = sorted((each for each in judged if each.system == system), key=lambda each: each.rate)
        points = {"x": [each.rate for each in own], "y": [each.perplexity for each in own]}
        series.append({"name": system, **points})
    return _drawn("Perplexity against slice rate", "Ours, test text; lower is better.", series)


def _paper_curve() -> dict[str, Any]:
    series = [
        {"name": f"paper: {name}", "x": list(reversed(paper.RATES)), "y": list(reversed(row))}
        for name, row in paper.PERPLEXITY.items()
    ]
    return _drawn("The paper's Figure 5", f"As printed in Table 2: {paper.SETTING}.", series)


def _drawn(title: str, text: str, series: list[dict[str, Any]]) -> dict[str, Any]:
    scales = {"x_scale": "linear", "y_scale": "log"}
    return {"title": title, "text": text, "x": "slice rate", "y": "perplexity", "series": series, **scales}


def _history(name: str, result: TrainResult) -> dict[str, Any]:
    return {
        "name": name,
        "best_epoch": result.best_epoch + 1,
        "seconds": result.seconds,
        "history": [
            {"epoch": number, "loss": record.loss, "validation_log_likelihood": list(record.validation)}
            for number, record in enumerate(result.history, start=1)
        ],
    }


def _write_csv(settings: LanguageSettings, judged: Sequence[Judged]) -> None:
    buffer = io.StringIO()
    rows = csv.DictWriter(buffer, list(asdict(judged[0])), lineterminator="\n")
    rows.writeheader()
    rows.writerows(asdict(each) for each in judged)
    with atomic_path(settings.out / "perplexity.csv") as temporary:
        temporary.write_text(buffer.getvalue(), encoding="utf-8")

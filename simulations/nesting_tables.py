"""The tables of the nesting comparison: mean and spread over seeds, and every run's numbers as CSV."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from simulations.report.figures import MISSING, millions, spread
from simulations.report.figures import rate as rate_text
from simulations.report.summary import lowest_inclusion

STAGE_FIELDS = ("rate", "precision", "aggregate_recall", "flops", "flops_increment", "params")
RUN_FIELDS = ("kept_share", "lowest_inclusion", "passes_per_kept_item", "params_held", "train_seconds")
CSV_COLUMNS = ("data", "system", "seed", *STAGE_FIELDS, *RUN_FIELDS)


@dataclass(frozen=True)
class SeedRun:
    """One system on one seed.

    Attributes:
        train_seconds: of all its networks.
        entry: as :func:`cascade.system_report` makes it.
    """

    name: str
    seed: int
    train_seconds: float
    entry: dict[str, Any]

    @property
    def accuracies(self) -> list[float]:
        """Of each stage alone, narrowest first."""
        return [stage["precision"] for stage in self.entry["stages"]]

    @property
    def kept_share(self) -> float | None:
        """Of what the last stage alone gets right, the share that every stage gets right."""
        last = self.accuracies[-1]
        return self.entry["stages"][-1]["aggregate_recall"] / last if last else None

    @property
    def lowest_inclusion(self) -> float | None:
        """The least inclusion coefficient over all pairs of stages."""
        return lowest_inclusion(self.entry)

    def passes(self, full_pass: float) -> float | None:
        """What an item kept throughout has cost, in full passes of the dense network."""
        spent = self.entry["flops_per_kept_item"]
        return None if spent is None else spent / full_pass


def nesting_tables(runs: Sequence[SeedRun], full_pass: float) -> list[dict[str, Any]]:
    """Accuracy by rate, and what the cascade keeps and costs: mean and standard deviation over seeds.

    Args:
        runs: of one data set, the runs of a system in a row.
        full_pass: FLOPs of one full-width pass of the dense network.
    """
    systems = _by_system(runs)
    rates = [stage["rate"] for stage in runs[0].entry["stages"]]
    accuracy = [
        [name, *(spread([100 * run.accuracies[k] for run in group], 2) for k in range(len(rates)))]
        for name, group in systems.items()
    ]
    costs = [
        [
            name,
            spread(_percent(run.entry["stages"][-1]["aggregate_recall"] for run in group), 2),
            spread(_percent(run.kept_share for run in group), 1),
            spread([run.lowest_inclusion for run in group], 3),
            f"{group[0].entry['stages'][0]['flops'] / full_pass:.2f}",
            f"{group[0].entry['stages'][-1]['flops'] / full_pass:.2f}",
            spread([run.passes(full_pass) for run in group], 2),
            *millions([group[0].entry["params_held"]]),
            spread([run.train_seconds for run in group], 0),
        ]
        for name, group in systems.items()
    ]
    seeds = len(next(iter(systems.values())))
    over = f"Mean and standard deviation over {seeds} seeds." if seeds > 1 else "One seed: no spread is known."
    return [
        {
            "title": "Accuracy by slice rate (%)",
            "text": f"Each stage alone, on the test images. {over}",
            "columns": ["system", *(rate_text(rate) for rate in rates)],
            "rows": accuracy,
        },
        {
            "title": "What the cascade keeps, and what it costs",
            "text": "Kept: items that every stage gets right; of last: as a share of what the last stage alone gets "
            "right. Inclusion: the lowest over the pairs of stages. The first stage, the full width in one pass, and "
            f"an item kept through all stages, in full passes of the dense network. {over}",
            "columns": [
                "system",
                "kept (%)",
                "of last (%)",
                "inclusion",
                "first stage",
                "full width",
                "kept item",
                "params held (M)",
                "training (s)",
            ],
            "rows": costs,
        },
        *_frontier_table(systems, full_pass),
    ]


def frontier_curve(runs: Sequence[SeedRun], full_pass: float) -> dict[str, Any]:
    """Accuracy of the last stage against what an item kept throughout costs, a point a system, means over seeds."""
    found = _spent(_by_system(runs), full_pass)
    return {
        "title": "The last stage's accuracy against the cost of the cascade",
        "text": "A point a system, means over the seeds: left and high is better.",
        "x": "passes per item kept throughout",
        "y": "accuracy at the last rate",
        "x_scale": "linear",
        "series": [
            {"name": name, "x": [passes], "y": [_last(group)]} for passes, (name, group) in zip(*found, strict=True)
        ],
    }


def _frontier_table(systems: Mapping[str, Sequence[SeedRun]], full_pass: float) -> list[dict[str, Any]]:
    """The systems by rising cost: which have the best last stage, and which keep the most, for what they cost."""
    if len(systems) < 2:
        return []
    rows = []
    best = {_last: -1.0, _kept: -1.0}
    for passes, (name, group) in zip(*_spent(systems, full_pass), strict=True):
        marks = []
        for measure in best:
            leads = measure(group) > best[measure]
            best[measure] = max(best[measure], measure(group))
            marks.append("yes" if leads else MISSING)
        rows.append(
            [name, f"{passes:.2f}", f"{100 * _last(group):.2f}", marks[0], f"{100 * _kept(group):.2f}", marks[1]]
        )
    return [
        {
            "title": "The frontier: what each total cost buys",
            "text": "Systems by what an item kept throughout costs; yes: no cheaper system has as accurate a last "
            "stage, or keeps as much. Means over the seeds; systems that keep nothing are left out.",
            "columns": ["system", "kept item (passes)", "last stage (%)", "most accurate", "kept (%)", "keeps most"],
            "rows": rows,
        }
    ]


def _by_system(runs: Sequence[SeedRun]) -> dict[str, list[SeedRun]]:
    systems: dict[str, list[SeedRun]] = {}
    for run in runs:
        systems.setdefault(run.name, []).append(run)
    return systems


def _spent(
    systems: Mapping[str, Sequence[SeedRun]], full_pass: float
) -> tuple[list[float], list[tuple[str, Sequence[SeedRun]]]]:
    """Mean passes per kept item, rising, and the systems they are of; without those that keep nothing."""
    costs = {name: [run.passes(full_pass) for run in group] for name, group in systems.items()}
    means = {name: mean(each) for name, each in costs.items() if None not in each}  # type: ignore[type-var]
    order = sorted(means, key=means.__getitem__)  # type: ignore[arg-type]
    return [means[name] for name in order], [(name, systems[name]) for name in order]  # type: ignore[misc]


def _last(group: Sequence[SeedRun]) -> float:
    return mean(run.accuracies[-1] for run in group)


def _kept(group: Sequence[SeedRun]) -> float:
    return mean(run.entry["stages"][-1]["aggregate_recall"] for run in group)


def nesting_csv(data: str, runs: Iterable[SeedRun], full_pass: float) -> str:
    """A row for every run and rate, unrounded; an undefined number is an empty field. FLOPs are per candidate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run in runs:
        whole = (
            run.kept_share,
            run.lowest_inclusion,
            run.passes(full_pass),
            run.entry["params_held"],
            run.train_seconds,
        )
        for stage in run.entry["stages"]:
            own = [
                stage[name] for name in ("rate", "precision", "aggregate_recall", "flops", "flops_increment", "params")
            ]
            writer.writerow([data, run.name, run.seed, *own, *whole])
    return text.getvalue()


def _percent(shares: Iterable[float | None]) -> list[float | None]:
    return [None if share is None else 100 * share for share in shares]

"""The tables of the nesting comparison: mean and spread over seeds, and every run's numbers as CSV."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from simulations.report.figures import millions, spread
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
    systems: dict[str, list[SeedRun]] = {}
    for run in runs:
        systems.setdefault(run.name, []).append(run)
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
            spread([run.passes(full_pass) for run in group], 2),
            f"{group[0].entry['stages'][-1]['flops'] / full_pass:.2f}",
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
            "right. Inclusion: the lowest over the pairs of stages. Passes: what an item kept throughout has cost, and "
            f"one pass of the full width, in full passes of the dense network. {over}",
            "columns": [
                "system",
                "kept (%)",
                "of last (%)",
                "inclusion",
                "passes per kept item",
                "full width",
                "params held (M)",
                "training (s)",
            ],
            "rows": costs,
        },
    ]


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

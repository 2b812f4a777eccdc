"""The report's numbers as CSV, unrounded; an undefined number is an empty field."""

import csv
import io
from collections.abc import Iterable, Sequence

from simulations.report import summary
from simulations.report.schema import Report

STAGE_COLUMNS = [
    "protocol",
    "system",
    "stage",
    "rate",
    "params",
    "flops",
    "flops_increment",
    "precision",
    "recall",
    "aggregate_recall",
    "relevant_kept",
    "relevant_lost_share",
    "candidates_in",
    "candidates_out",
    "seconds",
    "mode",
]
INCLUSION_COLUMNS = [
    "protocol",
    "system",
    "narrower_stage",
    "wider_stage",
    "narrower_rate",
    "wider_rate",
    "inclusion",
]


def stages_csv(report: Report) -> str:
    """One row per protocol, system and stage; stages count from 1; FLOPs are per candidate."""
    rows = []
    for name, protocol in report["protocols"].items():
        for system in protocol["systems"]:
            lost = summary.losses(system)
            for index, stage in enumerate(system["stages"]):
                rows.append(
                    [
                        name,
                        system["name"],
                        index + 1,
                        stage["rate"],
                        stage["params"],
                        stage["flops"],
                        stage["flops_increment"],
                        stage["precision"],
                        stage["recall"],
                        stage["aggregate_recall"],
                        summary.kept(stage, name),
                        lost[index],
                        stage["candidates_in"],
                        stage["candidates_out"],
                        stage["seconds"],
                        stage["mode"],
                    ]
                )
    return _csv(STAGE_COLUMNS, rows)


def inclusion_csv(report: Report) -> str:
    """One row per protocol, system and pair of stages, each pair once, the diagonal included."""
    rows = []
    for name, protocol in report["protocols"].items():
        for system in protocol["systems"]:
            inclusion = system["inclusion"]
            if inclusion is None:
                continue
            rates = inclusion["rates"]
            for i, narrower in enumerate(rates):
                for j in range(i, len(rates)):
                    rows.append([name, system["name"], i + 1, j + 1, narrower, rates[j], inclusion["matrix"][i][j]])
    return _csv(INCLUSION_COLUMNS, rows)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()

"""The report that every measuring command writes: JSON, one page, heatmaps, CSV, tables on the terminal."""

from simulations.report.environment import machine, versions
from simulations.report.errors import ReportError
from simulations.report.schema import (
    Data,
    Epoch,
    Inclusion,
    Protocol,
    Report,
    Stage,
    System,
    TrainingRun,
    validate_report,
)
from simulations.report.terminal import terminal_table
from simulations.report.write import check_out, write_report

__all__ = [
    "Data",
    "Epoch",
    "Inclusion",
    "Protocol",
    "Report",
    "ReportError",
    "Stage",
    "System",
    "TrainingRun",
    "check_out",
    "machine",
    "terminal_table",
    "validate_report",
    "versions",
    "write_report",
]

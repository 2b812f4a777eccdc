"""The report's contract: its fields as types, and the check that refuses a report that breaks it."""

from itertools import pairwise
from typing import Any, Literal, NotRequired, TypedDict, cast

from simulations.paper import PaperFigures
from simulations.report import checks as c
from simulations.report.errors import ReportError


class Stage(TypedDict):
    """One stage. `flops` and `flops_increment` are per candidate; shares in [0, 1], None where undefined.

    `rate` is None for a scorer that is not a slice of a network.
    """

    rate: float | None
    params: int
    flops: float
    flops_increment: float
    precision: float | None
    recall: float | None
    aggregate_recall: float | None
    candidates_in: int
    candidates_out: int
    seconds: float
    mode: Literal["reuse", "recompute", "fresh"]
    relevant_kept: NotRequired[int]  # the count behind aggregate_recall
    feature_cost_increment: NotRequired[float]  # per candidate, of features that no earlier stage has read


class Inclusion(TypedDict):
    """Entry (i, j): of the errors of the wider of stages i and j, the share that the narrower makes too.

    The coefficient belongs to the pair: the matrix is symmetric. None where the wider model makes no error.
    """

    rates: list[float | None]
    matrix: list[list[float | None]]


class System(TypedDict):
    """One way to run the cascade.

    `flops_per_kept_item` is what an item that survives every stage has cost, None where none survives.
    `inclusion` is None where errors of single models are not defined. `relevant` is the number of relevant
    (query, item) pairs; `precision_definition` says what the stages' precision is under this protocol.
    """

    name: str
    params_held: int
    flops_total: float
    flops_per_kept_item: float | None
    seconds_total: float
    stages: list[Stage]
    inclusion: Inclusion | None
    relevant: NotRequired[int]
    precision_definition: NotRequired[str]
    note: NotRequired[str]
    cost_unit: NotRequired[str]  # what its `flops` count where they are no FLOPs, such as "tree visits"
    feature_cost_total: NotRequired[float]  # over all candidates and stages, in a unit of the user's choice


class Table(TypedDict):
    """A further table of an experiment, its cells written out; each row has a cell per column."""

    title: str
    text: str
    columns: list[str]
    rows: list[list[str]]


class Series(TypedDict):
    """One system's curve: y over x, shares in [0, 1] unless the curve says otherwise."""

    name: str
    x: list[float]
    y: list[float]


class Curve(TypedDict):
    """A further drawing of an experiment."""

    title: str
    text: str
    x: str
    y: str
    series: list[Series]
    x_scale: NotRequired[Literal["linear", "log"]]  # without it, log where x spans more than a factor of 20
    y_scale: NotRequired[Literal["share", "log"]]  # log: positive numbers instead of shares


class Protocol(TypedDict):
    """The systems run under one protocol; none where the experiment is no cascade and its tables say all."""

    systems: list[System]
    tables: NotRequired[list[Table]]
    curves: NotRequired[list[Curve]]


class Data(TypedDict):
    """What was scored."""

    name: str
    fingerprint: str
    candidates: int
    queries: int


class Epoch(TypedDict):
    """One epoch; `validation` maps a slice rate, written as text, to the share classified correctly."""

    epoch: int
    loss: float
    validation: NotRequired[dict[str, float]]


class TrainingRun(TypedDict):
    """The history of one trained network."""

    name: str
    history: list[Epoch]
    best_epoch: NotRequired[int]


class Report(TypedDict):
    """What a measuring command hands to `write_report`. More fields are welcome; these keep their meaning.

    `full_pass_flops` is one plain full-width pass; without it, the costliest stage of the protocol stands in.
    `headline` is the sentence at the top; without it, the systems of the main protocol make one.
    """

    schema: Literal[1]
    command: str
    seed: int
    versions: dict[str, str]
    machine: dict[str, Any]
    data: Data
    flops_convention: str
    protocols: dict[str, Protocol]
    paper: NotRequired[PaperFigures]
    training: NotRequired[list[TrainingRun]]
    full_pass_flops: NotRequired[float]
    headline: NotRequired[str]


def _candidates_fall(stage: Any, path: str) -> None:
    if stage["candidates_out"] > stage["candidates_in"]:
        raise ReportError(
            f"report field {path}.candidates_out is {stage['candidates_out']}, more than candidates_in "
            f"({stage['candidates_in']}); a stage can only drop candidates"
        )


def _one_matrix_per_pair(inclusion: Any, path: str) -> None:
    rates, matrix = inclusion["rates"], inclusion["matrix"]
    known = [rate for rate in rates if rate is not None]
    if any(a > b for a, b in pairwise(known)):
        raise ReportError(f"report field {path}.rates must not fall from narrow to wide, got {rates}; sort it")
    if len(matrix) != len(rates) or any(len(row) != len(rates) for row in matrix):
        raise ReportError(
            f"report field {path}.matrix must be {len(rates)} x {len(rates)}, a row and a column per rate, "
            f"got rows of length {[len(row) for row in matrix]}"
        )
    for i, row in enumerate(matrix):
        for j in range(i):
            if row[j] != matrix[j][i]:
                raise ReportError(
                    f"report field {path}.matrix[{i}][{j}] is {row[j]} but [{j}][{i}] is {matrix[j][i]}; the "
                    "coefficient belongs to the pair (denominator: the wider model's errors): make them equal"
                )


def _cell_per_column(table: Any, path: str) -> None:
    for i, row in enumerate(table["rows"]):
        if len(row) != len(table["columns"]):
            raise ReportError(
                f"report field {path}.rows[{i}] must have a cell per column ({len(table['columns'])}), got {len(row)}"
            )


def _something_said(report: Any, path: str) -> None:
    for name, protocol in report["protocols"].items():
        if protocol["systems"]:
            continue
        if not protocol.get("tables"):
            raise ReportError(
                f"report field protocols.{name}.systems must have at least one entry where the protocol has no tables; "
                "add systems or tables"
            )
        if "headline" not in report:
            raise ReportError(
                f"a report needs a headline where a protocol ({name}) has no systems to make one of; add headline"
            )


def _y_of_its_scale(curve: Any, path: str) -> None:
    log = curve.get("y_scale") == "log"
    for i, series in enumerate(curve["series"]):
        for j, y in enumerate(series["y"]):
            if log and y <= 0:
                raise ReportError(f"report field {path}.series[{i}].y[{j}] must be above 0 on a log scale, got {y}")
            if not log:
                c.share(y, f"{path}.series[{i}].y[{j}]")


def _as_long(series: Any, path: str) -> None:
    if len(series["x"]) != len(series["y"]):
        raise ReportError(
            f"report field {path} must have as many x as y, got {len(series['x'])} and {len(series['y'])}"
        )


def _figures_per_rate(paper: Any, path: str) -> None:
    wanted = len(paper["rates"])
    columns = {name: paper[name] for name in ("params_m", "flops_m")}
    for i, system in enumerate(paper["systems"]):
        columns |= {f"systems[{i}].{name}": system[name] for name in ("precision", "kept")}
    for name, column in columns.items():
        if len(column) != wanted:
            raise ReportError(f"report field {path}.{name} must have a figure per rate ({wanted}), got {len(column)}")


_INCLUSION = c.also(
    c.record({"rates": c.items(c.or_none(c.rate)), "matrix": c.items(c.items(c.or_none(c.share)))}),
    _one_matrix_per_pair,
)
_STAGE = c.also(
    c.record(
        {
            "rate": c.or_none(c.rate),
            "params": c.count,
            "flops": c.amount,
            "flops_increment": c.amount,
            "precision": c.or_none(c.share),
            "recall": c.or_none(c.share),
            "aggregate_recall": c.or_none(c.share),
            "candidates_in": c.count,
            "candidates_out": c.count,
            "seconds": c.amount,
            "mode": c.one_of("reuse", "recompute", "fresh"),
        },
        optional={"relevant_kept": c.count, "feature_cost_increment": c.amount},
    ),
    _candidates_fall,
)
_SYSTEM = c.record(
    {
        "name": c.text,
        "params_held": c.count,
        "flops_total": c.amount,
        "flops_per_kept_item": c.or_none(c.amount),
        "seconds_total": c.amount,
        "stages": c.items(_STAGE),
        "inclusion": c.or_none(_INCLUSION),
    },
    optional={
        "relevant": c.count,
        "precision_definition": c.text,
        "note": c.text,
        "cost_unit": c.text,
        "feature_cost_total": c.amount,
    },
)
_TABLE = c.also(
    c.record({"title": c.text, "text": c.text, "columns": c.items(c.text), "rows": c.items(c.items(c.text))}),
    _cell_per_column,
)
_CURVE_FIELDS = c.record(
    {
        "title": c.text,
        "text": c.text,
        "x": c.text,
        "y": c.text,
        "series": c.items(
            c.also(c.record({"name": c.text, "x": c.items(c.amount), "y": c.items(c.amount)}), _as_long),
        ),
    },
    optional={"x_scale": c.one_of("linear", "log"), "y_scale": c.one_of("share", "log")},
)
_CURVE = c.also(_CURVE_FIELDS, _y_of_its_scale)
_PAPER = c.also(
    c.record(
        {
            "source": c.text,
            "setting": c.text,
            "items": c.count,
            "rates": c.items(c.rate),
            "params_m": c.items(c.amount),
            "flops_m": c.items(c.amount),
            "systems": c.items(
                c.record(
                    {
                        "name": c.text,
                        "beside": c.text,
                        "precision": c.items(c.share),
                        "kept": c.items(c.count),
                        "params_held_m": c.amount,
                        "flops_per_kept_item_m": c.amount,
                    }
                )
            ),
            "inclusion": c.items(
                c.also(c.record({"name": c.text, "beside": c.text}), _INCLUSION),
            ),
            "notes": c.items(c.text),
        }
    ),
    _figures_per_rate,
)
_TRAINING = c.record(
    {
        "name": c.text,
        "history": c.items(c.record({"epoch": c.count, "loss": c.number}, optional={"validation": c.mapping(c.share)})),
    },
    optional={"best_epoch": c.count},
)
_FIELDS = c.record(
    {
        "schema": c.one_of(1),
        "command": c.text,
        "seed": c.integer,
        "versions": c.mapping(c.text),
        "machine": c.mapping(c.json_value),
        "data": c.record({"name": c.text, "fingerprint": c.text, "candidates": c.count, "queries": c.count}),
        "flops_convention": c.text,
        "protocols": c.mapping(
            c.record(
                {"systems": c.any_items(_SYSTEM)},
                optional={"tables": c.items(_TABLE), "curves": c.items(_CURVE)},
            )
        ),
    },
    optional={"paper": _PAPER, "training": c.items(_TRAINING), "full_pass_flops": c.amount, "headline": c.text},
)
_REPORT = c.also(_FIELDS, _something_said)


def validate_report(report: object) -> Report:
    """Return the report, typed, once it keeps the contract; else raise `ReportError` naming the field's path.

    Numbers must be Python's own and finite, as JSON carries them: array elements go through `int` or `float`.
    """
    _REPORT(report, "")
    c.json_value(report, "")
    return cast(Report, report)

"""`slicerank evaluate`: ranked files against judgements, and against each other."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from cascade import CascadeError, Evaluation, compare_systems, evaluate
from cascade.judged import By, Ties
from cascade.significance import Test
from data import DataError, read_qrels, read_run, scan_candidates
from data.columns import require
from data.csv_tables import open_csv
from data.files import existing_file, reading
from data.schema import key_dtype
from data.sources import open_parquet
from simulations.ranker_files import TREC_SUFFIXES, require_labels
from simulations.run_cost import RunCost, read_cost
from simulations.stage_evaluation import evaluate_stages
from slicing.files import atomic_path, check_writable, refuse_overwriting

MEASURES = ("nDCG@10", "RR", "R@10")

_QRELS = (".qrels", ".qrel")


@dataclass(frozen=True)
class EvaluateRequest:
    """What to measure.

    Attributes:
        results: ranked files: Parquet or CSV with qid, docid and rank or score, or TREC runs (.trec, .run).
        judgements: labelled table, or TREC judgements (.qrels, or .txt with four columns).
        measures: names as `cascade.parse_measure` takes them.
        rel: least label that is relevant where a measure names none. without_relevant: queries with nothing relevant
            count as 0, or are left out.
        by, ties: see `cascade.judge`. baseline: the name of the result that the others are compared with; None compares
            every pair. test, seed: see `cascade.compare_systems`.
        stages: also how the stages of each result did, which must then be a ranking of `run`; only then `judgements`
            may be None. all_scores: see `evaluate_stages`. k: of the stages' measures, at least 1.
        out: .json or .csv to write, or None; the stages' figures need .json.
    """

    results: tuple[Path, ...]
    judgements: Path | None
    measures: tuple[str, ...] = MEASURES
    rel: float = 1.0
    without_relevant: Literal["zero", "skip"] = "zero"
    by: By | None = None
    ties: Ties = "docid"
    baseline: str | None = None
    test: Test = "permutation"
    seed: int = 0
    stages: bool = False
    all_scores: Path | None = None
    k: int = 10
    out: Path | None = None


@dataclass(frozen=True)
class EvaluationReport:
    """The measures of each result by name, and the paired tests between them (None for a single one).

    evaluations: empty without judgements. costs: of the results that `run` wrote as Parquet, by name. stages: how the
    stages of each result did, by name, where that was asked for.
    """

    evaluations: dict[str, Evaluation]
    costs: dict[str, RunCost]
    comparisons: pl.DataFrame | None
    written: tuple[Path, ...]
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)


def evaluate_files(request: EvaluateRequest) -> EvaluationReport:
    """Measure every result over the same judged queries, compare them, and write the numbers where asked to.

    Raises:
        DataError: for a file that can't be read or lacks a column.
        CascadeError: for an unknown measure, duplicate candidates, a baseline that is none of the results, or a result
            of which no query, or in these no candidate, is judged.
        SlicingError: for an output that is an input.
    """
    if not request.results or (request.judgements is None and not request.stages):
        raise CascadeError("evaluate needs at least one result and the judgements, got one file; name both")
    if (request.all_scores is not None) and not request.stages:
        raise CascadeError(f"all scores are of stages, got {request.all_scores} without --stages; add it")
    if request.k < 1:
        raise CascadeError(f"k must be at least 1, got {request.k}; 10 is usual")
    if request.out is not None:
        if request.out.suffix.lower() not in (".json", ".csv"):
            raise CascadeError(f"the numbers are written as .json or .csv, got {request.out}; rename it")
        if request.stages and request.out.suffix.lower() == ".csv":
            raise CascadeError(f"the stages' figures are written as .json, got {request.out}; rename it")
        read = [path for path in (*request.results, request.judgements, request.all_scores) if path is not None]
        refuse_overwriting((request.out, _comparisons_beside(request.out)), read)
        check_writable(request.out)
    names = _names(request.results)
    if request.baseline is not None and request.baseline not in names:
        raise CascadeError(f"the baseline must be one of {', '.join(names)}, got {request.baseline!r}; name one")
    judgements = None if request.judgements is None else read_judgements(request.judgements)
    evaluations, comparisons = {}, None
    if judgements is not None and request.judgements is not None:
        for name, path in zip(names, request.results, strict=True):
            run, judged = _same_ids(read_result(path, request.by), judgements)
            _refuse_strangers(run, judged, path, request.judgements)
            evaluations[name] = evaluate(
                run,
                judged,
                request.measures,
                rel=request.rel,
                without_relevant=request.without_relevant,
                by=request.by,
                ties=request.ties,
            )
        comparisons = _compared(request, names, evaluations)
    stages = {}
    if request.stages:
        for name, path in zip(names, request.results, strict=True):
            stages[name] = evaluate_stages(path, judgements, request.rel, request.k, request.all_scores)
    noted = {name: read_cost(path) for name, path in zip(names, request.results, strict=True)}
    costs = {name: cost for name, cost in noted.items() if cost is not None}
    report = EvaluationReport(evaluations, costs, comparisons, (), stages)
    return report if request.out is None else replace(report, written=_write(request.out, names, report))


def _compared(
    request: EvaluateRequest, names: Sequence[str], evaluations: dict[str, Evaluation]
) -> pl.DataFrame | None:
    if len(names) < 2:
        return None
    measures = list(evaluations[names[0]].means)
    # ids may be strings in one result and numbers in another
    tables = {name: each.per_query.with_columns(pl.col("qid").cast(pl.String)) for name, each in evaluations.items()}
    return compare_systems(tables, measures, baseline=request.baseline, test=request.test, seed=request.seed)


def read_result(path: Path, by: By | None = None) -> pl.DataFrame:
    """A ranked file: qid, docid, and rank or score or both, whichever it has."""
    if path.suffix.lower() in TREC_SUFFIXES:
        return read_run(path)
    frame = _columns(path, ("qid", "docid"), ("rank", "score"))
    if not {"rank", "score"} & set(frame.columns):
        raise DataError(f"{path}: a result needs a column 'rank' or 'score', got neither: add one")
    if by is not None and by not in frame.columns:
        raise DataError(f"{path}: unable to find column {by!r}, which was to order it: order by the other")
    return frame


def read_judgements(path: Path) -> pl.DataFrame:
    """Columns qid, docid, label of a labelled table or of TREC judgements."""
    existing_file(path)
    if path.suffix.lower() in _QRELS or (path.suffix.lower() == ".txt" and "qid:" not in _first_line(path)):
        return read_qrels(path)
    if path.suffix.lower() in (".parquet", ".csv"):
        return _columns(path, ("qid", "docid", "label"), ())
    table = scan_candidates(path)
    require_labels(table)
    return table.read().select("qid", "docid", "label")


def _columns(path: Path, needed: Sequence[str], wanted: Sequence[str]) -> pl.DataFrame:
    """These columns of a Parquet or CSV file, under their canonical names."""
    existing_file(path)
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise DataError(f"{path}: unknown suffix {suffix!r}: .parquet, .csv, .trec and .run are known: rename it")
    source = open_parquet([path]) if suffix == ".parquet" else open_csv([path], numbers=(*needed, *wanted))
    names = source.columns.names()
    require(needed, names, path)
    with reading(path):
        frame = source.frame.select(name for name in (*needed, *wanted) if name in names).collect(engine="streaming")
    for name in ("qid", "docid"):
        key_dtype(name, frame.schema[name], path)  # refuses any type but numbers and strings
    if frame.schema.get("label") == pl.Boolean:
        frame = frame.with_columns(pl.col("label").cast(pl.Int8))
    if suffix == ".csv" and "rank" in frame.columns and (frame["rank"] == frame["rank"].round()).all():
        frame = frame.with_columns(pl.col("rank").cast(pl.Int64, strict=False))
    return frame


def _first_line(path: Path) -> str:
    with path.open("rb") as file:
        return file.readline(1 << 16).decode("utf-8", "replace")


def _names(results: Sequence[Path]) -> list[str]:
    """The files' names without suffix; whole paths where these would be the same."""
    stems = [path.stem for path in results]
    names = [str(path) if stems.count(path.stem) > 1 else path.stem for path in results]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise CascadeError(f"each result may be named once, got {twice[0]} more than once; drop one")
    return names


def _same_ids(run: pl.DataFrame, judgements: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both with ids of one type: where one has strings, as TREC files have, the other's numbers become strings."""
    for name in ("qid", "docid"):
        if (run.schema[name] == pl.String) != (judgements.schema[name] == pl.String):
            run = run.with_columns(pl.col(name).cast(pl.String))
            judgements = judgements.with_columns(pl.col(name).cast(pl.String))
    return run, judgements


def _refuse_strangers(run: pl.DataFrame, judgements: pl.DataFrame, path: Path, judged: Path) -> None:
    """Refuse a result that has nothing to do with the judgements: zeros would look as if it had been measured."""
    shared = run.lazy().select("qid").unique().join(judgements.lazy().select("qid"), on="qid", how="semi").collect()
    if not len(shared) and len(run) and len(judgements):
        raise CascadeError(
            f"no query of {path} is judged in {judged}: its ids are such as {run['qid'][0]!r}, those judged such as "
            f"{judgements['qid'][0]!r}; write them alike, or name the judgements of these queries"
        )
    pairs = run.lazy().select("qid", "docid").join(judgements.lazy(), on=["qid", "docid"], how="semi")
    if len(run) and len(judgements) and not len(pairs.head(1).collect(engine="streaming")):
        qid = shared["qid"].min()
        ours, theirs = (frame.filter(pl.col("qid") == qid)["docid"][0] for frame in (run, judgements))
        raise CascadeError(
            f"no candidate of {path} is judged in {judged}: in query {qid!r} its ids are such as {ours!r}, those "
            f"judged such as {theirs!r}; write them alike, or name the judgements of these candidates"
        )


def _write(path: Path, names: Sequence[str], report: EvaluationReport) -> tuple[Path, ...]:
    if path.suffix.lower() == ".csv":
        return _write_csv(path, report.evaluations, report.comparisons)
    results: list[dict[str, Any]] = []
    for name in names:
        entry: dict[str, Any] = {"name": name}
        if name in report.evaluations:
            each = report.evaluations[name]
            entry |= {
                "means": each.means,
                "queries": each.averaged,
                "without_relevant": each.without_relevant,
                "missing": each.missing,
                "unjudged": each.unjudged,
            }
        entry["cost"] = asdict(report.costs[name]) if name in report.costs else None
        if name in report.stages:
            entry["stages"] = report.stages[name]
        results.append(entry)
    content: dict[str, Any] = {
        "schema": 1,
        "results": results,
        "comparisons": [] if report.comparisons is None else report.comparisons.to_dicts(),
        "correction": "Holm over all comparisons",
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return (path,)


def _comparisons_beside(path: Path) -> Path:
    return path.with_suffix(".comparisons.csv")


def _write_csv(path: Path, evaluations: dict[str, Evaluation], comparisons: pl.DataFrame | None) -> tuple[Path, ...]:
    """The means, and beside them the comparisons, which have other columns."""
    rows = [
        {"result": name, "measure": measure, "mean": mean, "queries": each.averaged[measure]}
        for name, each in evaluations.items()
        for measure, mean in each.means.items()
    ]
    files = {path: pl.DataFrame(rows, infer_schema_length=None)}
    if comparisons is not None:
        files[_comparisons_beside(path)] = comparisons
    for file, frame in files.items():
        with atomic_path(file) as temporary:
            frame.write_csv(temporary)
    return tuple(files)

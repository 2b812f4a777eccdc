"""`slicerank train`: a labelled candidate table in, a ranker's file and the record of its training out."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data import query_hashes, split_by_query
from simulations.ranker_files import MODEL, Columns, with_like_ids
from simulations.report.environment import machine, versions
from simulations.report.write import check_out
from simulations.tables import named, ranker_arrays
from slicing import Ranker, RankerSettings, RefusedValue, Seen, SlicingError, TrainResult, fit_ranker
from slicing.files import atomic_path, refuse_overwriting
from slicing.progress import Progress
from slicing.ranker_training import validation_gain
from slicing.tiers import check_tiers

RECORD, CHECKPOINT, STARTED = "train.json", "checkpoint.safetensors", "checkpoint.json"


@dataclass(frozen=True)
class TrainRequest:
    """What to train on.

    Attributes:
        table: labelled candidates. validation: the same; None takes whole queries out of `table`.
        out: folder to write.
        columns: which are features and ids.
        share: of the queries that become validation queries, in (0, 1).
        settings: of network and training; `categorical` is taken from `columns`.
        resume: go on from the checkpoint in `out`.
    """

    table: Path
    out: Path
    validation: Path | None = None
    columns: Columns = field(default_factory=Columns)
    share: float = 0.2
    settings: RankerSettings = field(default_factory=RankerSettings)
    resume: bool = False


@dataclass(frozen=True)
class Trained:
    """A ranker, how its training went, and the file it is in."""

    ranker: Ranker
    result: TrainResult
    file: Path
    measure: str
    """What the validation figures are."""
    queries: tuple[int, int]
    """Of training and validation."""
    unused: dict[str, str] = field(default_factory=dict)
    """The columns of the table that the ranker does not read, and why."""
    warnings: tuple[str, ...] = ()


def train_ranker(request: TrainRequest, command: str, progress: Progress | None = None) -> Trained:
    """Train, and write `model.safetensors` and `train.json` into the folder.

    A run that was interrupted goes on with `resume` and ends with the same bits (on the CPU).

    Raises:
        SlicingError: for settings, tables or a checkpoint that don't fit, or validation queries that are all
            training queries.
        DataError: for a table that can't be read, or is no labelled candidate table.
        ReportError: when the folder can't be written.
    """
    if not 0 < request.share < 1:
        raise SlicingError(f"the validation share must be in (0, 1), got {request.share}; 0.2 is usual")
    if not 0 <= request.settings.seed < 2**63:
        raise SlicingError(f"seed must be a whole number of at least 0 in 63 bits, got {request.settings.seed}; try 0")
    outputs = [request.out / name for name in (MODEL, RECORD, CHECKPOINT, STARTED)]
    refuse_overwriting(outputs, [request.table, *([request.validation] if request.validation else [])])
    columns = request.columns.of(request.table)
    opened = columns.open(request.table)
    unused = columns.unused(opened)
    columns = Columns(opened.schema.numeric, columns.categorical or ())
    names = (*opened.schema.numeric, *opened.schema.categorical)
    settings = RankerSettings(**{**_shallow(request.settings), "categorical": opened.schema.categorical})
    settings.training_scheme()  # refuses wrong settings before the table is read
    check_tiers(settings.tiers, names, settings.rates)
    if request.validation is None:
        train, held = split_by_query(opened.read(), (1 - request.share, request.share), settings.seed)
    else:
        train, held = (table.read() for table in with_like_ids([opened, columns.open(request.validation)]))
    seen, warnings = _seen(train, held, names, request)
    check_out(request.out)
    identity = _identity(train, held, names, settings)
    _check_resume(request, identity)
    features, labels, qids = ranker_arrays(train, names)
    try:
        ranker, result = fit_ranker(
            features,
            labels,
            qids,
            ranker_arrays(held, names),
            settings,
            checkpoint=request.out / CHECKPOINT,
            resume=request.resume,
            progress=progress,
        )
    except RefusedValue as error:  # the transform was fitted on the training rows, so it is none of these
        raise named(error, held, request.validation or request.table) from error
    ranker = replace(ranker, seen=seen)
    measure = _measure_name(settings, labels, held["label"].to_numpy())
    record = {
        "schema": 1,
        "command": command,
        "seed": settings.seed,
        "versions": versions(),
        "machine": machine(),
        "data": {
            "train": _described(request.table, train),
            "validation": _described(request.validation or request.table, held),
            "fingerprint": identity["data"],
        },
        "columns": {
            "numeric": list(opened.schema.numeric),
            "categorical": list(opened.schema.categorical),
            "unused": unused,
        },
        "settings": asdict(settings),
        "measure": measure,
        "rates": list(ranker.rates),
        "flops_convention": "one multiply-add = 1",
        "flops": [ranker.flops(rate) for rate in ranker.rates],
        "feature_costs": list(ranker.feature_costs),
        "query_features": list(ranker.query),
        "best_epoch": result.best_epoch,
        "history": [asdict(epoch) for epoch in result.history],
        "seconds": result.seconds,
    }
    ranker.save(request.out / MODEL, {"best_epoch": result.best_epoch, "fingerprint": identity["data"]})
    with atomic_path(request.out / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    queries = train["qid"].n_unique(), held["qid"].n_unique()
    return Trained(ranker, result, request.out / MODEL, measure, queries, unused, warnings)


def _measure_name(settings: RankerSettings, *labels: NDArray[Any]) -> str:
    """What the validation figures are, by the name that `evaluate` knows it by."""
    dcg = "" if validation_gain(*labels) == "linear" else "(dcg='exp-log2')"
    return f"nDCG{dcg}@{settings.k}"


def _shallow(settings: RankerSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}


def _described(path: Path, frame: pl.DataFrame) -> dict[str, Any]:
    return {"name": path.name, "candidates": len(frame), "queries": frame["qid"].n_unique()}


def _seen(
    train: pl.DataFrame, held: pl.DataFrame, names: tuple[str, ...], request: TrainRequest
) -> tuple[Seen, tuple[str, ...]]:
    """The queries of both parts by columns that every rate reads, and what there is to say of queries in both."""
    settings = request.settings
    later = {name for tier in settings.tiers if tier.rate > settings.rates[0] for name in tier.columns}
    columns = tuple(name for name in names if name not in later)
    hashes = [query_hashes(frame, columns) for frame in (train, held)]
    seen = Seen.of(columns, *hashes)
    both = seen.trained_on(hashes[1])
    if not both.known:
        return seen, ()
    said = f"{request.validation}: {both} validation queries are training queries too"
    if both.known == both.compared:
        raise SlicingError(
            f"{said}, and say nothing of others; name a table of other queries, or leave --validation out: then a "
            f"share of {request.table} is set aside"
        )
    return seen, (f"{said}, so the validation figures are too good; leave them out of one of the tables",)


def _identity(
    train: pl.DataFrame, held: pl.DataFrame, names: tuple[str, ...], settings: RankerSettings
) -> dict[str, str]:
    """What a checkpoint belongs to: the data and the settings (but for the device, which may change)."""
    digest = hashlib.blake2b(digest_size=16)
    for frame in (train, held):
        rows = frame.select("qid", "docid", "label", *names).hash_rows(seed=0).to_numpy()
        digest.update(np.ascontiguousarray(_as_bytes(rows)).data)
    kept = {name: value for name, value in _shallow(settings).items() if name != "device"}
    return {"data": digest.hexdigest(), "settings": repr(sorted(kept.items()))}


def _as_bytes(rows: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return rows.view(np.uint8)


def _check_resume(request: TrainRequest, identity: dict[str, str]) -> None:
    """Refuse to resume a run of other data or settings; note down what this one is of."""
    path = request.out / STARTED
    if request.resume and (request.out / CHECKPOINT).exists() and path.exists():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            changed = [name for name in identity if before[name] != identity[name]]
        except (ValueError, KeyError, TypeError) as error:
            raise SlicingError(f"{path} is damaged ({type(error).__name__}); train without --resume") from error
        if changed:
            raise SlicingError(
                f"the checkpoint in {request.out} is of other {' and '.join(changed)}; repeat the command as it was, "
                f"or train without --resume"
            )
        return
    (request.out / CHECKPOINT).unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(identity) + "\n", encoding="utf-8")

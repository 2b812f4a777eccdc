"""The tables of the ranking simulation: prepared once, and used again while what they are made from stays the same."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cascade import CascadeError
from data import (
    DataError,
    PreparedTables,
    Roles,
    load_prepared,
    prepare_movielens,
    prepare_mq2008,
    split_by_query,
    synthetic,
    write_prepared,
)
from simulations.ranking_settings import RankingSettings
from simulations.ranking_systems import FoldData
from simulations.report.environment import versions
from simulations.run_parts import table_fingerprint
from slicing.files import atomic_path
from slicing.progress import Progress, open_task

SYNTHETIC = {"queries": 300, "candidates": 60, "features": 20}


def ranking_tables(settings: RankingSettings, progress: Progress | None = None) -> PreparedTables:
    """The prepared data set: what lies in ``out/data`` if it was made from the same input, otherwise made now.

    The same input: data, seed, versions of the packages, and names, sizes, times of change and ends of all the files
    in ``data_dir``. Beside the tables ``data.json`` keeps that.

    Raises:
        CascadeError: for an unknown data set, or one that must be told where it lies. DataError: as the preparation.
    """
    if settings.data == "prepared":
        return load_prepared(_data_dir(settings))
    if settings.data not in ("synthetic", "mq2008", "movielens"):
        raise CascadeError(f"data must be synthetic, mq2008, movielens or prepared, got {settings.data!r}")
    prepared, noted = settings.out / "data", settings.out / "data.json"
    made_from = {"data": settings.data, "seed": settings.seed, "synthetic": SYNTHETIC, "versions": versions()}
    if settings.data != "synthetic":
        made_from["originals"] = _fingerprint(_data_dir(settings))
    found = _found(prepared, noted, made_from)
    if found is not None:
        with open_task(progress, "prepared tables", len(found.folds), "folds", done=len(found.folds)) as task:
            task.advance(0, f"as {prepared} has them: the input has not changed")
        return found
    noted.unlink(missing_ok=True)
    tables = _made(settings, prepared)
    with atomic_path(noted) as temporary:
        temporary.write_text(json.dumps({**made_from, "tables": tables.meta["fingerprint"]}) + "\n", encoding="utf-8")
    return tables


def _found(prepared: Path, noted: Path, made_from: dict[str, Any]) -> PreparedTables | None:
    """The tables that an earlier call left, if they are whole and made from the same input."""
    try:
        before = json.loads(noted.read_text(encoding="utf-8"))
        tables = load_prepared(prepared)
    except (OSError, ValueError, DataError):  # none, or damaged: made anew
        return None
    return tables if before == {**made_from, "tables": tables.meta["fingerprint"]} else None


def _made(settings: RankingSettings, prepared: Path) -> PreparedTables:
    if settings.data == "mq2008":
        return prepare_mq2008(_data_dir(settings), prepared)
    if settings.data == "movielens":
        return prepare_movielens(_data_dir(settings), prepared, seed=settings.seed)
    frame = synthetic(*SYNTHETIC.values(), seed=settings.seed).drop("ideal")
    parts = split_by_query(frame, (0.6, 0.2, 0.2), seed=settings.seed)
    numeric = [name for name in frame.columns if name not in ("qid", "docid", "label")]
    names = ("train", "validation", "test")
    fold = {name: [part] for name, part in zip(names, parts, strict=True)}
    return write_prepared(prepared, "synthetic", [fold], Roles(numeric), {"by": "data.synthetic", **SYNTHETIC})


def _data_dir(settings: RankingSettings) -> Path:
    if settings.data_dir is None:
        raise CascadeError(f"data {settings.data!r} must be told where it lies; pass --data-dir DIR")
    return settings.data_dir


def _fingerprint(originals: Path) -> str:
    """Of the names and the ends of the files in a folder, or of one file."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in (originals, *originals.rglob("*")) if path.is_file()):
        digest.update(f"{path.relative_to(originals)}\0{table_fingerprint(path)}\0".encode())
    return digest.hexdigest()


def fold_numbers(settings: RankingSettings, tables: PreparedTables) -> Sequence[int]:
    """The folds to run, from 1.

    Raises:
        CascadeError: for one that the data set does not have.
    """
    every = range(1, len(tables.folds) + 1)
    chosen = settings.folds or tuple(every)
    wrong = [number for number in chosen if number not in every]
    if wrong:
        raise CascadeError(f"{tables.name} has folds 1 to {len(tables.folds)}, got {wrong[0]}; pass --fold with these")
    return chosen


def fold_data(tables: PreparedTables, number: int) -> FoldData:
    """The labelled tables of one fold, in memory."""
    fold, columns = tables.folds[number - 1], tables.meta["columns"]
    train, validation, test = (tables.open(path).read() for path in (fold.train, fold.validation, fold.test))
    return FoldData(number, train, validation, test, tuple(columns["numeric"]), tuple(columns["categorical"]))

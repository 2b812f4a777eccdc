"""Prepared data sets: a folder of candidate tables in folds, with a page that says how they were made.

    OUT/fold1/train.parquet  OUT/fold1/validation.parquet  OUT/fold1/test.parquet  OUT/fold2/...  OUT/meta.json

``meta.json`` is written last and the folder put in place as a whole, so a folder with it is complete.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from data.candidate_files import write_candidates
from data.candidates import CandidateTable, scan_candidates
from data.errors import DataError
from data.files import atomic_folder, existing_file, first_line

PARTS = ("train", "validation", "test")
"""The parts of a fold."""

META = "meta.json"

_SCHEMA = 1


@dataclass(frozen=True)
class Fold:
    """The files of one fold."""

    train: Path
    validation: Path
    test: Path


@dataclass(frozen=True)
class PreparedTables:
    """A prepared data set.

    Attributes:
        name: what reports call it.
        folds: at least one.
        meta: what ``meta.json`` says: ``columns`` (``numeric``, ``categorical``, ``time``,
            ``constant_in_query``), ``made`` (how, in words and numbers), ``folds`` (``rows``, ``queries``,
            ``relevant`` and ``fingerprint`` of each part), ``fingerprint`` of the whole.
    """

    name: str
    folds: tuple[Fold, ...]
    meta: dict[str, Any]

    def open(self, path: Path) -> CandidateTable:
        """Open one of the folds' files with the columns' roles as ``meta`` has them."""
        columns = self.meta["columns"]
        return scan_candidates(
            path, features=columns["numeric"], categorical=columns["categorical"], time=columns["time"]
        )


@dataclass(frozen=True)
class Roles:
    """What the columns of a data set about to be written are.

    Attributes:
        numeric: the numeric features.
        categorical: id columns.
        time: the column that says when, or None.
        constant_in_query: the features and ids that are equal for all candidates of a query, as far as the
            maker knows.
    """

    numeric: Sequence[str]
    categorical: Sequence[str] = ()
    time: str | None = None
    constant_in_query: Sequence[str] = ()


Frames = Iterable[pl.DataFrame]
"""A table in pieces of whole queries by rising id, which need not fit into memory together."""


def write_prepared(
    out: Path | str, name: str, folds: Iterable[Mapping[str, Frames]], roles: Roles, made: Mapping[str, Any]
) -> PreparedTables:
    """Write a prepared data set, whole or not at all; an earlier one in ``out`` is replaced.

    Args:
        out: the folder.
        name: what reports call the data set.
        folds: for each fold its ``train``, ``validation`` and ``test`` tables.
        roles: what the columns are.
        made: how the data set was made, anything JSON can hold.

    Raises:
        DataError: ``out`` holds something else, no fold, a table that breaks a rule of candidate tables or has
            no label.
    """
    out = Path(out)
    described = []
    with atomic_folder(out, META) as folder:
        for number, fold in enumerate(folds, start=1):
            place = folder / f"fold{number}"
            place.mkdir()
            parts = {}
            for part in PARTS:
                path = place / f"{part}.parquet"
                write_candidates(fold[part], path)
                parts[part] = _described(path, roles, f"{name}, fold {number}, {part}")
            described.append(parts)
        if not described:
            raise DataError(f"data set {name!r} must have at least one fold, got none")
        everything = hashlib.blake2b(digest_size=32)
        for parts in described:
            everything.update("".join(parts[part]["fingerprint"] for part in PARTS).encode())
        meta = {
            "schema": _SCHEMA,
            "name": name,
            "fingerprint": everything.hexdigest(),
            "columns": {
                "numeric": list(roles.numeric),
                "categorical": list(roles.categorical),
                "time": roles.time,
                "constant_in_query": list(roles.constant_in_query),
            },
            "made": dict(made),
            "folds": described,
        }
        text = json.dumps(meta, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / META).write_text(text + "\n", encoding="utf-8")
    return load_prepared(out)


def _described(path: Path, roles: Roles, where: str) -> dict[str, Any]:
    """Read a part back, which checks it, and count."""
    table = scan_candidates(path, features=tuple(roles.numeric), categorical=tuple(roles.categorical), time=roles.time)
    if not table.schema.has_label:
        raise DataError(f"{where}: a prepared table must have labels: add a column 'label'")
    relevant = answered = 0
    for frame in table.batches():
        positive = frame.filter(pl.col("label") > 0)
        relevant += len(positive)
        answered += positive["qid"].n_unique()
        for name in roles.constant_in_query:
            differs = frame.group_by("qid").agg(pl.col(name).n_unique() > 1).filter(pl.col(name))
            if len(differs):
                qid = differs["qid"].sort()[0]
                raise DataError(f"{where}: column {name!r} was said to be constant in a query, it is not in {qid!r}")
    return {
        "rows": table.rows,
        "queries": table.queries,
        "relevant": relevant,
        "queries_with_relevant": answered,
        "fingerprint": table.fingerprint(),
    }


def load_prepared(out: Path | str) -> PreparedTables:
    """Read what :func:`write_prepared` wrote.

    Raises:
        DataError: no such folder, no ``meta.json`` in it or a damaged one, a missing file.
    """
    out = Path(out)
    path = out / META
    if not path.is_file():
        raise DataError(f"{out} is no prepared data set, it has no {META}: prepare it first (slicerank data ...)")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        schema, name, count = meta["schema"], str(meta["name"]), len(meta["folds"])
        roles = meta["columns"]
        complete = all(key in roles for key in ("numeric", "categorical", "time", "constant_in_query"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({first_line(error)}): prepare the data set anew") from error
    if schema != _SCHEMA or not complete or not count:
        raise DataError(f"{path} must have schema {_SCHEMA}, columns and folds, got schema {schema!r}: prepare it anew")
    folds = [
        Fold(*(existing_file(out / f"fold{number}" / f"{part}.parquet") for part in PARTS))
        for number in range(1, count + 1)
    ]
    return PreparedTables(name, tuple(folds), meta)

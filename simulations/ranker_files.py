"""Rankers and candidate tables as files: which columns a table has to be trained on, and which a ranker reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from cascade import CascadeError
from data import CandidateTable, DataError, load_prepared, scan_candidates
from data.columns import RESULTS, require
from data.schema import Labels
from data.sources import FORMATS, described
from data.split_files import split_record
from slicing import Ranker

MODEL = "model.safetensors"
"""Name of the ranker's file in the folder that training writes."""

TREC_SUFFIXES = (".trec", ".run")


@dataclass(frozen=True)
class Columns:
    """Which columns are what; None leaves it to the table (every numeric column is a feature, none an id).

    time: the column by which the table was split, which is no feature unless it is asked for. exclude: columns that
    are left out.
    """

    features: tuple[str, ...] | None = None
    categorical: tuple[str, ...] | None = None
    time: str | None = None
    exclude: tuple[str, ...] = ()

    def of(self, path: Path) -> "Columns":
        """Filled in by what is written beside the table about its columns, where they were not all named.

        That is the `meta.json` of the prepared data set in which it lies (`OUT/fold1/train.parquet`), or the
        `split.json` beside it.
        """
        if self.features is None and self.categorical is None:
            roles = _prepared_roles(path.resolve().parent.parent)
            if roles is not None:
                features = tuple(name for name in roles["numeric"] if name not in self.exclude)
                ids = tuple(name for name in roles["categorical"] if name not in self.exclude)
                return replace(self, features=features, categorical=ids)
        if self.features is not None:
            return self
        record = split_record(path.parent)
        ids, time = record.get("categorical", ()), record.get("time")
        categorical = self.categorical
        if categorical is None and ids:
            categorical = tuple(name for name in ids if name not in self.exclude)
        return replace(
            self, categorical=categorical, time=None if time in (*(categorical or ()), *self.exclude) else time
        )

    def open(self, path: Path) -> CandidateTable:
        """Open a labelled table.

        Raises:
            DataError: as `data.scan_candidates`, or for a table without labels.
        """
        check_text(path)
        left_out = (*self.exclude, *(() if self.time is None else (self.time,)))
        table = _opened(path, self.features, self.categorical or (), left_out)
        require_labels(table)
        return table

    def unused(self, table: CandidateTable) -> dict[str, str]:
        """The columns of a table that this opened which are not read, and why, in a word or two."""
        return {name: self._why(name, dtype) for name, dtype in table.schema.ignored.items()}

    def _why(self, name: str, dtype: pl.DataType) -> str:
        if name in self.exclude:
            return "excluded"
        if name == self.time:
            return "time"
        if self.features is not None:
            return "not named"
        if name in RESULTS:
            return "result"
        return "text" if dtype == pl.String else str(dtype)


def _prepared_roles(folder: Path) -> dict[str, Any] | None:
    if not (folder / "meta.json").is_file():
        return None
    try:
        roles: dict[str, Any] = load_prepared(folder).meta["columns"]
    except DataError:  # some other meta.json
        return None
    return roles


def with_like_ids(tables: Sequence[CandidateTable]) -> list[CandidateTable]:
    """The tables with ids of one type in each categorical column: strings, where any table has strings."""
    text: dict[str, pl.DataType] = {
        name: pl.String()
        for each in tables
        for name in each.schema.categorical
        if each.schema.dtypes[name] == pl.String
    }
    return [each.with_ids(text) for each in tables]


def require_labels(table: CandidateTable) -> None:
    """Refuse a table without labels, with the nearest name that it has.

    Raises:
        DataError: naming the table's columns.
    """
    if not table.schema.has_label:
        require(("label",), (*table.schema.columns, *table.schema.ignored), described(table.paths))


def check_text(path: Path) -> None:
    """Refuse text in LightGBM's form: of a suffix that says nothing, or with the queries' sizes in another file.

    Raises:
        DataError: with the command that makes a table of it.
    """
    remedy = "make tables of it with `slicerank data letor --train ... --validation ... --test ...`"
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(
            f"{path}: unknown suffix {suffix!r}, a table's is one of {', '.join(FORMATS)}: rename it, or {remedy}, "
            "with --groups where group sizes lie beside it"
        )
    if FORMATS[suffix] == "svmlight" and path.is_file() and not _has_qid(path):
        raise DataError(f"{path} has no 'qid:': add it, or, with group sizes in {path.name}.query, {remedy} --groups")


def _has_qid(path: Path) -> bool:
    """Whether the first line that says something has one; what is no such line is left to whoever reads the file."""
    with path.open("rb") as file:
        for line in file:
            words = line.split(b"#", 1)[0].split()
            if words:
                return any(word.startswith(b"qid:") for word in words[1:]) or b":" not in words[-1]
    return True


def model_file(model: Path) -> Path:
    """The ranker's file, given it or the folder that training wrote."""
    return model / MODEL if model.is_dir() else model


def load_ranker(model: Path) -> Ranker:
    """The ranker in a file or in the folder that training wrote.

    Raises:
        SlicingError: when there is none, or it is damaged.
    """
    return Ranker.load(model_file(model))


def open_for(
    ranker: Ranker, path: Path, labels: Labels, counts: Sequence[str] = (), rate: float | None = None
) -> CandidateTable:
    """Open a table with the columns that a ranker reads up to a rate (None: the last).

    labels, counts: as `data.scan_candidates` takes them.

    Raises:
        CascadeError: for a ranker whose columns hold several features each, which no table has.
        DataError: as `data.scan_candidates`.
    """
    wide = [name for name, width in ranker.numeric.items() if width > 1]
    if wide:
        raise CascadeError(
            f"tables give one number per feature column, the ranker's {wide[0]!r} holds {ranker.numeric[wide[0]]}; "
            f"train it from a table"
        )
    read = ranker.columns_at(ranker.rates[-1] if rate is None else rate)
    numeric = tuple(name for name in read if name in ranker.numeric)
    ids = [name for name in read if name in ranker.vocabularies]
    check_text(path)
    table = _opened(path, numeric, ids, labels=labels, counts=counts)
    return table.with_ids({name: _id_type(ranker, name) for name in ids})


def _opened(
    path: Path,
    features: tuple[str, ...] | None,
    categorical: Sequence[str],
    exclude: Sequence[str] = (),
    labels: Labels = "whole",
    counts: Sequence[str] = (),
) -> CandidateTable:
    """Open a table of these features, which may stand in one list column as f0, f1, ..."""
    wanted = None if _has_list(path) else features
    table = scan_candidates(
        path, features=wanted, categorical=categorical, exclude=exclude, labels=labels, counts=counts
    )
    missing = [name for name in features or () if name not in table.schema.numeric]
    if missing:
        raise DataError(f"{path}: unable to find feature {missing[0]!r}, which the ranker reads: add it")
    return table


def _id_type(ranker: Ranker, name: str) -> pl.DataType:
    """As what a ranker learned the ids of a column."""
    return pl.Int64() if ranker.vocabularies[name].known.dtype.kind == "i" else pl.String()


def _has_list(path: Path) -> bool:
    """Whether a Parquet file holds its features in one list column."""
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        dtype = pl.scan_parquet(path, glob=False).collect_schema().get("features")
    except (pl.exceptions.PolarsError, OSError):
        return False  # opening it properly says what is wrong
    return isinstance(dtype, pl.List | pl.Array)

"""Learning-to-rank collections in LETOR's text format: MQ2008 and any other, as prepared candidate tables."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data.candidates import CandidateTable, scan_candidates
from data.errors import DataError
from data.prepared import PARTS, PreparedTables, Roles, write_prepared

Files = Mapping[str, Path | str]
"""A file for each of ``train``, ``validation`` and ``test``."""

_SUBSETS = tuple(f"S{number}.txt" for number in range(1, 6))
_NAMES = {
    "train": ("train.txt", "trainingset.txt"),
    "validation": ("vali.txt", "validation.txt", "valid.txt", "validationset.txt"),
    "test": ("test.txt", "testset.txt"),
}


def prepare_mq2008(folder: Path | str, out: Path | str) -> PreparedTables:
    """Prepare MQ2008 (LETOR 4.0, Qin and Liu 2013) from its five subsets, with the official folds.

    Fold 1 trains on S1, S2 and S3, validates on S4 and tests on S5; fold 2 on S2, S3, S4, then S5, then S1;
    and so on in a circle.

    Args:
        folder: holds ``S1.txt`` to ``S5.txt``.
        out: the folder to write; an earlier prepared data set there is replaced.

    Raises:
        DataError: a missing file or a bad line.
    """
    folder = Path(folder)
    missing = [name for name in _SUBSETS if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} must hold S1.txt to S5.txt of MQ2008, {missing[0]} is missing: name its folder")
    return prepare_letor(folder, out, name="mq2008")


def prepare_letor(
    source: Path | str | Files, out: Path | str, *, name: str | None = None, groups: Files | None = None
) -> PreparedTables:
    """Prepare a collection in LETOR's text format.

    All parts get the same features ``f1`` to ``fn``, n being the highest index in any of them; an index 0 gives
    an ``f0`` too. Folders named ``Fold1``, ``Fold2``, ... become the folds, in the order of their numbers.

    Args:
        source: a folder with ``Fold1``, ``Fold2``, ..., each with ``train.txt``, ``vali.txt`` and ``test.txt``;
            or a folder with these three; or a folder with ``S1.txt`` to ``S5.txt``, folded as MQ2008; or the
            three files themselves, by ``train``, ``validation`` and ``test``.
        out: the folder to write; an earlier prepared data set there is replaced.
        name: what reports call it; None for the folder's name, or that of the training file.
        groups: LightGBM's group-size files where the three files have no ``qid``.

    Raises:
        DataError: no such layout, a missing file or a bad line.
    """
    if isinstance(source, Mapping):
        folds = [_three_files(source)]
        groups = None if groups is None else {part: paths[0] for part, paths in _three_files(groups).items()}
        called = name or folds[0]["train"][0].stem
    else:
        if groups is not None:
            raise DataError("groups go with three named files, got a folder: name the files train, validation, test")
        folds = _layout(Path(source))
        called = name or Path(source).resolve().name
    tables: dict[tuple[Path, ...], CandidateTable] = {}
    for fold in folds:
        for part, paths in fold.items():
            if paths not in tables:
                sizes = None if groups is None else [groups[part]]
                tables[paths] = scan_candidates(list(paths), format="svmlight", groups=sizes)
    numbers = [int(feature[1:]) for table in tables.values() for feature in table.schema.numeric]
    features = [f"f{number}" for number in range(min(numbers), max(numbers) + 1)]
    made: dict[str, Any] = {
        "how": "LETOR text, absent features 0",
        "files": [{part: [path.name for path in paths] for part, paths in fold.items()} for fold in folds],
    }
    written = ({part: _widened(tables[paths], features) for part, paths in fold.items()} for fold in folds)
    return write_prepared(out, called, written, Roles(features), made)


def _widened(table: CandidateTable, features: list[str]) -> Iterator[pl.DataFrame]:
    absent = [pl.lit(0.0, pl.Float32).alias(name) for name in features if name not in table.schema.numeric]
    for frame in table.batches():
        yield frame.with_columns(absent).select("qid", "docid", "label", *features)


def _three_files(files: Files) -> dict[str, tuple[Path, ...]]:
    if sorted(files) != sorted(PARTS):
        raise DataError(f"three files are wanted, by {', '.join(PARTS)}, got {', '.join(sorted(files)) or 'none'}")
    return {part: (Path(files[part]),) for part in PARTS}


def _layout(folder: Path) -> list[dict[str, tuple[Path, ...]]]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}: check the path")
    numbered = {
        int(match[1]): path
        for path in folder.iterdir()
        if path.is_dir() and (match := re.fullmatch(r"fold ?([0-9]{1,4})", path.name, re.IGNORECASE))
    }
    if numbered:
        return [_named_parts(numbered[number]) for number in sorted(numbered)]
    subsets = [folder / name for name in _SUBSETS]
    if all(path.is_file() for path in subsets):
        return [
            {
                "train": tuple(subsets[(first + step) % 5] for step in range(3)),
                "validation": (subsets[(first + 3) % 5],),
                "test": (subsets[(first + 4) % 5],),
            }
            for first in range(5)
        ]
    return [_named_parts(folder)]


def _named_parts(folder: Path) -> dict[str, tuple[Path, ...]]:
    present = {path.name.lower(): path for path in folder.iterdir() if path.is_file()}
    parts: dict[str, tuple[Path, ...]] = {}
    for part, names in _NAMES.items():
        found = [present[name] for name in names if name in present]
        if not found:
            raise DataError(
                f"{folder} must hold {names[0]} for the {part} part (or folders Fold1, Fold2, ..., or S1.txt to "
                "S5.txt): name the collection's folder or the three files"
            )
        parts[part] = (found[0],)
    return parts

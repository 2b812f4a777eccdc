"""CSV files as lazy frames: what a column is follows from all of its values, not from a sample of them.

The files are read as text. One pass counts, for each column, the values that are numbers, or whole numbers; after it
the columns are cast, lazily. So a column of ids is numeric or it is text, wherever the first letter stands, and a
number that is none is found before anything is computed, with its line.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import polars as pl

from data.columns import RESERVED, renames
from data.csv_shape import check_csv, line_of
from data.errors import DataError
from data.files import reading
from data.sources import Source, described

MISSING = ("", "na", "n/a", "nan", "null", "none")
"""What stands for a missing number, in any case, besides nothing at all. Ids are taken as they are written."""

_TRUTH = {"true": 1.0, "false": 0.0}
_DATES = ("%Y-%m-%d",)
_MOMENTS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S")
_SHOWN = 60


def open_csv(
    paths: Sequence[Path],
    ids: Collection[str] = (),
    numbers: Collection[str] | None = None,
    time: str | None = None,
    exclude: Collection[str] = (),
) -> Source:
    """CSV files with a header, one after the other.

    ``qid``, ``docid`` and ``ids`` are Int64 where every value is a whole number in its usual form (``7``, not
    ``007``), and else String. ``label`` and ``numbers`` are Float64. The column ``time`` is Float64, or holds ISO
    dates (2024-01-31) or moments (2024-01-31 12:00:00). Any other column is Float64 where every value is a number,
    true, false or missing, and else String.

    Args:
        paths: of the same columns in the same order.
        ids: canonical names, as in all that follow.
        numbers: columns that must be numeric; None means that a column of which more than half the values are
            numbers must be (but for results, such as ``score``).
        time: the column that says when, or None.
        exclude: columns that need not be numeric, the label among them.

    Raises:
        DataError: what :func:`data.csv_shape.check_csv` refuses, files of different columns, two columns that could
            be the same one, or a value that is no number where there must be one, with its line.
    """
    names: list[str] = []
    for path in paths:
        found = check_csv(path)
        if names and found != names:
            raise DataError(f"{path} must have the columns of {paths[0]} in the same order: {', '.join(names)}")
        names = found
    canonical = renames(names)
    columns = [canonical.get(name, name) for name in names]
    keys = [name for name in columns if name in ("qid", "docid", *ids)]
    others = [name for name in columns if name not in keys]
    scan = _text(paths, canonical)
    counts = _counted(scan, paths, keys, others)
    casts = [_whole(name).alias(name) for name in keys if counts[name]["good"] == counts[name]["present"]]
    for name in others:
        good, present = counts[name]["good"], counts[name]["present"]
        if name == time:
            casts.append(_time(scan, name, paths, numeric=good == present))
        elif good == present:
            casts.append((_plain(name) if counts[name]["plain"] else _number(name)).alias(name))
        elif name not in exclude and (name == "label" or (numbers is not None and name in numbers)):
            raise _refusal(paths, name, _number(name), f"column {name!r} must be numeric", "mend it or drop the row")
        elif numbers is None and name not in RESERVED and name not in exclude and 2 * good > present:
            raise _refusal(
                paths,
                name,
                _number(name),
                f"column {name!r} must be numeric, as most of its values are",
                "mend it or leave it empty, or declare the column as categorical or excluded",
            )
    scan = scan.with_columns(casts)
    with reading(described(paths)):
        return Source(scan, scan.collect_schema())


def _counted(
    scan: pl.LazyFrame, paths: Sequence[Path], keys: Sequence[str], others: Sequence[str]
) -> dict[str, dict[str, int]]:
    """For each column the values ``present``, those that are ``good``, and whether a ``plain`` cast finds them all.

    keys: columns of ids, good as whole numbers. others: columns that may be numeric.
    """
    wanted = [
        *(pl.col(name).count().alias(f"present {name}") for name in (*keys, *others)),
        *((_whole(name).cast(pl.String) == pl.col(name)).sum().alias(f"good {name}") for name in keys),
        *(_plain(name).count().alias(f"good {name}") for name in others),
    ]
    with reading(described(paths)):
        first = scan.select(wanted).collect(engine="streaming").row(0, named=True)
        unsure = [name for name in others if first[f"good {name}"] < first[f"present {name}"]]
        second = {}
        if unsure:  # words for numbers cost time to look for, and few columns have them
            wanted = [
                *(_written(name).sum().alias(f"present {name}") for name in unsure),
                *(_number(name).count().alias(f"good {name}") for name in unsure),
            ]
            second = scan.select(wanted).collect(engine="streaming").row(0, named=True)
    found = {**first, **second}
    return {
        name: {"present": found[f"present {name}"], "good": found[f"good {name}"], "plain": name not in unsure}
        for name in (*keys, *others)
    }


def _text(paths: Sequence[Path], canonical: Mapping[str, str]) -> pl.LazyFrame:
    """Every column as it is written."""
    return pl.scan_csv(list(paths), infer_schema=False, glob=False, low_memory=True).rename(canonical)


def _whole(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64, strict=False)


def _plain(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def _word(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().str.to_lowercase()


def _written(name: str) -> pl.Expr:
    """Whether there is a value."""
    return pl.col(name).is_not_null() & ~_word(name).is_in(MISSING)


def _number(name: str) -> pl.Expr:
    """The values as numbers; null where they are missing, or none."""
    value = _word(name).cast(pl.Float64, strict=False)
    truth = _word(name).replace_strict(_TRUTH, default=None, return_dtype=pl.Float64)
    return pl.when(_written(name)).then(pl.coalesce(value, truth))


def _time(scan: pl.LazyFrame, name: str, paths: Sequence[Path], numeric: bool) -> pl.Expr:
    """The column that says when, as numbers, dates or moments."""
    if numeric:
        return _number(name).alias(name)
    text = pl.when(_written(name)).then(pl.col(name).str.strip_chars()).str
    forms = {form: text.to_date(form, strict=False) for form in _DATES}
    forms |= {form: text.to_datetime(form, time_unit="us", strict=False) for form in _MOMENTS}
    with reading(described(paths)):
        wanted = [_written(name).sum().alias("present"), *(each.count().alias(form) for form, each in forms.items())]
        counts = scan.select(wanted).collect(engine="streaming").row(0, named=True)
    best = max(forms, key=counts.__getitem__)
    if counts[best] == counts["present"]:
        return forms[best].alias(name)
    good = forms[best] if counts[best] else _number(name)
    rule = f"be written {best} throughout" if counts[best] else "be a number or a date"
    raise _refusal(paths, name, good, f"time column {name!r} must {rule}", "mend it or drop the row")


def _refusal(paths: Sequence[Path], name: str, good: pl.Expr, rule: str, remedy: str) -> DataError:
    """What is wrong with a column, with the first line on which ``good`` is null though something is written."""
    for path in paths:
        with reading(path):
            scan = pl.scan_csv(path, infer_schema=False, glob=False, low_memory=True)
            scan = scan.rename(renames(scan.collect_schema().names())).select(name).with_row_index("row of the file")
            first = scan.filter(_written(name) & good.is_null()).head(1).collect(engine="streaming")
        if len(first):
            row, value = first.row(0)
            return DataError(f"{path}, line {line_of(path, row)}: {rule}, got {value[:_SHOWN]!r}: {remedy}")
    return DataError(f"{described(paths)}: {rule}, and the files changed while they were read: read them again")

"""TREC's two text formats: a run (``qid Q0 docid rank score tag``) and judgements (``qid 0 docid relevance``).

Ids are strings in both, as TREC has them; cast a table's integer ids to compare.
"""

from pathlib import Path

import polars as pl

from data.columns import renames, require
from data.errors import DataError
from data.files import atomic_path, existing_file, first_line, reading

_RUN = ("qid", "q0", "docid", "rank", "score", "tag")
_QRELS = ("qid", "iteration", "docid", "label")
_SHOWN = 80


def read_run(path: Path | str) -> pl.DataFrame:
    """Read a run: columns qid, docid (String), rank (Int64), score (Float64), tag (String), in the file's order.

    Raises:
        DataError: no such file, an empty one, a line (named by its number) without exactly six columns or with
            a rank or score that is no number, the same candidate twice in a query.
    """
    return (
        _read(Path(path), _RUN, {"rank": pl.Int64(), "score": pl.Float64()})
        .drop("q0")
        .select("qid", "docid", "rank", "score", "tag")
    )


def read_qrels(path: Path | str) -> pl.DataFrame:
    """Read judgements: columns qid, docid (String), label (Int64), in the file's order.

    A label may be negative, as some collections mark junk; such a document is not relevant.

    Raises:
        DataError: no such file, an empty one, a line (named by its number) without exactly four columns or with
            a relevance that is no whole number, the same document twice in a query.
    """
    return _read(Path(path), _QRELS, {"label": pl.Int64()}).drop("iteration")


def write_run(frame: pl.DataFrame, path: Path | str, *, tag: str = "slicerank", by_rank: bool = False) -> None:
    """Write a run, queries by rising id and candidates by rank.

    Programs that read runs order by score and pay no heed to the rank. In a cascade's result the two can differ,
    as scores of different stages are not comparable; then ``by_rank`` writes a score that falls with the rank.

    Args:
        frame: columns ``qid``, ``docid`` (or aliases), and ``score`` or ``rank`` or both. Without a ``rank``
            candidates are ranked by falling score, ties by rising docid.
        path: the file to write.
        tag: the run's name, without white space.
        by_rank: write as score the number of candidates in the query ranked at or below this one; needs ``rank``.

    Raises:
        DataError: a missing column, ids with white space, the same candidate twice in a query, a missing or
            infinite score, or scores that do not fall with the rank.
    """
    frame = _keys(frame)
    _refuse_white_space(pl.Series("tag", [tag]))
    if by_rank:
        require(("rank",), frame.columns, "the run")
    elif "rank" not in frame.columns:
        require(("score",), frame.columns, "the run")
        frame = frame.sort("qid", "score", "docid", descending=[False, True, False])
        frame = frame.with_columns(rank=pl.int_range(1, pl.len() + 1).over("qid"))
    else:
        require(("score",), frame.columns, "the run (or set by_rank)")
    _refuse_missing(frame, "rank")
    if not frame.schema["rank"].is_integer():
        raise DataError(f"column 'rank' must be integer, got {frame.schema['rank']}: cast it first")
    frame = frame.sort("qid", "rank", "docid")
    if by_rank:
        frame = frame.with_columns(score=pl.len().over("qid") + 1 - pl.col("rank").rank("min").over("qid"))
    _refuse_missing(frame, "score")
    rises = (pl.col("qid") == pl.col("qid").shift()) & (pl.col("score") > pl.col("score").shift())
    wrong = frame.filter(rises.fill_null(False))
    if len(wrong):
        qid, docid, rank = wrong.select("qid", "docid", "rank").row(0)
        raise DataError(
            f"scores must fall with the rank, as readers of runs order by score, but query {qid!r}, candidate "
            f"{docid!r} at rank {rank} has more than the one before: set by_rank, or drop the rank"
        )
    _write(frame.select("qid", pl.lit("Q0"), "docid", "rank", "score", pl.lit(tag).alias("tag")), Path(path))


def write_qrels(frame: pl.DataFrame, path: Path | str) -> None:
    """Write judgements in the order of the rows.

    frame: columns ``qid``, ``docid``, ``label`` (or aliases), the labels whole numbers; rows without a label
    (null) are not judged and left out.

    Raises:
        DataError: a missing column, a label that is no whole number, ids with white space, the same document
            twice in a query.
    """
    frame = _keys(frame)
    require(("label",), frame.columns, "the judgements")
    frame = frame.filter(pl.col("label").is_not_null())
    if not frame.schema["label"].is_numeric():
        raise DataError(f"column 'label' must be numeric, got {frame.schema['label']}: cast it first")
    whole = frame["label"].cast(pl.Int64, strict=False)
    wrong = frame.filter((whole != frame["label"]).fill_null(True))
    if len(wrong):
        qid, docid, label = wrong.select("qid", "docid", "label").row(0)
        raise DataError(
            f"TREC judgements are whole numbers, got {label} for query {qid!r}, document {docid!r}: round the labels"
        )
    _write(frame.select("qid", pl.lit("0"), "docid", label=whole), Path(path))


def _read(path: Path, columns: tuple[str, ...], numbers: dict[str, pl.DataType]) -> pl.DataFrame:
    existing_file(path)
    with reading(path):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise DataError(f"{path}, line {line}: text must be UTF-8 ({first_line(error)}): convert it") from error
    lines = pl.DataFrame({"text": text.split("\n")}).with_row_index("line", offset=1)
    lines = lines.with_columns(pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars())
    lines = lines.filter(pl.col("text") != "")
    if not len(lines):
        raise DataError(f"{path} holds no line of the form {' '.join(columns)!r}")
    wrong = lines.filter(pl.col("text").str.count_matches(" ", literal=True) != len(columns) - 1)
    if len(wrong):
        line, shown = wrong.row(0)
        raise DataError(
            f"{path}, line {line}: {len(columns)} columns ({' '.join(columns)}) wanted, got {shown[:_SHOWN]!r}"
        )
    parts = pl.col("text").str.split_exact(" ", len(columns) - 1).struct.rename_fields(list(columns))
    frame = lines.select("line", parts.alias("parts")).unnest("parts")
    for name, dtype in numbers.items():
        values = frame[name].cast(dtype, strict=False)
        bad = frame.filter(values.is_null() | (~values.is_finite() if dtype.is_float() else False))
        if len(bad):
            line, found = bad.select("line", name).row(0)
            kind = "a finite number" if dtype.is_float() else "a whole number"
            raise DataError(f"{path}, line {line}: the {name} must be {kind}, got {found[:_SHOWN]!r}")
        frame = frame.with_columns(values)
    twice = frame.filter(~pl.struct("qid", "docid").is_first_distinct())
    if len(twice):
        line, qid, docid = twice.select("line", "qid", "docid").row(0)
        raise DataError(f"{path}, line {line}: query {qid!r} has {docid!r} already: write it once")
    return frame.drop("line")


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.rename(renames(frame.columns))
    require(("qid", "docid"), frame.columns, "the table")
    for name in ("qid", "docid"):
        _refuse_missing(frame, name)
        _refuse_white_space(frame[name].cast(pl.String))
    twice = frame.filter(~pl.struct("qid", "docid").is_first_distinct())
    if len(twice):
        qid, docid = twice.select("qid", "docid").row(0)
        raise DataError(f"query {qid!r} has candidate {docid!r} more than once: drop the surplus rows")
    return frame


def _refuse_missing(frame: pl.DataFrame, name: str) -> None:
    column = frame[name]
    bad = column.is_null() | (~column.is_finite()).fill_null(True) if column.dtype.is_float() else column.is_null()
    if bad.any():
        raise DataError(
            f"column {name!r} must have no missing or infinite values, got {int(bad.sum())}: mend those rows"
        )


def _refuse_white_space(ids: pl.Series) -> None:
    broken = ids.filter(ids.str.contains(r"\s") | (ids == ""))
    if len(broken):
        raise DataError(f"{ids.name} must not be empty or hold white space in TREC files, got {broken[0]!r}: rename it")


def _write(frame: pl.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        frame.write_csv(temporary, separator=" ", include_header=False, quote_style="never")

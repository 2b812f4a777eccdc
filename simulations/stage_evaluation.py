"""`slicerank evaluate --stages`: how the stages of a run did, from its ranking."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from cascade import StageRanks, kept_as_many, recorded_result, recorded_scores, relevant_pairs
from cascade.recorded import PREFIX
from data import DataError
from data.columns import require
from data.csv_shape import check_csv
from data.csv_tables import open_csv
from data.files import existing_file, reading
from data.schema import key_dtype
from data.sources import open_parquet
from simulations.stage_figures import stage_figures


def evaluate_stages(
    path: Path, judgements: pl.DataFrame | None, rel: float, k: int, all_scores: Path | None
) -> dict[str, Any]:
    """The figures of one ranking, see :func:`simulations.stage_figures.stage_figures`.

    Args:
        path: a ranking that `run` wrote as Parquet, or the same columns as CSV.
        judgements: qid, docid, label; None where there are none.
        rel: least label that is relevant.
        k: of the measures, at least 1.
        all_scores: a ranking by the same stages that dropped nobody, or None; `path` itself may be one.

    Raises:
        DataError: a file that can't be read, or has not these columns.
        CascadeError: one that is no ranking of a run, or other scores than of its candidates and stages.
    """
    files = [read_ranking(path), *([] if all_scores is None else [read_ranking(all_scores)])]
    pairs = [] if judgements is None else [relevant_pairs(judgements, rel)]
    tables = _with_like_ids([*files, *pairs])
    results = [recorded_result(table) for table in tables[: len(files)]]
    result, everything = results[0], results[-1]
    relevant = tables[-1] if pairs else None
    ranks = StageRanks.of_run(result)
    if all_scores is None and not all(ranks.covers):
        return stage_figures(result, ranks, None, relevant, k)
    ranks = StageRanks.of(recorded_scores(result, everything))
    return stage_figures(result, ranks, kept_as_many(ranks, result), relevant, k)


def read_ranking(path: Path) -> pl.DataFrame:
    """A run's ranking as `recorded_result` takes it.

    Raises:
        DataError: another suffix, a file that can't be read, a missing column.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        names = [name for name in check_csv(path) if name.startswith(PREFIX)]
        source = open_csv([path], numbers=("rank", "stage", "kept", *names))
    elif suffix == ".parquet":
        source = open_parquet([existing_file(path)])
    else:
        raise DataError(f"{path}: stages are read from what `run` wrote as .parquet, or from .csv, got {suffix!r}")
    columns = source.columns.names()
    names = [name for name in columns if name.startswith(PREFIX)]
    if names and not {"stage", "kept"} & set(columns):
        raise DataError(
            f"{path}: stages are judged by what they dropped too, got a ranking of the final cut alone; run again "
            "without --only-kept"
        )
    require(("qid", "docid", "rank", "stage", "kept"), columns, path)
    for name in ("qid", "docid"):
        key_dtype(name, source.columns[name], path)  # refuses any type but numbers and strings
    with reading(path):
        return source.frame.select("qid", "docid", "rank", "stage", "kept", *names).collect(engine="streaming")


def _with_like_ids(frames: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """Tables with ids of one type: strings, where any has strings."""
    text = [name for name in ("qid", "docid") if any(frame.schema[name] == pl.String for frame in frames)]
    return [frame.with_columns(pl.col(text).cast(pl.String)) if text else frame for frame in frames]

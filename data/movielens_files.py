"""MovieLens' two tables, ratings.csv and movies.csv, checked."""

import re
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from data.columns import require
from data.errors import DataError
from data.files import existing_file, reading
from data.movielens_history import Movies

_NO_GENRE = "(no genres listed)"


def read_ratings(folder: Path) -> pl.DataFrame:
    """Read the ratings: columns user, item (Int64), rating (Float64), time (Int64, seconds), sorted by time.

    Ties in time are broken by user, then item.

    Raises:
        DataError: a missing file or column, a missing value, a rating that is not finite, a user who rated an
            item twice.
    """
    path = existing_file(folder / "ratings.csv")
    types = {"userId": pl.Int64, "movieId": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64}
    frame = _read(path, types)
    twice = frame.filter(~pl.struct("userId", "movieId").is_first_distinct())
    if len(twice):
        user, item = twice.select("userId", "movieId").row(0)
        raise DataError(f"{path}: a user rates an item once, user {user} rated item {item} twice: drop one")
    if not frame["rating"].is_finite().all():
        raise DataError(f"{path}: ratings must be finite numbers: mend or drop the others")
    return frame.select(user="userId", item="movieId", rating="rating", time="timestamp").sort("time", "user", "item")


def read_movies(folder: Path) -> Movies:
    """Read the items: the year at the end of the title, and the genres between bars.

    Raises:
        DataError: a missing file or column, a missing value, an item listed twice.
    """
    path = existing_file(folder / "movies.csv")
    frame = _read(path, {"movieId": pl.Int64, "title": pl.String, "genres": pl.String})
    if frame["movieId"].n_unique() != len(frame):
        raise DataError(
            f"{path}: an item is listed once, {frame.filter(pl.col('movieId').is_duplicated())['movieId'][0]} is not"
        )
    pairs = (
        frame.select(item="movieId", genre=pl.col("genres").str.split("|"))
        .explode("genre")
        .filter((pl.col("genre") != _NO_GENRE) & (pl.col("genre") != ""))
        .unique(maintain_order=True)
    )
    columns = {genre: _column(genre) for genre in pairs["genre"].unique().sort()}
    if len(set(columns.values())) < len(columns):
        raise DataError(f"{path}: two genres would be one column, {', '.join(columns)}: rename one")
    listed = frame.select(
        item="movieId",
        item_year=pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int64),
    ).join(pairs.group_by("item").agg(genre=pl.col("genre")), on="item", how="left", maintain_order="left")
    table = listed.select(
        "item",
        "item_year",
        item_genres=pl.col("genre").list.len().fill_null(0),
        **{
            column: pl.col("genre").list.contains(pl.lit(genre)).fill_null(False).cast(pl.Float32)
            for genre, column in columns.items()
        },
    )
    return Movies(table, pairs, tuple(columns.values()))


def _column(genre: str) -> str:
    """The column of a genre; ``is_`` keeps it apart from the features about a user's taste."""
    return "genre_is_" + re.sub(r"[^a-z0-9]+", "_", genre.lower()).strip("_")


def _read(path: Path, types: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    with reading(path):
        frame = pl.read_csv(path, infer_schema=False, glob=False)
    require(types, frame.columns, path)
    for name, dtype in types.items():
        values = frame[name].cast(dtype, strict=False)
        if values.null_count():
            row = int(values.is_null().arg_true()[0])
            raise DataError(f"{path}, row {row + 1}: {name} must be {dtype}, got {frame[name][row]!r}: mend or drop it")
        frame = frame.with_columns(values)
    return frame.select(list(types))

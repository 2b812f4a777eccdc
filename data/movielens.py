"""MovieLens as candidate tables: what will this user like in this period, divided by time.

A query is a user in a period (a day, by default). Its candidates are the items that the user rated at least
``relevant`` in the period (label 1), and sampled items that the user had not rated by the end of it (label 0).
Features are read from the ratings strictly before the period's start (:mod:`data.movielens_history`).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data.errors import DataError
from data.movielens_files import read_movies, read_ratings
from data.movielens_history import CROSS, ITEM, SECONDS_PER_DAY, USER, History
from data.prepared import PARTS, PreparedTables, Roles, write_prepared

SHARES = (0.3, 0.5, 0.1, 0.1)
"""Shares of the ratings, by time: history alone, then training, validation and test queries."""

_QUERIES_AT_ONCE = 2_000
_SAMPLING = 23  # tells this use of the seed from others
_ROUNDS = 20


def prepare_movielens(
    folder: Path | str,
    out: Path | str,
    *,
    seed: int = 0,
    negatives: int = 100,
    relevant: float = 4.0,
    period_days: int = 1,
    min_history: int = 1,
    shares: Sequence[float] = SHARES,
) -> PreparedTables:
    """Prepare MovieLens (Harper and Konstan 2015), any size that has ``ratings.csv`` and ``movies.csv``.

    Time is cut at three moments so that the ratings fall into ``shares``; a period belongs where it starts.
    Negatives come half by popularity (the item of a rating drawn from those before the period) and half evenly
    over the items rated by anyone before the period, without repetition.

    Args:
        folder: holds ``ratings.csv`` and ``movies.csv``.
        out: the folder to write; an earlier prepared data set there is replaced.
        seed: non-negative; with user and period it determines the negatives.
        negatives: for each query, at least 1; fewer where no more items are left.
        relevant: least rating of a positive.
        period_days: at least 1.
        min_history: ratings that a user must have before the period, at least 0.
        shares: four, each above 0, summing to 1: history, training, validation, test.

    Returns:
        One fold. Columns qid (numbers, by rising time, then user), docid (= item), label, ``time`` (the period's
        first day), the ids ``user`` and ``item``, and the features. A positive that nobody rated before the
        period is left out, as no negative is like it; ``meta["made"]`` counts these.

    Raises:
        DataError: an argument out of range, a missing file, damaged rows, a part without queries.
    """
    for name, value, least in (
        ("seed", seed, 0),
        ("negatives", negatives, 1),
        ("period_days", period_days, 1),
        ("min_history", min_history, 0),
    ):
        if value < least:
            raise DataError(f"{name} must be at least {least}, got {value}")
    if len(shares) != 4 or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise DataError(
            f"shares must be four (history, training, validation, test), each above 0, summing to 1, got {list(shares)}"
        )
    folder = Path(folder)
    ratings, movies = read_ratings(folder), read_movies(folder)
    unlisted = ratings.join(movies.table, on="item", how="anti")
    if len(unlisted):
        raise DataError(f"{folder}: item {unlisted['item'][0]} has ratings but is not in movies.csv: add it there")
    ratings = ratings.with_columns(period=pl.col("time") // (period_days * SECONDS_PER_DAY))
    starts = _borders(ratings, shares, folder)
    positives, lost = _positives(ratings, relevant, min_history, starts[0], period_days)
    history = History(ratings, movies, relevant)
    sampler = _Sampler(ratings, negatives, seed)
    fold, counts = {}, {}
    for number, part in enumerate(PARTS):
        chosen = positives.filter(pl.col("period") >= starts[number])
        if number + 1 < len(starts):
            chosen = chosen.filter(pl.col("period") < starts[number + 1])
        if not len(chosen):
            raise DataError(f"{folder}: the {part} part has no query: choose other shares or a smaller min_history")
        counts[part] = chosen["qid"].n_unique()
        fold[part] = _tables(chosen, history, sampler, period_days)
    made: dict[str, Any] = {
        "how": "a query is a user in a period; features from the ratings strictly before the period",
        "sampling": (
            f"{negatives} negatives a query, of items rated by anyone before the period and not by the user before "
            "its end: half the item of a rating drawn evenly from those before the period (popularity), half drawn "
            "evenly over the items; without repetition"
        ),
        "seed": seed,
        "negatives": negatives,
        "relevant": relevant,
        "period_days": period_days,
        "min_history": min_history,
        "shares": list(shares),
        "starts": {part: str(_day(start, period_days)) for part, start in zip(PARTS, starts, strict=True)},
        "positives_left_out_as_unknown_before": lost,
        "ratings": len(ratings),
    }
    roles = Roles([*USER, *ITEM, *CROSS, *movies.genres], ["user", "item"], "time", ["user", *USER])
    return write_prepared(out, "movielens", [fold], roles, made)


def _borders(ratings: pl.DataFrame, shares: Sequence[float], folder: Path) -> tuple[int, ...]:
    """The first period of training, validation and test."""
    places = np.round(np.cumsum(shares[:3]) * len(ratings)).astype(int)
    starts = tuple(int(ratings["period"][min(int(place), len(ratings) - 1)]) for place in places)
    first = int(ratings["period"][0])
    if not first < starts[0] < starts[1] < starts[2]:
        raise DataError(
            f"{folder}: the {len(ratings)} ratings must span a period of history, training, validation and test each, "
            f"their borders fall on periods {[first, *starts]}: take shorter periods or other shares"
        )
    return starts


def _day(period: int, period_days: int) -> np.datetime64:
    return np.datetime64(period * period_days, "D")


def _positives(
    ratings: pl.DataFrame, relevant: float, min_history: int, start: int, period_days: int
) -> tuple[pl.DataFrame, int]:
    """The positives with their query numbers (columns qid, user, item, period, moment), and how many were left out."""
    first_seen = pl.col("period").first().over("item")
    in_period = pl.int_range(pl.len()).over("user", "period")
    before = pl.int_range(pl.len()).over("user") - in_period  # the user's ratings before the period
    liked = ratings.with_columns(known=first_seen < pl.col("period"), before=before).filter(
        (pl.col("rating") >= relevant) & (pl.col("period") >= start) & (pl.col("before") >= min_history)
    )
    kept = liked.filter("known").sort("period", "user", "item")
    new = (pl.col("period") != pl.col("period").shift()) | (pl.col("user") != pl.col("user").shift())
    kept = kept.with_columns(qid=new.fill_null(True).cast(pl.Int64).cum_sum() - 1)
    moment = pl.col("period") * (period_days * SECONDS_PER_DAY)
    return kept.select("qid", "user", "item", "period", moment=moment), len(liked) - len(kept)


def _tables(positives: pl.DataFrame, history: History, sampler: "_Sampler", period_days: int) -> Iterator[pl.DataFrame]:
    """The candidates with their features, some queries at a time."""
    queries = positives.select("qid", "user", "period", "moment").unique().sort("qid")
    for block in queries.iter_slices(_QUERIES_AT_ONCE):
        low, high = block["qid"][0], block["qid"][-1]
        liked = positives.filter(pl.col("qid").is_between(low, high)).with_columns(label=pl.lit(1.0, pl.Float32))
        sampled = [sampler.draw(user, period) for user, period in block.select("user", "period").iter_rows()]
        others = block.select(pl.all().repeat_by(pl.Series([len(items) for items in sampled])).explode())
        others = others.with_columns(
            item=pl.Series(np.concatenate(sampled), dtype=pl.Int64), label=pl.lit(0.0, pl.Float32)
        )
        pairs = pl.concat([liked, others.select(liked.columns)]).sort("qid", "item")
        yield (
            history.add_features(pairs)
            .select(
                "qid",
                "label",
                (pl.col("period") * period_days).cast(pl.Int32).cast(pl.Date).alias("time"),
                "user",
                "item",
                *(USER + ITEM + CROSS + history.movies.genres),
                docid="item",
            )
            .select("qid", "docid", pl.exclude("qid", "docid"))
        )


class _Sampler:
    """Draws negatives.

    Args:
        ratings: columns ``user``, ``item``, ``time``, ``period``, sorted by time.
        count: how many for each query.
        seed: non-negative.
    """

    def __init__(self, ratings: pl.DataFrame, count: int, seed: int) -> None:
        self._items = ratings["item"].to_numpy()
        self._periods = ratings["period"].to_numpy()
        firsts = ratings.unique("item", keep="first", maintain_order=True)
        self._pool, self._since = firsts["item"].to_numpy(), firsts["period"].to_numpy()  # by first rating
        by_user = ratings.sort("user", "period", "item")
        users, sizes = np.unique(by_user["user"].to_numpy(), return_counts=True)
        ends = np.cumsum(sizes)
        self._rated = {
            int(user): (
                by_user["item"][int(end - size) : int(end)].to_numpy(),
                by_user["period"][int(end - size) : int(end)].to_numpy(),
            )
            for user, size, end in zip(users, sizes, ends, strict=True)
        }
        self._count, self._seed = count, seed

    def draw(self, user: int, period: int) -> NDArray[np.int64]:
        """Items rated by anyone before the period, not by the user up to its end; at most ``count``, all different."""
        items, periods = self._rated[user]
        taken = set(items[: np.searchsorted(periods, period, side="right")].tolist())
        pool = self._pool[: np.searchsorted(self._since, period, side="left")]
        past = self._items[: np.searchsorted(self._periods, period, side="left")]
        rng = np.random.default_rng([self._seed, _SAMPLING, user % 2**63, period % 2**63])
        if len(pool) - len(taken) < 4 * self._count:  # few are left: choose among them outright
            left = np.array([item for item in pool.tolist() if item not in taken], dtype=np.int64)
            return self._few(rng, left, past)
        chosen: dict[int, None] = {}
        self._fill(rng, past, self._count // 2, taken, chosen)
        while len(chosen) < self._count:
            self._fill(rng, pool, self._count, taken, chosen)
        return np.array(list(chosen), dtype=np.int64)

    def _few(self, rng: np.random.Generator, left: NDArray[np.int64], past: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(left) <= self._count:
            return left
        number, times = np.unique(past, return_counts=True)
        weight = times[np.searchsorted(number, left)]
        popular = rng.choice(left, self._count // 2, replace=False, p=weight / weight.sum())
        rest = np.setdiff1d(left, popular)
        return np.concatenate([popular, rng.choice(rest, self._count - len(popular), replace=False)])

    @staticmethod
    def _fill(
        rng: np.random.Generator, source: NDArray[np.int64], goal: int, taken: set[int], chosen: dict[int, None]
    ) -> None:
        """Draw from ``source`` until ``chosen`` has ``goal`` items, or for a limited number of rounds."""
        for _ in range(_ROUNDS):
            if len(chosen) >= goal:
                return
            for item in source[rng.integers(0, len(source), 2 * (goal - len(chosen)))].tolist():
                if item not in taken and len(chosen) < goal:
                    chosen[item] = None

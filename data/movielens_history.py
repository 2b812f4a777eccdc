"""What MovieLens ratings before a moment tell about users and items.

Sums run along each user's, item's, and user's genre's ratings by time; a feature at a moment is read from the last
sum strictly before it (an as-of join). So nothing at or after the moment can leak into a feature, and each rating
is handled once, not once for every moment. A rating counts as liked when it is at least ``relevant``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

SECONDS_PER_DAY = 86_400
RECENT_DAYS = 365
"""How far back an item's recent popularity looks."""

PRIOR = 5.0
"""Ratings at the mean of all ratings so far that an item's smoothed mean starts with."""

USER = (
    "user_ratings",
    "user_mean",
    "user_deviation",
    "user_liked_share",
    "user_days_since_first",
    "user_days_since_last",
    "user_mean_popularity",
)
ITEM = (
    "item_ratings",
    "item_recent_ratings",
    "item_mean",
    "item_smoothed_mean",
    "item_deviation",
    "item_liked_share",
    "item_days_since_first",
    "item_days_since_last",
    "item_year",
    "item_genres",
)
CROSS = ("genre_liked_share", "genre_rated_share", "genre_mean", "genre_best_mean", "year_distance")
"""The features' names; the items' genre columns stand beside them. Days are days before the moment,
``user_mean_popularity`` is the mean of log(1 + ratings an item had when the user rated it), ``genre_*`` compare the
item's genres with those the user rated and liked, ``year_distance`` its year with the mean year the user liked."""


@dataclass(frozen=True, eq=False)
class Movies:
    """The items as they are, whatever was rated.

    Attributes:
        table: columns ``item``, ``item_year`` (from the title; null where it has none), ``item_genres`` (how
            many), and one ``genre_is_<name>`` column of 0 and 1 for each genre.
        pairs: columns ``item`` and ``genre``, one row for each genre of an item.
        genres: the genre columns' names.
    """

    table: pl.DataFrame
    pairs: pl.DataFrame
    genres: tuple[str, ...]


class History:
    """All ratings, summed up so that features can be read at any moment.

    Args:
        ratings: columns ``user``, ``item``, ``rating``, ``time`` (seconds), sorted by time.
        movies: the items.
        relevant: least rating of a liked item.
    """

    def __init__(self, ratings: pl.DataFrame, movies: Movies, relevant: float) -> None:
        self.movies = movies
        events = ratings.join(
            movies.table.select("item", "item_year"), on="item", how="left", maintain_order="left"
        ).with_columns(
            liked=(pl.col("rating") >= relevant).cast(pl.Float64),
            popularity=pl.int_range(pl.len()).over("item").cast(pl.Float64).log1p(),
        )
        liked_year = pl.when(pl.col("liked") > 0).then(pl.col("item_year"))
        events = events.with_columns(
            liked_year=liked_year.fill_null(0).cast(pl.Float64),
            has_liked_year=liked_year.is_not_null().cast(pl.Float64),
        )
        self._users = _sums(events, ("user",), ("popularity", "liked_year", "has_liked_year"))
        self._items = _sums(events, ("item",))
        self._overall = events.select("time", overall=pl.col("rating").cum_sum() / pl.int_range(1, pl.len() + 1))
        genres = events.join(movies.pairs, on="item", maintain_order="left")
        self._tastes = _sums(genres, ("user", "genre"))

    def add_features(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Add ``USER``, ``ITEM``, ``CROSS`` and the items' genre columns, Float32, to rows of user, item and moment.

        pairs: columns ``user``, ``item``, ``moment`` (seconds) and any others, kept. What the ratings before the
        moment do not tell is null.
        """
        users = self._user_features(pairs.select("user", "moment").unique())
        items = self._item_features(pairs.select("item", "moment").unique())
        frame = (
            pairs.join(users, on=["user", "moment"], how="left", maintain_order="left")
            .join(items, on=["item", "moment"], how="left", maintain_order="left")
            .join(self.movies.table, on="item", how="left", maintain_order="left")
            .with_columns(year_distance=(pl.col("item_year") - pl.col("liked_year")).abs())
            .join(self._matches(pairs, users), on=["user", "item", "moment"], how="left", maintain_order="left")
        )
        names = (*USER, *ITEM, *CROSS, *self.movies.genres)
        return frame.select(*pairs.columns, *(pl.col(name).cast(pl.Float32) for name in names))

    def _user_features(self, moments: pl.DataFrame) -> pl.DataFrame:
        frame = _before(moments, self._users, ("user",))
        return frame.select(
            "user",
            "moment",
            *_common("user"),
            user_mean_popularity=pl.col("popularity") / pl.col("count"),
            liked_year=pl.when(pl.col("has_liked_year") > 0).then(pl.col("liked_year") / pl.col("has_liked_year")),
            liked_sum="liked",
        )

    def _item_features(self, moments: pl.DataFrame) -> pl.DataFrame:
        frame = _before(moments, self._items, ("item",))
        earlier = _before(
            moments.select("item", moment=pl.col("moment") - RECENT_DAYS * SECONDS_PER_DAY), self._items, ("item",)
        ).select("item", pl.col("moment") + RECENT_DAYS * SECONDS_PER_DAY, earlier="count")
        frame = frame.join(earlier, on=["item", "moment"], how="left")
        overall = _before(frame.select("moment").unique(), self._overall, ()).drop("last")
        frame = frame.join(overall, on="moment", how="left")
        return frame.select(
            "item",
            "moment",
            *_common("item"),
            item_recent_ratings=pl.col("count") - pl.col("earlier").fill_null(0),
            item_smoothed_mean=(pl.col("total") + PRIOR * pl.col("overall")) / (pl.col("count") + PRIOR),
        )

    def _matches(self, pairs: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
        """How the user's ratings so far agree with the item's genres; a genre never rated counts as share 0."""
        rows = pairs.select("user", "item", "moment").unique().join(self.movies.pairs, on="item")
        tastes = _before(rows.select("user", "genre", "moment").unique(), self._tastes, ("user", "genre"))
        tastes = tastes.join(users.select("user", "moment", "user_ratings", "liked_sum"), on=["user", "moment"])
        some_liked = pl.col("liked_sum") > 0
        tastes = tastes.select(
            "user",
            "genre",
            "moment",
            rated=pl.when(pl.col("user_ratings") > 0).then(pl.col("count").fill_null(0) / pl.col("user_ratings")),
            liked=pl.when(some_liked).then(pl.col("liked").fill_null(0) / pl.col("liked_sum")),
            mean=pl.col("total") / pl.col("count"),
        )
        return (
            rows.join(tastes, on=["user", "genre", "moment"])
            .sort("user", "item", "moment", "genre")  # float sums depend on the order: keep one
            .group_by("user", "item", "moment", maintain_order=True)
            .agg(
                genre_liked_share=pl.col("liked").mean(),
                genre_rated_share=pl.col("rated").mean(),
                genre_mean=pl.col("mean").mean(),
                genre_best_mean=pl.col("mean").max(),
            )
        )


def _sums(events: pl.DataFrame, by: Sequence[str], extra: Sequence[str] = ()) -> pl.DataFrame:
    """For each event its group's sums up to and with it, in the order of time."""
    rating = pl.col("rating")
    return events.select(
        *by,
        "time",
        count=pl.int_range(1, pl.len() + 1).over(by),
        total=rating.cum_sum().over(by),
        squares=(rating * rating).cum_sum().over(by),
        liked=pl.col("liked").cum_sum().over(by),
        first=pl.col("time").first().over(by),
        **{name: pl.col(name).cum_sum().over(by) for name in extra},
    )


def _before(moments: pl.DataFrame, sums: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The last sums of each group strictly before each moment, with their time, ``last``; else nulls."""
    return moments.sort("moment").join_asof(
        sums.rename({"time": "last"}),
        left_on="moment",
        right_on="last",
        by=list(by) or None,
        strategy="backward",
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,  # both are sorted by time; polars cannot check it with groups
    )


def _common(name: str) -> list[pl.Expr]:
    """The features that users and items share, from the sums before a moment."""
    count, total = pl.col("count"), pl.col("total")
    spread = (pl.col("squares") - total * total / count).clip(lower_bound=0)
    return [
        count.fill_null(0).alias(f"{name}_ratings"),
        (total / count).alias(f"{name}_mean"),
        pl.when(count > 1).then((spread / (count - 1)).sqrt()).alias(f"{name}_deviation"),
        (pl.col("liked") / count).alias(f"{name}_liked_share"),
        ((pl.col("moment") - pl.col("first")) / SECONDS_PER_DAY).alias(f"{name}_days_since_first"),
        ((pl.col("moment") - pl.col("last")) / SECONDS_PER_DAY).alias(f"{name}_days_since_last"),
    ]

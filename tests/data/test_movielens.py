import math

import numpy as np
import polars as pl
import pytest

from data import DataError, prepare_movielens

DAY = 86_400
GENRES = ["Drama", "Comedy", "Sci-Fi", "(no genres listed)"]
PARTS = ("train", "validation", "test")
KEY = ["user", "time", "item"]


def small(seed=0, users=25, items=60, days=60):
    """Ratings by a few users on many days, and the movies."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(1, users + 1):
        seen = rng.permutation(items)[: rng.integers(20, 45)] + 1
        for item in seen:
            appears = max(0, int(item) - items // 3) * days // items  # so that later queries meet new items
            second = int(rng.integers(appears * DAY, days * DAY))
            if rng.random() < 0.3:
                second -= second % DAY  # the very start of a period
            rows.append((user, int(item), float(rng.integers(1, 11)) / 2, second))
    ratings = pl.DataFrame(rows, schema=["userId", "movieId", "rating", "timestamp"], orient="row")
    movies = pl.DataFrame(
        {
            "movieId": range(1, items + 1),
            "title": [f"Film, the {i}" + (f" ({1950 + i})" if i % 7 else "") for i in range(1, items + 1)],
            "genres": [
                GENRES[3] if i % 11 == 0 else "|".join(dict.fromkeys([GENRES[i % 3], GENRES[i % 2]]))
                for i in range(1, items + 1)
            ],
        }
    )
    return ratings, movies


def prepare(folder, ratings, movies, **options):
    folder.mkdir(exist_ok=True)
    ratings.write_csv(folder / "ratings.csv")
    movies.write_csv(folder / "movies.csv")
    return prepare_movielens(folder, folder / "out", **({"negatives": 8} | options))


def everything(prepared):
    fold = prepared.folds[0]
    return pl.concat([prepared.open(path).read() for path in (fold.train, fold.validation, fold.test)])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    ratings, movies = small()
    prepared = prepare(tmp_path_factory.mktemp("ml") / "a", ratings, movies)
    return ratings, movies, prepared, everything(prepared)


def test_features_equal_a_loop_over_the_past(made):
    ratings, movies, _, frame = made
    genres = dict(movies.select("movieId", pl.col("genres").str.split("|")).rows())
    genres = {item: [genre for genre in found if not genre.startswith("(")] for item, found in genres.items()}
    rows = ratings.sort("timestamp", "userId", "movieId").rows()
    sample = frame.sample(60, seed=1)
    for row in sample.iter_rows(named=True):
        moment = (row["time"] - np.datetime64(0, "D").item()).days * DAY
        past = [each for each in rows if each[3] < moment]
        of_user = [each for each in past if each[0] == row["user"]]
        of_item = [each for each in past if each[1] == row["item"]]
        for name, part in (("user", of_user), ("item", of_item)):
            values = [each[2] for each in part]
            assert row[f"{name}_ratings"] == len(values)
            assert row[f"{name}_mean"] == pytest.approx(np.mean(values))
            assert row[f"{name}_liked_share"] == pytest.approx(np.mean([value >= 4 for value in values]))
            assert row[f"{name}_days_since_first"] == pytest.approx((moment - min(each[3] for each in part)) / DAY)
            assert row[f"{name}_days_since_last"] == pytest.approx((moment - max(each[3] for each in part)) / DAY)
            if len(values) > 1:
                assert row[f"{name}_deviation"] == pytest.approx(np.std(values, ddof=1), abs=1e-3)
            else:
                assert row[f"{name}_deviation"] is None
        assert row["item_recent_ratings"] == len(of_item)  # all within a year
        overall = np.mean([each[2] for each in past])
        smoothed = (sum(each[2] for each in of_item) + 5 * overall) / (len(of_item) + 5)
        assert row["item_smoothed_mean"] == pytest.approx(smoothed)
        popularity = [math.log1p(sum(other[1] == each[1] for other in rows[: rows.index(each)])) for each in of_user]
        assert row["user_mean_popularity"] == pytest.approx(np.mean(popularity), abs=1e-6)
        liked = [each for each in of_user if each[2] >= 4]
        mine = genres[row["item"]]
        assert row["item_genres"] == len(mine)
        if not mine:
            assert row["genre_rated_share"] is None
            continue
        rated_share = [np.mean([genre in genres[each[1]] for each in of_user]) for genre in mine]
        assert row["genre_rated_share"] == pytest.approx(np.mean(rated_share), abs=1e-6)
        if liked:
            liked_share = [np.mean([genre in genres[each[1]] for each in liked]) for genre in mine]
            assert row["genre_liked_share"] == pytest.approx(np.mean(liked_share), abs=1e-6)
        else:
            assert row["genre_liked_share"] is None
        means = [np.mean(found) for g in mine if (found := [each[2] for each in of_user if g in genres[each[1]]])]
        if means:
            assert row["genre_mean"] == pytest.approx(np.mean(means))
            assert row["genre_best_mean"] == pytest.approx(max(means))
        years = [1950 + each[1] for each in liked if each[1] % 7]
        if years and row["item"] % 7:
            assert row["year_distance"] == pytest.approx(abs(1950 + row["item"] - np.mean(years)), abs=1e-3)
        else:
            assert row["year_distance"] is None


def test_positives_and_negatives(made):
    ratings, _, prepared, frame = made
    rows = ratings.with_columns(day=pl.from_epoch("timestamp").dt.date())
    rated = {(user, item): (day, rating) for user, item, rating, _, day in rows.rows()}
    first = dict(rows.group_by("movieId").agg(pl.col("day").min()).rows())
    assert frame["docid"].equals(frame["item"], check_names=False)
    for row in frame.select("label", *KEY).iter_rows(named=True):
        assert first[row["item"]] < row["time"]
        day, rating = rated.get((row["user"], row["item"]), (None, None))
        if row["label"] == 1:
            assert (day, rating >= 4) == (row["time"], True)
        else:
            assert day is None or day > row["time"]
    counts = frame.group_by("qid").agg(negatives=(pl.col("label") == 0).sum(), positives=pl.col("label").sum())
    assert counts["negatives"].max() == 8
    assert counts["positives"].min() >= 1
    start = prepared.meta["made"]["starts"]["train"]
    wanted = sum(
        rating >= 4 and str(day) >= start and rows.filter((pl.col("userId") == user) & (pl.col("day") < day)).height > 0
        for (user, _), (day, rating) in rated.items()
    )
    assert counts["positives"].sum() + prepared.meta["made"]["positives_left_out_as_unknown_before"] == wanted


def test_parts_follow_each_other_in_time(made):
    prepared = made[2]
    fold, starts = prepared.folds[0], prepared.meta["made"]["starts"]
    times = [prepared.open(path).read()["time"] for path in (fold.train, fold.validation, fold.test)]
    assert times[0].max() < times[1].min()
    assert times[1].max() < times[2].min()
    assert [str(time.min()) >= starts[part] for part, time in zip(PARTS, times, strict=True)] == [True] * 3
    assert prepared.meta["columns"]["constant_in_query"][0] == "user"
    assert prepared.meta["columns"]["categorical"] == ["user", "item"]


@pytest.mark.parametrize("day", [38, 45, 55])
def test_nothing_from_the_period_or_later_leaks(made, tmp_path, day):
    ratings, movies, _, frame = made
    rng = np.random.default_rng(1)
    later = pl.col("timestamp") >= day * DAY
    # Liked stays liked, so the queries stay; every other number from that day on changes.
    other = pl.Series(rng.integers(1, 8, len(ratings)) / 2), pl.Series(rng.integers(8, 11, len(ratings)) / 2)
    changed = ratings.with_columns(
        rating=pl.when(later)
        .then(pl.when(pl.col("rating") >= 4).then(other[1]).otherwise(other[0]))
        .otherwise("rating"),
        timestamp=pl.when(later)
        .then(pl.col("timestamp") // DAY * DAY + pl.Series(rng.integers(0, DAY, len(ratings))))
        .otherwise("timestamp"),
    )
    again = everything(prepare(tmp_path / "b", changed, movies))
    until = pl.col("time") <= pl.lit(day).cast(pl.Int32).cast(pl.Date)
    same = again.filter(until).drop("qid").sort(KEY)
    assert len(same) > 50
    assert same.equals(frame.filter(until).drop("qid").sort(KEY))
    assert not again.drop("qid").sort(KEY).equals(frame.drop("qid").sort(KEY))  # the later ones do change


def test_the_seed_decides_the_negatives_alone(made, tmp_path):
    ratings, movies, _, frame = made
    shuffled = ratings.sample(fraction=1, shuffle=True, seed=3)
    assert everything(prepare(tmp_path / "b", shuffled, movies)).equals(frame)
    other = everything(prepare(tmp_path / "c", ratings, movies, seed=1))
    assert not other.equals(frame)
    positive = pl.col("label") == 1
    assert other.filter(positive).equals(frame.filter(positive))


@pytest.mark.parametrize("negatives", [3, 1000])
def test_few_and_all_negatives(tmp_path, negatives):
    ratings, movies = small(1)
    frame = everything(prepare(tmp_path / "a", ratings, movies, negatives=negatives))
    counts = frame.filter(pl.col("label") == 0).group_by("qid").len()["len"]
    assert counts.max() == 3 if negatives == 3 else counts.max() < 60
    assert not frame.select(pl.struct("qid", "docid").is_duplicated().any()).item()


def test_refusals(tmp_path):
    ratings, movies = small(users=4)
    folder = tmp_path / "a"
    for options, message in (
        ({"negatives": 0}, "negatives must be at least 1"),
        ({"shares": (0.5, 0.5)}, "shares must be four"),
        ({"period_days": 1000}, "take shorter periods"),
        ({"min_history": 1000}, "the train part has no query"),
    ):
        with pytest.raises(DataError, match=message):
            prepare(folder, ratings, movies, **options)
    with pytest.raises(DataError, match=r"unable to find column 'userId'; .* Did you mean 'userID'"):
        prepare(folder, ratings.rename({"userId": "userID"}), movies)
    with pytest.raises(DataError, match=r"rated item .* twice"):
        prepare(folder, pl.concat([ratings, ratings.head(1)]), movies)
    with pytest.raises(DataError, match=r"row 1: rating must be Float64, got 'x'"):
        prepare(folder, ratings.cast({"rating": pl.String}).with_columns(rating=pl.lit("x")), movies)
    with pytest.raises(DataError, match=r"has ratings but is not in movies\.csv"):
        prepare(folder, ratings, movies.head(3))
    assert not (folder / "out").exists()
    with pytest.raises(DataError, match=r"there is no file .*ratings\.csv"):
        prepare_movielens(tmp_path, tmp_path / "out")


@pytest.mark.slow
def test_true_movielens(shared_data, tmp_path):
    prepared = prepare_movielens(shared_data / "movielens-latest-small", tmp_path / "out")
    assert prepared.meta["made"]["ratings"] == 100_836
    assert prepared.meta["folds"][0]["test"]["queries"] > 200
    assert sum(name.startswith("genre_is_") for name in prepared.meta["columns"]["numeric"]) == 19

"""Tables divided on disk: whole queries, by hash or by time, whatever the order of their rows."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data import DataError, split_by_time, split_table

NAMES = ("train", "validation", "test")


def parts(folder: Path) -> list[pl.DataFrame]:
    return [pl.read_parquet(folder / f"{name}.parquet") for name in NAMES]


def table(queries: int, seed: int = 0, text: bool = False) -> pl.DataFrame:
    """3 rows a query, scattered, with columns that are no features."""
    rng = np.random.default_rng(seed)
    n = 3 * queries
    qids = pl.Series("qid", rng.permutation(n) % queries)
    return pl.DataFrame(
        {
            "qid": pl.select(pl.format("q{}", qids)).to_series() if text else qids,
            "docid": np.arange(n),
            "when": rng.integers(0, 10 * queries, n),
            "note": [f"row {i}" for i in range(n)],
            "list": rng.random((n, 2)),
        }
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(60, 90), st.integers(0, 2**70), st.booleans(), st.booleans())
def test_whole_queries_whatever_the_order_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, queries: int, seed: int, text: bool, by_time: bool
) -> None:
    folder = tmp_path_factory.mktemp("split")
    frame = table(queries, seed % 1000, text)
    time = "when" if by_time else None
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    found = []
    for name, each in (("a", frame), ("b", shuffled)):
        each.write_parquet(folder / f"{name}.parquet")
        made = split_table(folder / f"{name}.parquet", folder / name, shares=(0.5, 0.3, 0.2), seed=seed, time=time)
        found.append(parts(folder / name))
        assert [(part.rows, part.queries) for part in made] == [(len(x), x["qid"].n_unique()) for x in found[-1]]
    assert pl.concat(found[0]).sort("docid").equals(frame.sort("docid"))
    ids = [set(part["qid"]) for part in found[0]]
    assert sum(map(len, ids)) == queries
    assert [set(part["qid"]) for part in found[1]] == ids
    for part, kept in zip(found[0], ids, strict=True):
        assert part.equals(frame.filter(pl.col("qid").is_in(list(kept))))  # the rows in their order


def test_by_time_it_is_the_split_in_memory(tmp_path: Path) -> None:
    frame = table(50)
    frame.write_parquet(tmp_path / "t.parquet")
    split_table(tmp_path / "t.parquet", tmp_path / "out", shares=(0.6, 0.2, 0.2), time="when")
    expected = split_by_time(frame, "when", (0.6, 0.2, 0.2))
    assert all(a.equals(b) for a, b in zip(parts(tmp_path / "out"), expected, strict=True))
    record = json.loads((tmp_path / "out" / "split.json").read_text())
    latest = [part.group_by("qid").agg(pl.col("when").max())["when"].min() for part in expected]
    assert list(record["first"].values()) == latest
    assert record["parts"]["train"] == {"rows": 90, "queries": 30}


def test_a_query_stays_in_its_part_as_the_table_grows_and_in_every_format(tmp_path: Path) -> None:
    pl.DataFrame({"query_id": range(300), "x": 0.5}).write_parquet(tmp_path / "small.parquet")
    pl.DataFrame({"qid": range(3000), "x": 0.5}).write_csv(tmp_path / "large.csv")
    split_table(tmp_path / "small.parquet", tmp_path / "small", shares=(0.6, 0.2, 0.2), seed=3)
    split_table(tmp_path / "large.csv", tmp_path / "large", shares=(0.6, 0.2, 0.2), seed=3)
    split_table(tmp_path / "large.csv", tmp_path / "other", shares=(0.6, 0.2, 0.2), seed=4)
    small, large, other = (parts(tmp_path / name) for name in ("small", "large", "other"))
    for a, b, share in zip(small, large, (0.6, 0.2, 0.2), strict=True):
        assert set(a["qid"]) == {qid for qid in b["qid"] if qid < 300}
        assert abs(len(b) - 3000 * share) < 5 * (3000 * share * (1 - share)) ** 0.5
    assert not other[0].equals(large[0])


def test_dates_in_csv_and_ids(tmp_path: Path) -> None:
    rows = [f"{q},{q},2024-01-{q:02d},{7 * q},{q}" for q in range(1, 11)]
    (tmp_path / "t.csv").write_text("\n".join(["qid,docid,day,user,x", *rows]))
    made = split_table(tmp_path / "t.csv", tmp_path / "out", time="day", categorical=["user"])
    assert [part.queries for part in made] == [8, 1, 1]
    test = pl.read_parquet(made[2].path)
    assert test.schema["user"] == pl.Int64
    assert test["qid"].to_list() == [10]
    assert json.loads((tmp_path / "out" / "split.json").read_text())["first"]["test"] == "2024-01-10"


def test_bad_input_leaves_the_old_split_and_nothing_else(tmp_path: Path) -> None:
    table(60).write_parquet(tmp_path / "t.parquet")
    split_table(tmp_path / "t.parquet", tmp_path / "out")
    before = (tmp_path / "out" / "train.parquet").read_bytes()
    pl.DataFrame({"qid": [1, None], "when": [1.0, float("nan")]}).write_parquet(tmp_path / "bad.parquet")
    pl.DataFrame({"qid": [1, 2, 3], "when": [1.0, float("nan"), None]}).write_parquet(tmp_path / "late.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("precious")
    for name, out, change, text in [
        ("t", "out", {"shares": (0.5, 0.5)}, r"shares must be 3 \(train, validation, test\)"),
        ("t", "out", {"shares": (0.5, 0.6, 0.1)}, "shares must each be above 0 and sum to 1"),
        ("t", "out", {"shares": (0.9999, 0.00005, 0.00005)}, "validation would be empty of 60 queries"),
        ("t", "out", {"seed": -1}, "seed must not be negative, got -1"),
        ("t", "out", {"time": "wen"}, "unable to find column 'wen'.* Did you mean 'when'"),
        ("t", "out", {"time": "note"}, "time column 'note' must be a number or a date, got String"),
        ("bad", "out", {}, "column 'qid' must have no nulls"),
        ("late", "out", {"time": "when"}, "no missing values, got 2"),
        ("cut", "out", {}, "cannot be read"),
        ("t", "other", {}, "it holds other files and no split.json"),
    ]:
        with pytest.raises(DataError, match=text) as error:
            split_table(tmp_path / f"{name}.parquet", tmp_path / out, **change)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
    assert (tmp_path / "out" / "train.parquet").read_bytes() == before
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]
    assert not list(tmp_path.glob(".*"))

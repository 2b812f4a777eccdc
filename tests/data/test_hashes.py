"""A query's hash is of what it holds, not of how that was written down."""

import hashlib
import math
import struct
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data import query_hashes, scan_candidates, write_candidates

COLUMNS = ("a", "b", "shop")


@pytest.fixture
def frame() -> pl.DataFrame:
    """50 queries of 1 to 9 candidates, values missing here and there."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 10, 50)
    qid, docid = np.repeat(np.arange(50), sizes), np.concatenate([np.arange(n) for n in sizes])
    n = len(qid)
    a = np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)).astype(np.float32)
    b, label = rng.integers(-1, 2, n), rng.integers(0, 3, n)
    shop = [[None, "x", "y"][i] for i in rng.integers(0, 3, n)]
    frame = pl.DataFrame({"qid": qid, "docid": docid, "label": label, "a": a, "b": b, "shop": shop})
    return frame.with_columns(pl.col("a").fill_nan(None))


def read(path: Path) -> np.ndarray:
    table = scan_candidates(path, features=["a", "b"], categorical=["shop"]).read()
    return query_hashes(table, COLUMNS)


def test_format_order_and_batches_do_not_matter(
    tmp_path: Path, frame: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_candidates(frame, tmp_path / "t.parquet")
    write_candidates(frame.sample(fraction=1.0, shuffle=True, seed=1), tmp_path / "t.csv")
    whole = read(tmp_path / "t.parquet")
    assert whole.dtype == np.int64
    assert len(set(whole.tolist())) == 50
    assert (read(tmp_path / "t.csv") == whole).all()
    minus = frame.with_columns(b=pl.when(pl.col("b") == 0).then(-0.0).otherwise(pl.col("b")))
    write_candidates(minus, tmp_path / "minus.parquet")
    assert (read(tmp_path / "minus.parquet") == whole).all()
    monkeypatch.setattr("data.hashes._ROWS", 7)
    assert (read(tmp_path / "t.parquet") == whole).all()


@pytest.mark.parametrize("name", ["qid", "docid", "label", "a", "b", "shop"])
def test_a_change_in_one_candidate_changes_its_query_alone(tmp_path: Path, frame: pl.DataFrame, name: str) -> None:
    write_candidates(frame, tmp_path / "t.parquet")
    at = frame.with_row_index().filter(pl.col("qid") == 20)["index"][-1]
    other = pl.lit("z") if name == "shop" else pl.lit(77).cast(frame.schema[name])
    here = (pl.col("qid") == 20) if name == "qid" else pl.int_range(pl.len()) == at
    changed = frame.with_columns(pl.when(here).then(other).otherwise(pl.col(name)).alias(name))
    write_candidates(changed, tmp_path / "other.parquet")
    before, after = set(read(tmp_path / "t.parquet").tolist()), set(read(tmp_path / "other.parquet").tolist())
    assert len(before & after) == 49


def test_hashes_are_of_these_bytes() -> None:
    """Model files hold them, so they must stay what they are."""
    frame = pl.DataFrame({"qid": [1, 1, 2], "docid": ["a", "b", "a"], "label": [0.0, 1.0, None], "f": [0.5, None, 2.0]})
    frame = frame.cast({"label": pl.Float32, "f": pl.Float32})

    def expected(qid: bytes, docids: bytes, *values: float) -> int:
        content = qid + b"\0" + docids + struct.pack(f"<{len(values)}f", *values)
        return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)

    first, second = expected(b"1", b"a\0b", 0, 1, 0.5, math.nan), expected(b"2", b"a", 0, 2)
    assert query_hashes(frame, ["f"]).tolist() == [first, second]
    assert query_hashes(frame, []).tolist() == [expected(b"1", b"a\0b", 0, 1), expected(b"2", b"a", 0)]

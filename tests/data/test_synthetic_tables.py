import numpy as np
import polars as pl
import pytest

from data import DataError, synthetic, synthetic_batches, synthetic_tables
from data.synthetic_tables import LEVELS


def test_without_noise_the_ideal_score_gives_the_labels():
    frame = synthetic(30, 20, 5, noise=0)
    for (_,), part in frame.group_by("qid"):
        place = part["ideal"].rank("ordinal").to_numpy() - 1
        expected = [sum(p >= level * 20 for level in LEVELS) for p in place]
        assert part["label"].to_list() == expected
        assert sorted(expected) == [0] * 12 + [1] * 5 + [2] * 2 + [3]


def test_linear_where_nothing_is_curved():
    frame = synthetic(20, 50, 4, curved=0)
    x = frame.select("^f[0-9]+$").to_numpy().astype(float)
    weights, rest, *_ = np.linalg.lstsq(x, frame["ideal"].to_numpy().astype(float), rcond=None)
    assert rest.item() < 1e-8
    assert np.linalg.norm(weights) == pytest.approx(1, abs=1e-5)


def test_a_linear_model_misses_what_is_curved():
    frame = synthetic(200, 50, 8, curved=1)
    x = frame.select("^f[0-9]+$").to_numpy().astype(float)
    y = frame["ideal"].to_numpy().astype(float)
    _, rest, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)
    assert rest.item() / len(y) > 0.5 * y.var()
    assert 0.5 < y.var() < 2


def test_noise_hides_the_ideal_score():
    agreement = []
    for noise in (0, 0.5, 3):
        frame = synthetic(50, 40, 3, noise=noise)
        agreement.append(frame.select(pl.corr("ideal", "label", method="spearman")).item())
    assert agreement[0] > agreement[1] > agreement[2]


def test_a_query_is_the_same_whatever_surrounds_it(monkeypatch):
    whole = synthetic(9, 7, 3, seed=4)
    assert whole.equals(synthetic(9, 7, 3, seed=4))
    later = synthetic(4, 7, 3, seed=4, first_query=5)
    assert later.equals(whole.filter(pl.col("qid") >= 5))
    monkeypatch.setattr(synthetic_tables, "_BLOCK_ROWS", 15)
    pieces = list(synthetic_batches(9, 7, 3, seed=4))
    assert [len(piece) for piece in pieces] == [14, 14, 14, 14, 7]
    assert pl.concat(pieces).equals(whole)
    assert not whole.equals(synthetic(9, 7, 3, seed=5))
    assert whole.columns == ["qid", "docid", "label", "f1", "f2", "f3", "ideal"]


@pytest.mark.parametrize(
    "change",
    [
        {"queries": 0},
        {"candidates": 0},
        {"features": 0},
        {"seed": -1},
        {"noise": -1},
        {"curved": 2},
        {"levels": (0.5, 0.5)},
    ],
)
def test_refusals(change):
    with pytest.raises(DataError, match=next(iter(change))):
        synthetic(**({"queries": 2, "candidates": 3, "features": 2} | change))

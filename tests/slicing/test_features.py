"""The feature transform: what it gives, against numpy and scikit-learn; missing values; storage."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from slicing.errors import SlicingError
from slicing.features import FeatureTransform, TransformKind

KINDS: tuple[TransformKind, ...] = ("standard", "quantile", "normal")
RNG = np.random.default_rng(0)
SMOOTH = RNG.normal(3, 2, (700, 3)).astype(np.float32)
COARSE = RNG.integers(0, 4, (700, 2)).astype(np.float32)
TABLE = np.hstack([SMOOTH, COARSE])
FRESH = np.hstack([RNG.normal(3, 3, (90, 3)), RNG.integers(-1, 5, (90, 2))]).astype(np.float32)


def test_standard_is_scikit_learns() -> None:
    expected = StandardScaler().fit(TABLE.astype(np.float64)).transform(FRESH)
    np.testing.assert_allclose(FeatureTransform.fit(TABLE, "standard")(FRESH).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("quantiles", [2, 17, 256])
def test_quantile_is_scikit_learns(quantiles: int) -> None:
    theirs = QuantileTransformer(n_quantiles=quantiles, subsample=None).fit(TABLE.astype(np.float64))
    place = theirs.transform(FRESH)
    found = FeatureTransform.fit(TABLE, "quantile", quantiles=quantiles)(FRESH).numpy()
    inside = (TABLE.min(0) < FRESH) & (TABLE.max(0) > FRESH)  # at the ends scikit-learn clips even a shared value
    np.testing.assert_allclose(found[inside], (2 * place - 1)[inside], atol=2e-5)
    assert (found[TABLE.min(0) > FRESH] == -1).all()
    assert (found[TABLE.max(0) < FRESH] == 1).all()


def test_a_value_that_many_share_lies_in_the_middle_of_their_places() -> None:
    column = np.repeat([0.0, 1.0], [5, 4])[:, None]  # nine quantiles: five are 0, four are 1
    found = FeatureTransform.fit(column, "quantile", quantiles=9)(np.array([[0.0], [0.5], [1.0]]))
    zero, half, one = 2 * (2 / 8) - 1, 2 * (4.5 / 8) - 1, 2 * (6.5 / 8) - 1
    assert found[:, 0].tolist() == pytest.approx([zero, half, one])


def test_normal_scores_are_the_normal_quantiles_of_the_places() -> None:
    place = (FeatureTransform.fit(TABLE, "quantile")(FRESH).double() + 1) / 2
    expected = torch.distributions.Normal(0.0, 1.0).icdf(place.clamp(1e-3, 1 - 1e-3))
    torch.testing.assert_close(FeatureTransform.fit(TABLE, "normal")(FRESH).double(), expected, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["quantile", "normal"]), st.data())
def test_quantiles_keep_the_order_and_the_range(kind: Any, data: st.DataObject) -> None:
    number = st.floats(-1e6, 1e6, width=32)
    column = np.array(data.draw(st.lists(number, min_size=1, max_size=30)), dtype=np.float32)
    fresh = np.sort(np.array(data.draw(st.lists(number, min_size=1, max_size=30)), dtype=np.float32))
    found = FeatureTransform.fit(column[:, None], kind)(fresh[:, None])[:, 0]
    assert bool((found[1:] >= found[:-1] - 1e-6).all())
    assert bool((found.abs() <= (1 if kind == "quantile" else 3.1)).all())
    if column.min() == column.max():
        assert found.abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_constant_features_become_zero(self, kind: TransformKind) -> None:
        table = np.array([[1.0, 0.1], [2.0, 0.1], [3.0, 0.1]])
        assert FeatureTransform.fit(table, kind)(np.array([[2.5, 7.0]]))[0, 1].item() == 0

    def test_missing_values_become_zero_and_an_indicator(self, kind: TransformKind) -> None:
        table = TABLE.copy()
        table[::3, 1] = np.nan
        table[:, 4] = np.nan  # never there
        transform = FeatureTransform.fit(table, kind)
        assert transform.width == 5 + 2
        fresh = FRESH.copy()
        fresh[:2, 1] = np.nan
        found = transform(fresh)
        assert found[:2, 1].tolist() == [0, 0]
        assert found[:4, 5].tolist() == [1, 1, 0, 0]
        assert found[:, 4].abs().max() == found[:, 6].max() == 0
        present = table[~np.isnan(table[:, 1])][:, 1:2]  # the others do not shift what is there
        torch.testing.assert_close(found[2:, 1:2], FeatureTransform.fit(present, kind)(fresh[2:, 1:2]))

    def test_a_feature_first_missing_later_is_refused(self, kind: TransformKind) -> None:
        fresh = FRESH.copy()
        fresh[3, 2] = np.nan
        with pytest.raises(SlicingError, match="'c' is missing in row 3; it never was in training"):
            FeatureTransform.fit(TABLE, kind, names="abcde")(fresh)

    def test_infinite_values_are_refused_with_their_place(self, kind: TransformKind) -> None:
        for bad in (math.inf, -math.inf, 1e300):
            fresh = FRESH.astype(np.float64)
            fresh[3, 2] = bad
            with pytest.raises(SlicingError, match=r"'c' is -?inf in row 3"):
                FeatureTransform.fit(TABLE, kind, names="abcde")(fresh)
            with pytest.raises(SlicingError, match=r"'c' is -?inf in row 3"):
                FeatureTransform.fit(fresh, kind, names="abcde")

    def test_one_row_gives_the_bits_of_many_and_of_the_stored_transform(self, kind: TransformKind) -> None:
        transform = FeatureTransform.fit(TABLE, kind)
        again = FeatureTransform.rebuild(transform.tensors(), transform.description())
        whole = transform(FRESH)
        assert torch.equal(again(torch.from_numpy(FRESH)), whole)
        for row in range(0, 90, 7):
            assert torch.equal(transform(FRESH[row : row + 1])[0], whole[row])

    def test_numbers_that_do_not_fit_are_refused(self, kind: TransformKind) -> None:
        transform = FeatureTransform.fit(TABLE, kind)
        tensors, description = transform.tensors(), transform.description()
        holed = {**tensors, "table": torch.tensor([[1.0] * 5, [math.nan] * 5])}
        for parts, facts in (
            (holed, description),
            ({**tensors, "missing": torch.zeros(4, dtype=torch.bool)}, description),
            ({**tensors, "table": tensors["table"].double()}, description),
            (tensors, {**description, "names": ["a"]}),
            (tensors, {**description, "names": [1, 2, 3, 4, 5]}),
            (tensors, {**description, "kind": "log"}),
            ({"table": tensors["table"]}, description),
        ):
            with pytest.raises(SlicingError, match="feature transform"):
                FeatureTransform.rebuild(parts, facts)


def test_quantiles_that_fall_are_refused() -> None:
    transform = FeatureTransform.fit(TABLE)
    with pytest.raises(SlicingError, match="do not fit together"):
        FeatureTransform.rebuild({**transform.tensors(), "table": transform.table.flip(0)}, transform.description())


def test_large_tables_are_transformed_in_parts() -> None:
    transform = FeatureTransform.fit(TABLE)
    rows = (1 << 16) + 3
    big = np.resize(FRESH, (rows, 5))
    assert torch.equal(transform(big)[-90:], transform(big[-90:]))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(SlicingError, match="must be one of"):
        FeatureTransform.fit(TABLE, "log")  # type: ignore[arg-type]
    with pytest.raises(SlicingError, match="no rows"):
        FeatureTransform.fit(TABLE[:0])
    with pytest.raises(SlicingError, match=r"quantiles must lie in \[2, 4096\]"):
        FeatureTransform.fit(TABLE, quantiles=1)
    with pytest.raises(SlicingError, match="name each of 5"):
        FeatureTransform.fit(TABLE, names=["a"])
    with pytest.raises(SlicingError, match="fitted on 5 features, got 2"):
        FeatureTransform.fit(TABLE)(TABLE[:, :2])
    with pytest.raises(SlicingError, match="must be numbers"):
        FeatureTransform.fit(np.array([["a"]]))
    with pytest.raises(SlicingError, match=r"shape \(N, d\)"):
        FeatureTransform.fit(TABLE[:, 0])


def test_threads_change_no_bit_and_report_the_first_bad_row(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 3)).astype(np.float32)
    transform = FeatureTransform.fit(x)
    alone = transform(x)
    monkeypatch.setattr("slicing.features._ROWS", 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(transform(x), alone)
    x[[70, 21, 90], 1] = np.inf
    with pytest.raises(SlicingError, match="in row 21;"):
        transform(x)

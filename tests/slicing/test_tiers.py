"""Feature tiers and query features of a ranker: declared, fitted, saved, and read when a rate first needs them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicing import (
    IncrementalScorer,
    Ranker,
    RankerSession,
    RankerSettings,
    RefusedValue,
    SlicingError,
    Tier,
    fit_ranker,
)
from slicing.tiers import check_tiers, constant_within, feature_costs, query_columns

RATES = (0.25, 0.5, 1.0)
TIERS = (Tier(0.5, ("b", "shop"), 2.0), Tier(1.0, ("vector", "age"), 10.0), Tier(0.25, ("a",), 0.5))
QUERY = ("age", "user")
SETTINGS = RankerSettings(
    RATES, ("shop", "user"), tiers=TIERS, query=QUERY, hidden=(16, 16), embedding=8, batch_rows=60, epochs=1
)


def table(seed: int, queries: int = 12, each: int = 6) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    n, qids = queries * each, np.repeat(np.arange(queries), each)
    columns = {name: rng.normal(size=n) for name in "ab"}
    columns["vector"] = np.where(rng.random((n, 2)) < 0.2, np.nan, rng.normal(size=(n, 2)))
    columns["age"] = np.where(rng.random(queries) < 0.3, np.nan, rng.normal(size=queries))[qids]
    columns["shop"] = rng.integers(0, 4, n)
    columns["user"] = rng.integers(0, 5, queries)[qids]
    labels = np.clip(np.round(columns["a"] + rng.random(n)), 0, 2)
    return columns, labels, qids


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return fit_ranker(*table(0), table(1), SETTINGS)[0]


def test_sources_are_by_tier_and_side_and_costs_add_up(ranker: Ranker) -> None:
    found = [(source.columns, source.first, source.of_query) for source in ranker.sources]
    assert found == [
        (("a",), 0, False),
        (("b",), 1, False),
        (("vector",), 2, False),
        (("age",), 2, True),
        (("shop",), 1, False),
        (("user",), 0, True),
    ]
    assert ranker.feature_costs == (0.5, 2.5, 12.5)
    assert feature_costs((), RATES) == (0, 0, 0)
    assert ranker.columns_at(0.25) == ("a", "user")
    assert ranker.columns_at(0.5) == ("a", "b", "shop", "user")
    assert set(ranker.columns_at(1.0)) == set(ranker.columns)
    assert ranker.shapes == [(1,), (1,), (4,), (2,), (), ()]  # with the indicators of what is missing


def test_a_file_keeps_tiers_and_query_features(ranker: Ranker, tmp_path: Path) -> None:
    ranker.save(tmp_path / "m.safetensors")
    again = Ranker.load(tmp_path / "m.safetensors")
    assert (again.tiers, again.query) == (TIERS, QUERY)
    columns = table(2)[0]
    assert np.array_equal(again.scores(columns), ranker.scores(columns))
    Ranker(ranker.network, ranker.transform, ranker.numeric, ranker.vocabularies, TIERS[:2], QUERY[:1]).save(
        tmp_path / "n.safetensors"
    )
    with pytest.raises(SlicingError, match="tiers or query inputs are not those of the columns"):
        Ranker.load(tmp_path / "n.safetensors")


@pytest.mark.parametrize("known", [True, False])
def test_scores_of_survivors_are_those_of_full_rows_and_nothing_else_is_read(ranker: Ranker, known: bool) -> None:
    columns, _, qids = table(3)
    every = ranker.scores(columns)
    asked: list[tuple[tuple[str, ...], int]] = []

    def read(names: Sequence[str], rows: np.ndarray | None) -> dict[str, np.ndarray]:
        asked.append((tuple(names), len(qids) if rows is None else len(rows)))
        return {name: columns[name] if rows is None else columns[name][rows] for name in names}

    queries = qids if known else None
    session = RankerSession(ranker, IncrementalScorer(ranker.network, reuse="always"), read, len(qids), queries)
    kept = np.arange(len(qids))
    for k, rate in enumerate(RATES):
        assert np.allclose(session.widen(rate).numpy(), every[k][kept], atol=1e-5)
        chosen = np.flatnonzero((kept % 3 != k) & (qids[kept] != 4))
        session.select(chosen)
        kept = kept[chosen]
    assert asked == [(("a", "user"), 72), (("b", "shop"), 44), (("vector", "age"), 22)]
    assert (session.session.flops < ranker.flops(1.0, 0.5)) == known


def test_a_query_feature_that_varies_is_refused(ranker: Ranker) -> None:
    columns, _, qids = table(3)
    columns["user"][2] += 1

    def read(names: Sequence[str], rows: np.ndarray | None) -> dict[str, np.ndarray]:
        return {name: columns[name] for name in names}

    session = RankerSession(ranker, IncrementalScorer(ranker.network), read, len(qids), qids)
    with pytest.raises(SlicingError, match=r"'user' is [0-9]+ in row 2; it was declared constant within a query"):
        session.widen(0.25)


@pytest.mark.parametrize("name", ["b", "vector", "user", "age"])
def test_a_refused_value_is_named_by_its_place_among_all_candidates(ranker: Ranker, name: str) -> None:
    columns, _, qids = table(3)
    read_by = {"b": 0.5, "vector": 1.0, "user": 0.25, "age": 1.0}[name]
    if name in QUERY:  # 13 is in query 2, whose first candidate that is left will be 12
        columns[name][13] = 4 - columns[name][12] if name == "user" else 99.0
    else:
        columns[name][13] = np.inf

    def read(names: Sequence[str], rows: np.ndarray | None) -> dict[str, np.ndarray]:
        return {each: columns[each] if rows is None else columns[each][rows] for each in names}

    session = RankerSession(ranker, IncrementalScorer(ranker.network), read, len(qids), qids)
    for rate in RATES[: RATES.index(read_by)]:
        session.widen(rate)
        session.select(np.arange(2, 20) if rate == 0.25 else np.arange(1, 15))
    with pytest.raises(RefusedValue) as refused:
        session.widen(read_by)
    assert refused.value.row == 13
    assert refused.value.column.startswith(name)
    assert "query 7" in str(refused.value.at("query 7"))


def test_two_first_layers_start_as_one() -> None:
    columns, labels, qids = table(4)
    columns = {**columns, **{f"c{i}": np.random.default_rng(i).normal(size=len(qids)) for i in range(40)}}
    settings = RankerSettings(
        RATES,
        ("shop", "user"),
        query="auto",
        hidden=(256, 16),
        epochs=1,
        learning_rate=1e-12,
        batch_rows=60,
    )
    ranker, _ = fit_ranker(columns, labels, qids, (columns, labels, qids), settings)
    assert ranker.query == ("age", "user")
    own, asked = (ranker.network.module_of(name).weight for name in ("dense_0", "dense_0_query"))
    fan_in = own.shape[1] + asked.shape[1]
    for weight in (own, asked):
        assert float(weight[-128:].detach().std()) == pytest.approx((2 / fan_in) ** 0.5, rel=0.1)  # type: ignore[operator, index]


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 1.0, float("nan")])), max_size=12))
def test_constant_within_is_a_set_for_each_query(rows: list[tuple[int, float]]) -> None:
    queries, values = np.array([q for q, _ in rows], int), np.array([v for _, v in rows], float)
    groups = {q: {"nan" if v != v else v for p, v in rows if p == q} for q, _ in rows}
    row = constant_within(values, queries)
    assert (row is None) == all(len(group) == 1 for group in groups.values())
    objects = np.array([None if v != v else str(v) for v in values], dtype=object)
    assert constant_within(objects, queries) == row
    if row is not None:
        assert len(groups[int(queries[row])]) > 1


def test_query_features_are_found_or_checked() -> None:
    qids = np.array([5, 3, 5, 3])
    columns = {"x": np.arange(4), "of": np.array([1.0, 2, 1, 2]), "same": np.ones(4)}
    assert query_columns(columns, qids, "auto") == ("of",)
    assert query_columns(columns, qids, ("same", "of")) == ("same", "of")
    assert query_columns(columns, qids, ()) == ()
    with pytest.raises(SlicingError, match="'x' is declared constant within a query, but varies in query"):
        query_columns(columns, qids, ("x",))
    with pytest.raises(SlicingError, match="'off' is no feature; did you mean 'of'"):
        query_columns(columns, qids, ("off",))
    with pytest.raises(SlicingError, match="nothing tells candidates apart"):
        query_columns({"of": columns["of"]}, qids, "auto")


@pytest.mark.parametrize(
    ("tiers", "message"),
    [
        ([(0.3, ("a",))], "rate 0.3 is not one of this network's rates"),
        ([(0.5, ("aged",))], "'aged', which is no feature; did you mean 'age'"),
        ([(0.5, ("a",)), (1.0, ("a",))], "'a' is in the tiers of rates 0.5 and 1.0"),
        ([(0.5, ("a", "a"))], "'a' is in the tiers"),
        ([(0.5, ())], "names no columns"),
        ([(0.5, ("a",), -1.0)], r"in \[0, 1e\+18\], got -1.0"),
        ([(0.5, ("a",), 10**400)], r"in \[0, 1e\+18\]"),
        ([(0.5, ("a",), "dear")], "must be a number, got 'dear'"),
    ],
)
def test_tiers_that_do_not_fit_are_refused(tiers: list[Any], message: str) -> None:
    with pytest.raises(SlicingError, match=message):
        check_tiers([Tier(*tier) for tier in tiers], ["a", "b", "age"], RATES)

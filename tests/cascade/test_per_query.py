from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.alone import score_all
from cascade.callables import CallableScorer
from cascade.errors import CascadeError
from cascade.keep import TopK, TopKColumn
from cascade.pipeline import Cascade
from cascade.scorer import StageInfo

Make = Callable[[Sequence[str]], CallableScorer]


def table(seed: int, ks: Sequence[int | None]) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, len(ks))
    qids = np.repeat(np.arange(len(ks)), sizes)
    frame = pl.DataFrame(
        {"qid": qids, "docid": np.arange(len(qids)), "a": rng.random(len(qids)), "b": rng.random(len(qids))}
    )
    column = pl.Series("k_a", np.array(ks, dtype=object)[qids].tolist(), dtype=pl.Int32)
    return frame.with_columns(column).sample(fraction=1.0, shuffle=True, seed=seed)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.lists(st.none() | st.integers(1, 8), min_size=1, max_size=6), st.integers(1, 9))
def test_each_query_gets_the_run_with_its_own_k(seed: int, ks: list[int | None], batch: int) -> None:
    def read(name: str) -> Callable[[pl.DataFrame], np.ndarray]:
        return lambda frame: frame[name].to_numpy()

    scorer = CallableScorer([read("a"), read("b")], [StageInfo(None, 0, 1.0)] * 2)
    frame = table(seed, ks)
    mixed = Cascade(scorer, [TopKColumn("k_a", otherwise=3), TopK(2)]).run(frame, batch=batch).frame
    parts = [
        Cascade(scorer, [TopK(max(k or 3, 2)), TopK(2)]).run(frame.filter(pl.col("qid") == qid)).frame
        for qid, k in enumerate(ks)
        if (k or 3) >= 2
    ]
    expected = pl.concat(parts) if parts else mixed.clear()
    singles = [qid for qid, k in enumerate(ks) if k == 1]
    assert mixed.filter(~pl.col("qid").is_in(singles)).equals(expected)
    for qid in singles:
        assert mixed.filter(pl.col("qid") == qid)["kept"].sum() == 1


@pytest.mark.parametrize(
    ("frame", "rule", "text"),
    [
        (
            table(0, [2, 3]).rename({"k_a": "k_b"}),
            TopKColumn("k_a"),
            "find column 'k_a'.* Did you mean 'k_b'",
        ),
        (table(0, [2, 0]), TopKColumn("k_a"), "whole numbers of at least 1, got 0 for query 1"),
        (table(0, [2, None]), TopKColumn("k_a"), "got None for query 1; mend it, or give the rule `otherwise`"),
        (table(0, [2, 3]).with_columns(pl.col("k_a") * 1.5), TopKColumn("k_a"), "must hold whole numbers, got Float64"),
        (
            table(0, [9, 9]).with_columns(pl.col("docid").alias("k_a") + 1),
            TopKColumn("k_a", otherwise=1),
            "must be the same for all candidates of a query, got 2 queries",
        ),
    ],
)
def test_what_is_no_cutoff_is_refused_before_scoring(
    frame: pl.DataFrame, rule: TopKColumn, text: str, column_scorer: Make
) -> None:
    cascade = Cascade(column_scorer(["a", "b"]), [rule, TopK(1)])
    with pytest.raises(CascadeError, match=text):
        cascade.validate(frame)


@pytest.mark.parametrize(("column", "otherwise"), [("", None), (3, None), ("k", 0), ("k", 1.5)])
def test_rule_checks_its_arguments(column: str, otherwise: int | None) -> None:
    with pytest.raises(CascadeError):
        TopKColumn(column, otherwise)


def test_stages_alone_name_the_column_they_cannot_give(column_scorer: Make) -> None:
    with pytest.raises(CascadeError, match="reads the column 'k_a'"):
        score_all(column_scorer(["a"]), table(0, [2, 2])).alone([TopKColumn("k_a")])

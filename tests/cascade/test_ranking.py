"""Equal to ir_measures (trec_eval's own code, and MS MARCO's for RR with a cutoff) on random and adversarial runs."""

import math
from itertools import pairwise
from typing import Any

import ir_measures
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cascade.errors import CascadeError
from cascade.judged import judge
from cascade.keep import TopK
from cascade.measures import MEASURES, parse_measures
from cascade.pipeline import Cascade
from cascade.ranking import evaluate

TREC = ["nDCG", "nDCG@1", "nDCG@3", "RR", "RR(rel=2)", "AP", "AP(rel=3)", "AP@2", "R@1", "R@4", "R(rel=2)@4", "P@3"]
TREC += ["P(rel=2)@50", "Success@1", "Success@3"]
GAINS = {label: 2**label - 1 for label in range(5)}


def theirs(run: pl.DataFrame, judgements: pl.DataFrame, names: list[str]) -> dict[str, dict[str, float]]:
    """{measure: {qid: value}} of a run with `score`, by ir_measures."""
    docs = [ir_measures.ScoredDoc(str(q), str(d), s) for q, d, s in run.select("qid", "docid", "score").rows()]
    qrels = [ir_measures.Qrel(str(q), str(d), int(r)) for q, d, r in judgements.select("qid", "docid", "label").rows()]
    answer: dict[str, dict[str, float]] = {name: {} for name in names}
    for name in names:
        measure = ir_measures.parse_measure(name)
        provider = ir_measures.msmarco if name.startswith("RR") and "@" in name else ir_measures.pytrec_eval
        if "exp-log2" in name:
            measure = ir_measures.nDCG(gains=GAINS, cutoff=measure["cutoff"])
        for value in provider.iter_calc([measure], qrels, docs):
            answer[name][value.query_id] = value.value
    return answer


def distinct(run: pl.DataFrame) -> pl.DataFrame:
    """The run with scores that put it into the engine's order: by score, ties by docid ascending."""
    run = run.sort("qid", pl.col("score") * -1, "docid")
    return run.with_columns(score=-pl.int_range(pl.len()).over("qid").cast(pl.Float64))


def ours(evaluation: Any) -> dict[str, dict[str, float]]:
    table = evaluation.per_query
    return {name: dict(zip(table["qid"].cast(pl.String), table[name], strict=True)) for name in table.columns[1:]}


def same(mine: dict[str, dict[str, float]], others: dict[str, dict[str, float]]) -> None:
    assert mine.keys() == others.keys()
    for name in mine:
        assert mine[name].keys() == others[name].keys()
        for qid, value in mine[name].items():
            assert value == pytest.approx(others[name][qid], abs=1e-9), (name, qid)


@st.composite
def cases(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Runs with ties, unjudged candidates, judged items that no run has, and queries in only one of the two."""
    seed, docs = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 25))
    levels, strings = draw(st.sampled_from([1, 3, 1000])), draw(st.booleans())
    in_run, in_qrels, top = draw(st.floats(0, 1)), draw(st.floats(0, 1)), draw(st.integers(0, 4))
    rng = np.random.default_rng(seed)
    pairs = pl.DataFrame({"qid": np.repeat(np.arange(6), docs), "docid": np.tile(np.arange(docs) * 7, 6)})
    if strings:
        pairs = pairs.cast(pl.String)
    n = len(pairs)
    query = pl.col("qid").cast(pl.Int64)
    run = pairs.with_columns(score=rng.integers(0, levels, n) / 4).filter(rng.random(n) < in_run).filter(query != 5)
    qrels = pairs.with_columns(label=rng.integers(-1, top + 1, n)).filter(rng.random(n) < in_qrels).filter(query != 0)
    # trec_eval reads memory it never set where all labels of a query are negative, and may never return
    negative = pl.col("label").max().over("qid") < 0
    qrels = qrels.with_columns(label=pl.when(negative).then(0).otherwise("label"))
    return run[rng.permutation(len(run))], qrels[rng.permutation(len(qrels))]


@settings(max_examples=60, deadline=None)
@given(cases())
def test_equal_to_ir_measures(case: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    run, qrels = case
    names = [*TREC, "RR@2", "RR(rel=2)@3", "nDCG(dcg='exp-log2')", "nDCG(dcg='exp-log2')@3"]
    plain = distinct(run)
    expected = theirs(plain, qrels, names)
    found = evaluate(run, qrels, names)
    same(ours(found), expected)
    for name in names:
        values = list(expected[name].values())
        mean = pytest.approx(sum(values) / len(values), abs=1e-9) if values else None
        assert found.means[name] == mean
        assert found.averaged[name] == len(values)
    ranked = plain.select("qid", "docid", rank=3 - 2 * pl.col("score").cast(pl.Int64))
    same(ours(evaluate(ranked.reverse(), qrels, names)), expected)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_ties_as_trec_eval_breaks_them(case: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    run, qrels = case
    run = run.with_columns(pl.col("score") + 1e-12 * (pl.col("docid").cast(pl.Int64) % 3))  # differ as doubles only
    same(ours(evaluate(run, qrels, TREC, ties="trec_eval")), theirs(run, qrels, TREC))


@settings(max_examples=30, deadline=None)
@given(cases())
def test_queries_without_anything_relevant_can_be_left_out(case: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    run, qrels = case
    names = ["nDCG@3", "AP(rel=2)", "P@3"]
    least = {"nDCG@3": 1, "AP(rel=2)": 2, "P@3": 1}
    zero, skip = evaluate(run, qrels, names), evaluate(run, qrels, names, without_relevant="skip")
    for name in names:
        some = set(qrels.filter(pl.col("label") >= least[name])["qid"])
        judged = set(qrels["qid"])
        for found, counted in ((zero, judged), (skip, some)):
            table = found.per_query.filter(pl.col(name).is_not_null())
            assert set(table["qid"]) == counted
            assert found.averaged[name] == len(counted)
            assert found.without_relevant[name] == len(judged - some)
            assert found.means[name] == (pytest.approx(table[name].mean()) if counted else None)
        assert zero.per_query.filter(~pl.col("qid").is_in(list(some)))[name].sum() == 0
    assert zero.missing == len(set(qrels["qid"]) - set(run["qid"]))
    assert zero.unjudged == len(set(run["qid"]) - set(qrels["qid"]))


@settings(max_examples=30, deadline=None)
@given(cases())
def test_the_runs_own_labels_are_judgements(case: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    run, qrels = case
    labelled = run.join(qrels, on=["qid", "docid"], how="left")
    known = qrels.join(run, on=["qid", "docid"], how="semi")
    own, apart = evaluate(labelled, None, TREC), evaluate(run, known, TREC)
    same(ours(own), ours(apart))
    assert (own.means, own.without_relevant, own.unjudged) == (apart.means, apart.without_relevant, apart.unjudged)


def test_by_hand() -> None:
    run = pl.DataFrame({"qid": ["q"] * 4, "docid": ["a", "b", "c", "d"], "rank": [1, 2, 3, 4]})
    judgements = pl.DataFrame({"qid": ["q"] * 4, "docid": ["b", "d", "x", "a"], "label": [2.5, 1, 1, 0]})
    means = evaluate(run, judgements, ["nDCG", "nDCG(dcg=exp-log2)@2", "AP", "RR", "R@2", "P@8", "Success@1"]).means
    log2 = math.log2
    ideal = 2.5 / log2(2) + 1 / log2(3) + 1 / log2(4)
    assert means["nDCG"] == pytest.approx((2.5 / log2(3) + 1 / log2(5)) / ideal)
    exponential = (2**2.5 - 1) / log2(3) / ((2**2.5 - 1) / log2(2) + (2**1 - 1) / log2(3))
    assert means["nDCG(dcg='exp-log2')@2"] == pytest.approx(exponential)
    assert means["AP"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert (means["RR"], means["R@2"], means["P@8"], means["Success@1"]) == (1 / 2, 1 / 3, 2 / 8, 0)


def test_the_result_of_a_cascade_is_measured_by_its_ranks(column_scorer: Any) -> None:
    frame = pl.DataFrame({"qid": [1] * 4, "docid": [4, 3, 2, 1], "label": [0, 0, 1, 0]})
    frame = frame.with_columns(s0=pl.Series([4.0, 3, 2, 1]), s1=pl.Series([-9.0, -8, 0, 0]))
    result = Cascade(column_scorer(["s0", "s1"]), [TopK(2), TopK(1)]).run(frame)
    assert evaluate(result.frame, None, ["RR"]).means == {"RR": 1 / 3}  # ranks 3, 4, 2, 1; by score 2 would be first
    assert evaluate(result.frame, None, ["RR"], by="score").means == {"RR": 1.0}


def test_more_relevant_items_at_the_top_never_score_less() -> None:
    rng = np.random.default_rng(0)
    names = ["nDCG@5", "nDCG", "RR", "AP", "R@5", "P@5", "Success@5"]
    labels = rng.integers(0, 3, 30)
    run = pl.DataFrame({"qid": 1, "docid": np.arange(30), "rank": np.arange(30), "label": labels})
    tables = [run]
    for swap in np.flatnonzero(np.diff(labels) > 0)[:6]:
        better = tables[-1]["label"].to_numpy().copy()
        if better[swap] < better[swap + 1]:
            better[[swap, swap + 1]] = better[[swap + 1, swap]]
        tables.append(run.with_columns(label=better))
    scores = [evaluate(table, None, names).means for table in tables]
    assert all(a[name] <= b[name] + 1e-12 for a, b in pairwise(scores) for name in names)  # type: ignore[operator]
    assert scores[0]["nDCG"] < scores[-1]["nDCG"]  # type: ignore[operator]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_empty_tables(dtype: pl.DataType) -> None:
    run = pl.DataFrame(schema={"qid": dtype, "docid": dtype, "score": pl.Float64})
    judgements = pl.DataFrame({"qid": [1], "docid": [2], "label": [1]}).cast({"qid": dtype, "docid": dtype})
    nothing = evaluate(run, judgements, ["AP", "nDCG@3"])
    assert (nothing.means, nothing.missing) == ({"AP": 0.0, "nDCG@3": 0.0}, 1)
    unjudged = evaluate(judgements.select("qid", "docid", score=1.0), judgements.clear(), ["AP", "nDCG@3"])
    assert (unjudged.means, unjudged.unjudged) == ({"AP": None, "nDCG@3": None}, 1)
    assert evaluate(run, judgements.clear(), ["AP"]).per_query.rows() == []


def test_negative_labels_gain_nothing_and_hurt_nothing() -> None:
    run = pl.DataFrame({"qid": [1, 1, 2], "docid": [1, 2, 1], "rank": [1, 2, 1], "label": [-2, 1, -1]})
    found = evaluate(run, None, ["nDCG", "nDCG(dcg=exp-log2)", "AP"])
    second = (1 / math.log2(3)) / (1 / math.log2(2))
    assert found.per_query.rows() == [(1, pytest.approx(second), pytest.approx(second), 1 / 2), (2, 0, 0, 0)]


def test_a_null_label_is_no_judgement() -> None:
    run = pl.DataFrame({"qid": [1, 1, 2], "docid": [1, 2, 1], "score": [2.0, 1, 0], "label": [None, 1, None]})
    found = evaluate(run, None, ["RR"])
    assert found.per_query.rows() == [(1, 1 / 2)]
    assert found.unjudged == 1


def test_far_apart_negative_unsigned_and_categorical_ids() -> None:
    rows = {"score": [2.0, 1, 3, 1], "label": [0, 1, 1, 0]}
    plain = pl.DataFrame({"qid": [1, 1, 2, 2], "docid": [1, 2, 1, 2], **rows})
    expected = evaluate(plain.drop("label"), plain.drop("score"), TREC).means
    far = {1: -(2**62), 2: 2**62}
    big = {1: 2**63 + 5, 2: 2**64 - 1}
    changed = [plain.with_columns(pl.col("qid", "docid").replace_strict(far, return_dtype=pl.Int64))]
    changed += [plain.with_columns(pl.col("qid", "docid").replace_strict(big, return_dtype=pl.UInt64))]
    changed += [plain.with_columns(pl.col("qid", "docid").replace_strict({1: -1, 2: 5}, return_dtype=pl.Int8))]
    changed += [plain.with_columns(pl.col("qid", "docid").cast(pl.String).cast(pl.Categorical))]
    changed += [plain.rename({"qid": "query_id", "docid": "docno", "label": "rel"})]
    for frame in changed:
        label = frame.columns[-1]
        assert evaluate(frame.drop(label), frame.drop("score"), TREC).means == expected
        assert evaluate(frame, None, TREC).means == expected


RUN = pl.DataFrame({"qid": [1, 1], "docid": [1, 2], "score": [2.0, 1.0]})
QRELS = pl.DataFrame({"qid": [1], "docid": [1], "label": [1]})
RANKED = RUN.select("qid", "docid", rank=1)


@pytest.mark.parametrize(
    ("run", "judgements", "options", "message"),
    [
        (RUN.drop("score"), QRELS, {}, "needs a column 'rank' or 'score'"),
        (RUN.lazy(), QRELS, {}, r"must be a polars DataFrame, got LazyFrame; call .collect\(\)"),
        (RUN, QRELS.lazy(), {}, "judgements must be a polars DataFrame, got LazyFrame"),
        (RUN.rename({"docid": "doc"}), QRELS, {}, "run: unable to find column 'docid'.*Did you mean 'doc'"),
        (RUN, QRELS.rename({"label": "lable"}), {}, "judgements: unable to find column 'label'.*Did you mean 'lable'"),
        (RUN, None, {}, "run: unable to find column 'label'"),
        (RUN, QRELS, {"by": "rank"}, "run: unable to find column 'rank'"),
        (RUN, QRELS.cast({"qid": pl.String}), {}, "must have the types of the candidates' keys"),
        (RUN.cast({"qid": pl.Float64}), QRELS, {}, "column 'qid' must be integer or string, got Float64"),
        (RUN.with_columns(score=pl.lit("high")), QRELS, {}, "column 'score' must be numeric, got String"),
        (RUN.with_columns(score=pl.Series([None, 1.0])), QRELS, {}, "column 'score' must have no nulls, got 1"),
        (RUN.with_columns(score=pl.Series([1.0, math.nan])), QRELS, {}, "finite, got nan for .*candidate 2"),
        (RUN.with_columns(score=pl.Series([-math.inf, 1])), QRELS, {}, "finite, got -inf for .*candidate 1"),
        (RUN.with_columns(rank=pl.lit(1.5)), QRELS, {}, "column 'rank' must be integer, got Float64"),
        (RANKED, QRELS, {}, "ranks must be unique within a query, got rank 1 twice"),
        (pl.concat([RUN, RUN]), QRELS, {}, r"run: .*query 1 with 1 more than once \(2 surplus"),
        (RUN, pl.concat([QRELS, QRELS]), {}, r"judgements: .*query 1 with 1 more than once \(1 surplus"),
        (RUN, QRELS.with_columns(label=math.nan), {}, "labels must be finite, got nan for query 1, candidate 1"),
        (RUN, QRELS, {"without_relevant": "drop"}, "must be 'zero' or 'skip', got 'drop'"),
        (RUN, QRELS, {"ties": "random"}, "ties must be 'docid' or 'trec_eval', got 'random'"),
        (RUN, QRELS, {"by": "docid"}, "by must be 'rank' or 'score', got 'docid'"),
        (RANKED, QRELS, {"ties": "trec_eval"}, "pass by='score' too"),
    ],
)
def test_bad_input(run: Any, judgements: Any, options: dict, message: str) -> None:
    with pytest.raises(CascadeError, match=message) as error:
        evaluate(run, judgements, ["AP"], **options)
    assert "\n" not in str(error.value)


def test_equal_hashes_are_no_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    keys = pl.DataFrame({"qid": [f"q{i % 4}" for i in range(40)], "docid": [f"d{i // 4}" for i in range(40)]})
    run = keys[rng.permutation(40)[:30]].with_columns(score=pl.Series(rng.standard_normal(30)))
    judgements = keys[rng.permutation(40)[:30]].with_columns(label=pl.Series(rng.integers(0, 4, 30)))
    expected = evaluate(run, judgements, TREC).per_query
    same(ours(evaluate(run, judgements, TREC)), theirs(run, judgements, TREC))
    monkeypatch.setattr(pl.DataFrame, "hash_rows", lambda self: pl.Series([7] * len(self), dtype=pl.UInt64))
    assert evaluate(run, judgements, TREC).per_query.equals(expected)


def test_equal_hashes_are_no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.DataFrame, "hash_rows", lambda self: pl.Series([7] * len(self), dtype=pl.UInt64))
    assert judge(RUN, QRELS).found_place.tolist() == [0]
    with pytest.raises(CascadeError, match="more than once"):
        judge(pl.concat([RUN, RUN]), QRELS)


def test_every_measure_is_tested_here() -> None:
    assert {measure.name for measure in parse_measures(TREC)} == set(MEASURES)


@pytest.mark.parametrize(("qid", "docids"), [(1, [8, 9]), (0, [12, 13])])
def test_judged_items_outside_the_runs_range_of_ids_hit_nothing(qid: int, docids: list[int]) -> None:
    run = pl.DataFrame({"qid": [0, 0, 1, 1], "docid": [10, 11, 10, 11], "rank": [1, 2, 1, 2]})
    others = {"qid": [0, 1], "docid": [11, 11], "label": [0, 0]}
    judgements = pl.concat([pl.DataFrame({"qid": [qid] * 2, "docid": docids, "label": [1, 1]}), pl.DataFrame(others)])
    assert judge(run, judgements).found_place.tolist() == []
    assert evaluate(run, judgements, ["RR", "nDCG"]).means == {"RR": 0, "nDCG": 0}

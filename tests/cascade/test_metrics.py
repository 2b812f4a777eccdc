"""The example of the paper's section 4.2, by hand, and ir_measures where it measures the same."""

from collections.abc import Callable, Sequence

import ir_measures
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import P, R

from cascade.alone import Alone, score_all
from cascade.cost import flops_per_kept_item, flops_total, seconds_total
from cascade.inclusion import inclusion_coefficient, inclusion_matrix
from cascade.keep import KeepAll, KeepRule, ScoreAtLeast, TopK
from cascade.metrics import loss_by_stage, quality_alone, quality_so_far, recall_by_query, survived
from cascade.pipeline import Cascade, CascadeResult

KEEP = [ScoreAtLeast(0.5), ScoreAtLeast(0.5)]
ITEMS = range(1, 8)  # the positive items 1 .. 7; 8 and 9 are not relevant
RELEVANT = pl.DataFrame({"qid": [0] * 7, "docid": list(ITEMS)})


def dropping(*by_stage: set[int], others: Sequence[int] = (8, 9)) -> pl.DataFrame:
    """A table whose stage k alone drops the items of by_stage[k]."""
    docs = [*ITEMS, *others]
    return pl.DataFrame(
        {"qid": [0] * len(docs), "docid": docs}
        | {f"s{k}": [0.0 if d in drop else 1.0 for d in docs] for k, drop in enumerate(by_stage)}
    )


def both(make: Callable, frame: pl.DataFrame, rules: Sequence[KeepRule] = KEEP) -> tuple[CascadeResult, Alone]:
    scorer = make([f"s{k}" for k in range(len(rules))])
    return Cascade(scorer, rules).run(frame), score_all(scorer, frame).alone(rules)


@pytest.mark.parametrize(
    ("first", "left", "included"),
    [({1, 6, 7}, {2, 3, 4, 5}, 2 / 2), ({1, 2}, {3, 4, 5}, 0 / 2)],  # of E_2 = {6, 7}: both; neither
)
def test_the_papers_example(column_scorer: Callable, first: set, left: set, included: float) -> None:
    result, alone = both(column_scorer, dropping(first, {6, 7}, others=()))
    kept = result.frame.filter("kept")["docid"].to_list()
    assert set(kept) == left

    by_itself = quality_alone(alone, RELEVANT)
    assert [q.recall for q in by_itself] == [(7 - len(first)) / 7, 5 / 7]
    assert [q.accuracy for q in by_itself] == [q.recall for q in by_itself]  # all candidates are relevant
    assert [q.precision for q in by_itself] == [1.0, 1.0]
    assert [q.recall for q in quality_so_far(result, RELEVANT)] == [(7 - len(first)) / 7, len(left) / 7]

    inclusion = inclusion_matrix(alone, RELEVANT)
    assert inclusion.matrix == ((1.0, included), (included, 1.0))
    assert inclusion.errors == (len(first), 2)
    assert "wider" in inclusion.denominator

    losses = loss_by_stage(result, RELEVANT)
    second = 7 - len(first) - len(left)
    assert losses.select("stage", "relevant_in", "lost", "relevant_out").rows() == [
        (None, 7, 0, 7),
        (0, 7, len(first), 7 - len(first)),
        (1, 7 - len(first), second, len(left)),
    ]
    assert losses["lost_share"].to_list() == [0, len(first) / 7, second / 7]


def test_the_denominator_is_the_wider_models_errors() -> None:
    wider, narrower = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 1], bool)
    assert inclusion_coefficient(wider, narrower) == 1 / 2
    assert inclusion_coefficient(narrower, wider) == 1 / 3
    assert inclusion_coefficient(np.zeros(4, bool), narrower) is None


def test_of_three_stages_the_later_of_each_pair_is_the_wider(column_scorer: Callable) -> None:
    _, alone = both(column_scorer, dropping({1, 2, 3, 8}, {1, 4}, set()), [*KEEP, KEEP[0]])
    matrix = inclusion_matrix(alone, RELEVANT).matrix
    assert matrix == ((1.0, 1 / 2, None), (1 / 2, 1.0, None), (None, None, 1.0))


def test_irrelevant_candidates_count_in_precision_and_accuracy(column_scorer: Callable) -> None:
    result, alone = both(column_scorer, dropping({1, 8}, {2}))
    first, second = quality_alone(alone, RELEVANT)
    assert (first.precision, first.recall, first.accuracy) == (6 / 7, 6 / 7, (6 + 1) / 9)
    assert (second.precision, second.recall, second.accuracy) == (6 / 8, 6 / 7, (6 + 0) / 9)
    so_far = quality_so_far(result, RELEVANT)
    assert [(q.kept, q.correct) for q in so_far] == [(7, 6), (6, 5)]


def test_a_relevant_item_that_is_no_candidate_is_lost_before_the_cascade(column_scorer: Callable) -> None:
    more = pl.concat([RELEVANT, pl.DataFrame({"qid": [0, 4], "docid": [99, 1]})])
    result, alone = both(column_scorer, dropping({1}, {2}))
    assert [q.recall for q in quality_so_far(result, more)] == [6 / 9, 5 / 9]
    assert [q.accuracy for q in quality_alone(alone, more)] == [6 / 9, 6 / 9]  # of the 9 candidates
    assert loss_by_stage(result, more)["lost"].to_list() == [2, 1, 1]
    assert inclusion_matrix(alone, more).errors == (1, 1)  # no stage could have kept it: nobody's error
    by_query = recall_by_query(result.frame, survived(result, 1), more)
    assert by_query.rows() == [(0, 8, 5, 5 / 8), (4, 1, 0, 0.0)]


def test_shares_of_nothing_are_undefined(column_scorer: Callable) -> None:
    result, alone = both(column_scorer, dropping(set(range(10)), set()))
    assert quality_alone(alone, RELEVANT)[0].precision is None
    assert quality_alone(alone, RELEVANT.clear())[1].recall is None
    assert loss_by_stage(result, RELEVANT.clear())["lost_share"].to_list() == [None] * 3
    empty, nothing = both(column_scorer, dropping(set(), set()).clear())
    assert quality_alone(nothing, RELEVANT)[0].accuracy is None
    assert quality_so_far(empty, RELEVANT)[1].recall == 0


def test_the_cost_of_a_run(column_scorer: Callable) -> None:
    result, _ = both(column_scorer, dropping({1, 8}, {2}))
    assert flops_total(result) == 9 * 2.0 + 7 * 20.0
    assert flops_per_kept_item(result) == 2.0 + 20.0
    assert seconds_total(result) == sum(stage.seconds for stage in result.stages)
    nobody, _ = both(column_scorer, dropping(set(range(10)), set()))
    assert flops_total(nobody) == 9 * 2.0
    assert flops_per_kept_item(nobody) is None


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_recall_and_precision_equal_ir_measures(column_scorer: Callable, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    frame = pl.DataFrame({"qid": np.sort(rng.integers(0, 4, n)), "docid": np.arange(n)}).cast(pl.String)
    frame = frame.with_columns(s0=rng.permutation(n).astype(float), s1=rng.permutation(n).astype(float))
    relevant = frame.select("qid", "docid").filter(rng.random(n) < 0.4)
    relevant = pl.concat([relevant, pl.DataFrame({"qid": ["0"], "docid": ["never a candidate"]})])
    result, alone = both(column_scorer, frame, [TopK(2 * k), TopK(k)])

    def measured(measure: ir_measures.Measure, run: pl.DataFrame) -> dict[str, float]:
        qrels = [ir_measures.Qrel(q, d, 1) for q, d in relevant.rows()]
        docs = [ir_measures.ScoredDoc(q, d, s) for q, d, s in run.rows()]
        return {m.query_id: m.value for m in ir_measures.iter_calc([measure], qrels, docs)}

    cutoff = dict(zip(("s0", "s1"), (2 * k, k), strict=True))
    for stage, (column, cut) in enumerate(cutoff.items()):
        ours = recall_by_query(alone.frame, pl.Series(alone.kept[:, stage]), relevant)
        theirs = measured(R @ cut, frame.select("qid", "docid", column))
        assert dict(ours.select("qid", "recall").rows()) == pytest.approx(theirs)
    final = result.frame.select("qid", "docid", -pl.col("rank").cast(pl.Float64))
    ours = recall_by_query(result.frame, survived(result, 1), relevant)
    assert dict(ours.select("qid", "recall").rows()) == pytest.approx(measured(R @ k, final))
    if (frame.group_by("qid").len()["len"] >= k).all():  # P@k divides by k even where fewer are there
        kept = len(frame["qid"].unique()) * k
        hits = sum(v * k for v in measured(P @ k, final).values())
        assert quality_so_far(result, relevant)[1].precision == pytest.approx(hits / kept)


def test_a_cascade_that_keeps_all_loses_nothing(column_scorer: Callable) -> None:
    result, _ = both(column_scorer, dropping({1}, {2}), [KeepAll(), KeepAll()])
    assert loss_by_stage(result, RELEVANT)["lost"].to_list() == [0, 0, 0]

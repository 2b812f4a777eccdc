"""The engine against a plain reading of the rules: dicts, loops and sorted()."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from cascade.keep import KeepAll, KeepRule, PredictedClass, ScoreAtLeast, ScoreDrop, TopK, TopShare
from cascade.pipeline import Cascade

Key = tuple[Any, Any]
Rows = dict[Key, dict[str, Any]]
CLASSES = 3
LEVELS = [-1.0, -0.0, 0.0, 0.5, 0.5 + 2**-53, 1.0]  # few, so that ties and near ties are common


def scalar(row: dict[str, Any], stage: int) -> tuple[float, bool]:
    """Score and whether the predicted class is the target."""
    z = row[f"s{stage}"]
    if not isinstance(z, list):
        return z, False
    t = row["target"]
    return z[t] - max(v for c, v in enumerate(z) if c != t), z.index(max(z)) == t


def keeps(rule: KeepRule, row: dict[str, Any], place: int, best: float, original: int, stage: int) -> bool:
    score, hit = scalar(row, stage)
    match rule:
        case KeepAll():
            return True
        case TopK(k):
            return place < k
        case TopShare(share, minimum):
            return place < max(minimum, math.ceil(Fraction(str(share)) * original))
        case ScoreAtLeast(threshold):
            return score >= threshold
        case ScoreDrop(drop):
            return best - score <= drop
        case PredictedClass():
            return hit
    raise AssertionError(rule)


def reference(rows: Rows, rules: list[KeepRule]) -> list[dict[str, Any]]:
    table = []
    for qid in sorted({q for q, _ in rows}):
        alive = sorted(key for key in rows if key[0] == qid)
        original, bottom = len(alive), []
        scores: dict[Key, list[float]] = {key: [] for key in alive}
        kept: list[Key] = []
        for stage, rule in enumerate(rules):
            for key in alive:
                scores[key].append(scalar(rows[key], stage)[0])
            ranked = sorted(alive, key=lambda key, s=stage: (-scores[key][s], key[1]))
            best = scores[ranked[0]][stage] if ranked else 0.0
            kept = [k for i, k in enumerate(ranked) if keeps(rule, rows[k], i, best, original, stage)]
            bottom = [k for k in ranked if k not in kept] + bottom
            alive = kept
        for rank, key in enumerate(kept + bottom, start=1):
            found: list[float | None] = [*scores[key], *[None] * (len(rules) - len(scores[key]))]
            table.append(
                {"qid": key[0], "docid": key[1], "rank": rank, "score": scores[key][-1]}
                | {"stage": len(scores[key]) - 1}
                | {f"score_{s}": v for s, v in enumerate(found)}
                | {"kept": key in kept}
            )
    return table


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rows, list[KeepRule], int]:
    stages = draw(st.integers(1, 4))
    ks = sorted(draw(st.lists(st.integers(1, 6), min_size=stages, max_size=stages)), reverse=True)
    shares = draw(st.lists(st.sampled_from([0.07, 0.25, 0.5, 0.7, 1.0]), min_size=stages, max_size=stages))
    shares.sort(reverse=True)
    level = st.sampled_from(LEVELS)
    per_class = draw(st.lists(st.booleans(), min_size=stages, max_size=stages))
    rules: list[KeepRule] = []
    for s in range(stages):
        common = [KeepAll(), ScoreAtLeast(draw(level)), *([PredictedClass()] if per_class[s] else [])]
        whole = [TopK(ks[s]), TopShare(shares[s]), ScoreDrop(draw(st.sampled_from([0.0, 0.5, 1.0])))]
        rules.append(draw(st.sampled_from(common if draw(st.booleans()) else common + whole)))
    qids: st.SearchStrategy = draw(st.sampled_from([st.integers(-2, 3), st.sampled_from("abc")]))
    docids: st.SearchStrategy = draw(st.sampled_from([st.integers(-20, 20), st.text("abé", max_size=3)]))
    keys = draw(st.lists(st.tuples(qids, docids), min_size=1, max_size=25, unique=True))
    rows = {
        key: {"target": draw(st.integers(0, CLASSES - 1))}
        | {
            f"s{s}": draw(st.lists(level, min_size=CLASSES, max_size=CLASSES) if per_class[s] else level)
            for s in range(stages)
        }
        for key in keys
    }
    return rows, rules, draw(st.sampled_from([1, 2, 7, 1000]))


def as_frame(rows: Rows) -> pl.DataFrame:
    return pl.DataFrame([{"qid": q, "docid": d, **row} for (q, d), row in rows.items()])


@given(cases(), st.randoms(use_true_random=False), st.booleans())
def test_equals_the_plain_reading_in_any_row_order_and_batch_size(
    column_scorer: Callable, case: tuple[Rows, list[KeepRule], int], random: Any, order_free: bool
) -> None:
    rows, rules, batch = case
    cascade = Cascade(column_scorer([f"s{s}" for s in range(len(rules))], order_free=order_free), rules)
    expected = reference(rows, rules)
    result = cascade.run(as_frame(rows), batch=batch)
    assert result.frame.drop("target").to_dicts() == expected

    kept = cascade.run(as_frame(rows), batch=batch, only_kept=True)
    assert kept.frame.drop("target").to_dicts() == [row for row in expected if row["kept"]]
    assert [s.candidates_out for s in kept.stages] == [s.candidates_out for s in result.stages]

    reached = [sum(row["stage"] >= s for row in expected) for s in range(len(rules))]
    survived = [*reached[1:], sum(row["kept"] for row in expected)]
    assert [s.candidates_in for s in result.stages] == reached
    assert [s.candidates_out for s in result.stages] == survived
    assert [s.flops for s in result.stages] == [float(2 * 10**s) if n else None for s, n in enumerate(reached)]
    assert [s.mode for s in result.stages] == ["fresh" if n else None for n in reached]

    shuffled = list(rows.items())
    random.shuffle(shuffled)
    again = cascade.run(as_frame(dict(shuffled)), batch=batch)
    assert again.frame.equals(result.frame)
    assert cascade.run(as_frame(dict(shuffled)), batch=batch, only_kept=True).frame.equals(kept.frame)
    assert [(s.candidates_in, s.candidates_out) for s in again.stages] == list(zip(reached, survived, strict=True))


@given(cases())
def test_survivors_rank_above_what_was_dropped(column_scorer: Callable, case: tuple[Rows, list[KeepRule], int]) -> None:
    rows, rules, batch = case
    frame = Cascade(column_scorer([f"s{s}" for s in range(len(rules))]), rules).run(as_frame(rows), batch=batch).frame
    for _, query in frame.group_by("qid"):
        lasted = (query["stage"] + query["kept"]).to_numpy()
        assert query["rank"].to_list() == list(range(1, len(query) + 1))
        assert np.all(np.diff(lasted) <= 0)

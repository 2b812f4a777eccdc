import numpy as np
import polars as pl
import pytest

from cascade import CallableScorer, Cascade, CascadeError, StageInfo, SubsetScorer, TopK, check_scorer
from cascade.rows import Rows

RNG = np.random.default_rng(0)
N = 60
TABLE = pl.DataFrame(
    {"qid": np.arange(N) % 3, "docid": RNG.permutation(N)} | {name: RNG.standard_normal(N) for name in ("a", "b", "c")}
)
INFO = StageInfo(None, 4, 3.0)


def first_column(frame: pl.DataFrame) -> np.ndarray:
    return frame.to_series().to_numpy()


def scorer() -> CallableScorer:
    return CallableScorer([first_column] * 3, [INFO] * 3, [["a"], ["b", "c", "b"], ["c"]])


def test_rows_are_read_by_column_and_position() -> None:
    at = np.array([5, 2, 9])
    rows = Rows(TABLE, at)
    assert len(rows) == 3
    assert rows.frame.equals(TABLE[[5, 2, 9]])
    assert rows.read(["c", "a", "c"], np.array([2, 0])).rows() == TABLE[[9, 5]].select("c", "a").rows()
    assert rows.read(["b"], np.array([1])).rows() == TABLE[[2]].select("b").rows()
    assert Rows(TABLE).frame.equals(TABLE)
    assert rows.read([], np.array([1])).width == 0


def test_a_function_gets_the_columns_that_it_reads_of_those_still_in() -> None:
    seen: list[tuple[list[str], int]] = []

    def watched(frame: pl.DataFrame) -> np.ndarray:
        seen.append((frame.columns, frame.height))
        return first_column(frame)

    Cascade(CallableScorer([watched, watched], [INFO, INFO], [["a"], ["b", "c"]]), [TopK(5), TopK(2)]).run(TABLE)
    assert seen == [(["a"], N), (["b", "c"], 15)]


@pytest.mark.parametrize("only_kept", [True, False])
def test_reading_less_changes_no_result(only_kept: bool) -> None:
    whole = CallableScorer([lambda frame: frame["a"], lambda frame: frame["b"], lambda frame: frame["c"]], [INFO] * 3)
    rules = [TopK(9), TopK(5), TopK(2)]
    expected = Cascade(whole, rules).run(TABLE, batch=25, only_kept=only_kept).frame
    assert Cascade(scorer(), rules).run(TABLE, batch=25, only_kept=only_kept).frame.equals(expected)
    alone = Cascade(SubsetScorer(whole, [1]), rules[:1]).run(TABLE, only_kept=only_kept).frame
    assert Cascade(SubsetScorer(scorer(), [1]), rules[:1]).run(TABLE, only_kept=only_kept).frame.equals(alone)


def test_it_passes_the_conformance_tests() -> None:
    check_scorer(scorer, TABLE, exact=True)


def test_errors_name_the_candidate_and_the_column() -> None:
    bad = TABLE.with_columns(b=pl.when(pl.col("docid") == 7).then(float("nan")).otherwise(pl.col("b")))
    qid = bad.filter(docid=7)["qid"].item()
    with pytest.raises(CascadeError, match=f"stage 1: scores must be finite, got nan for query {qid}, candidate 7;"):
        Cascade(scorer(), [TopK(100), TopK(100), TopK(2)]).run(bad)
    with pytest.raises(CascadeError, match=r"unable to find column 'c', which a stage reads; valid columns: .*'b'"):
        Cascade(scorer(), [TopK(5), TopK(2), TopK(1)]).run(TABLE.drop("c"))
    with pytest.raises(CascadeError, match=r"a list of column names for each of the 2 functions, got \[\['a'\]\]"):
        CallableScorer([first_column, first_column], [INFO, INFO], [["a"]])
    with pytest.raises(CascadeError, match=r"a list of column names .*, got \['a', 'b'\]"):
        CallableScorer([first_column, first_column], [INFO, INFO], ["a", "b"])

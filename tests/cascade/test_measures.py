import ir_measures
import pytest

from cascade.errors import CascadeError
from cascade.measures import MEASURES, Measure, parse_measure, parse_measures


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nDCG@10", Measure("nDCG", 10)),
        ("NDCG", Measure("nDCG")),
        ("ndcg(dcg='exp-log2')@10", Measure("nDCG", 10, dcg="exp-log2")),
        ("nDCG(dcg=exp-log2) @ 10", Measure("nDCG", 10, dcg="exp-log2")),
        ("RR", Measure("RR")),
        ("MRR@10", Measure("RR", 10)),
        ("map", Measure("AP")),
        ("R@100", Measure("R", 100)),
        ("Recall(rel=3)@5", Measure("R", 5, rel=3)),
        ("P(rel=2)@5", Measure("P", 5, rel=2)),
        ("P(rel=0.5)@5", Measure("P", 5, rel=0.5)),
        ("HR@1", Measure("Success", 1)),
        ("HitRate@1", Measure("Success", 1)),
    ],
)
def test_names_as_people_write_them(text: str, expected: Measure) -> None:
    assert parse_measure(text) == expected
    assert parse_measure(str(expected)) == expected
    assert parse_measure(expected) is expected


@pytest.mark.parametrize("text", ["nDCG@10", "nDCG(dcg='exp-log2')@3", "RR", "RR@5", "AP(rel=2)", "P(rel=2)@5", "R@7"])
def test_canonical_names_are_those_of_ir_measures(text: str) -> None:
    assert str(parse_measure(text)) == text == str(ir_measures.parse_measure(text))


def test_the_default_threshold_is_for_names_that_give_none() -> None:
    names = [str(m) for m in parse_measures(["P@5", "P(rel=3)@5", "nDCG@5"], rel=2)]
    assert names == ["P(rel=2)@5", "P(rel=3)@5", "nDCG@5"]


def test_one_measure_under_two_names_is_one_measure() -> None:
    assert parse_measures(["MRR", "RR", "AP"]) == (Measure("RR"), Measure("AP"))
    assert parse_measures("RR") == (Measure("RR"),)


@pytest.mark.parametrize(("typo", "near"), [("nDGC@10", "nDCG"), ("Recal@5", "Recall"), ("Sucess@1", "Success")])
def test_an_unknown_name_gives_the_list_and_the_nearest(typo: str, near: str) -> None:
    with pytest.raises(CascadeError, match=f"unknown measure .* Did you mean '{near}'") as error:
        parse_measure(typo)
    assert all(name in str(error.value) for name in MEASURES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("P", "P needs a cutoff, got none; write P@10"),
        ("Recall", "R needs a cutoff"),
        ("HR", "Success needs a cutoff"),
        ("nDCG@0", "whole number of at least 1, got 0"),
        ("nDCG@ten", "whole number of at least 1, got 'ten' in 'nDCG@ten'"),
        ("nDCG@-1", "got '-1'"),
        ("P(rel=0)@5", "finite number above 0, got 0"),
        ("P(rel=nan)@5", "finite number above 0, got nan"),
        ("P(rel=inf)@5", "finite number above 0, got inf"),
        ("P(rel=x)@5", "rel must be a number, got 'x'"),
        ("P(level=1)@5", r"rel=\.\.\. and dcg=\.\.\., once each, got 'level=1'"),
        ("P(rel=1,rel=2)@5", "once each, got 'rel=2'"),
        ("nDCG(rel=2)@5", "has no rel"),
        ("nDCG(dcg=log3)@5", "must be 'log2' or 'exp-log2', got 'log3'"),
        ("P(dcg=exp-log2)@5", "dcg is an option of nDCG"),
        ("nDCG@10@5", "is written like nDCG@10"),
        ("", "is written like nDCG@10"),
    ],
)
def test_errors_say_rule_value_and_remedy(text: str, message: str) -> None:
    with pytest.raises(CascadeError, match=message):
        parse_measure(text)


def test_no_measure_is_refused() -> None:
    with pytest.raises(CascadeError, match="at least one measure"):
        parse_measures([])

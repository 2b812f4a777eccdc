"""The notation of connectivity, and segments by hand."""

import copy
import json
import pickle

import pytest

from slicing import Connectivity, SlicingError, convert
from slicing.connectivity import firsts_of, joined, segments
from slicing.models import small_cnn

RATES = (0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("nested", "nested"),
        ("dense", "dense"),
        ("mixed@0.50+1.0", "mixed@0.5+1"),
        ("mixed@1,a.0=trunk,a=dense", "mixed@1,a.0=trunk,a=dense"),
        ("nested,a=dense,trunk=02", "nested,trunk=2,a=dense"),
    ],
)
def test_a_connectivity_is_its_text_in_one_spelling(text, same):
    ours = Connectivity(text)
    assert ours == same == str(ours)
    assert Connectivity(ours) is ours
    assert json.loads(json.dumps(ours)) == same
    for again in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert (again, again.rule, again.layers, again.trunk) == (ours, ours.rule, ours.layers, ours.trunk)


def test_the_number_of_first_layers_is_spelled_out_as_their_names():
    layers = ["a.0", "a.1", "b", "c"]
    plain = Connectivity("mixed@1,c=dense")
    assert plain.spelled_out(layers) is plain
    assert Connectivity("mixed@1,trunk=2,c=dense").spelled_out(layers) == "mixed@1,a.0=trunk,a.1=trunk,c=dense"
    assert Connectivity("nested,trunk=3,b=nested").spelled_out(layers) == "nested,a.0=trunk,a.1=trunk,b=nested"
    named = Connectivity("nested,trunk=dense").spelled_out(["trunk.0", "b"])  # a module of that name
    assert (named, named.trunk) == ("nested,trunk=dense", 0)
    with pytest.raises(SlicingError, match=r"first 5 layers trunk, but there are 4: a\.0, a\.1, b, c; give"):
        Connectivity("nested,trunk=5").spelled_out(layers)
    with pytest.raises(SlicingError, match="rule for 'd', which is none of the layers it could hold for: a"):
        Connectivity("nested,d=trunk").spelled_out(layers)


def test_a_network_says_which_layers_are_its_trunk():
    plain = small_cnn(width=0.25)
    network = convert(plain, RATES, "mixed@1,trunk=2")
    assert network.connectivity == convert(plain, RATES, "mixed@1,0=trunk,3=trunk").connectivity
    assert network.connectivity == "mixed@1,0=trunk,3=trunk"
    widths = [network.layouts[name].widths[0] for name in ("0", "3", "7")]
    assert widths == [16, 16, 8]


def test_the_longest_name_that_holds_a_layer_gives_its_rule():
    ours = Connectivity("nested,a=dense,a.b=trunk,a.b.c=mixed@1")
    rules = {name: ours.rule_of(name) for name in ("a", "a.x", "a.b", "a.b.x", "a.b.c", "ab", "x.a")}
    assert rules == {
        "a": "dense",
        "a.x": "dense",
        "a.b": "trunk",
        "a.b.x": "trunk",
        "a.b.c": "mixed@1",
        "ab": "nested",
        "x.a": "nested",
    }


@pytest.mark.parametrize(
    ("text", "firsts"),
    [
        ("nested", (0, 0, 0, 0)),
        ("trunk", (0, 0, 0, 0)),
        ("dense", (0, 1, 2, 3)),
        ("mixed@1", (0, 0, 0, 3)),
        ("mixed@0.5", (0, 1, 1, 1)),
        ("mixed@0.5+1", (0, 1, 1, 3)),
    ],
)
def test_segments_by_hand(text, firsts):
    assert firsts_of(text, RATES) == firsts


def test_what_reads_several_begins_anew_where_one_of_them_does():
    assert joined([(0, 0, 0, 3), (0, 1, 1, 1)]) == (0, 1, 1, 3)


@pytest.mark.parametrize(
    ("positions", "groups"),
    [([0, 1, 2, 3], [[0], [1, 2], [3]]), ([0, 2], [[0], [2]]), ([1], [[1]]), ([2, 3], [[2], [3]])],
)
def test_positions_in_groups_of_a_segment(positions, groups):
    assert list(segments((0, 1, 1, 3), positions)) == groups


@pytest.mark.parametrize(
    ("recomputes", "text"),
    [(False, "nested"), (False, "nested,a=trunk"), (True, "dense"), (True, "mixed@1"), (True, "nested,a=dense")],
)
def test_whether_a_fan_in_changes_with_the_rate(recomputes, text):
    assert Connectivity(text).recomputes is recomputes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparse", "'sparse' is unknown"),
        ("trunk", "'trunk' is unknown"),
        ("", "'' is unknown"),
        ("mixed", "'mixed' is unknown"),
        ("mixed@", "must begin at rates"),
        ("mixed@wide", "must begin at rates"),
        ("mixed@1+0.5", "rising rates"),
        ("mixed@0.5+0.5", "rising rates"),
        ("mixed@0", "rising rates"),
        ("mixed@nan", "rising rates"),
        ("nested,a", "must be written name=rule"),
        ("nested,=dense", "must be written name=rule"),
        ("nested,a=sparse", "'sparse' is unknown, in 'nested,a=sparse'"),
        ("nested,a=dense,a=trunk", "names the layer 'a' twice"),
        ("nested,trunk=0", "trunk must be given once, as a number of at least 1"),
        ("nested,trunk=1,trunk=2", "trunk must be given once"),
        (None, "must be a text"),
        (["nested"], "must be a text"),
    ],
)
def test_what_is_no_connectivity_is_refused_in_one_line(text, message):
    with pytest.raises(SlicingError, match=message) as caught:
        Connectivity(text)
    assert "\n" not in str(caught.value)

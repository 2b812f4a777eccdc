import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.restricted_pickle import read_pickled_dict


class WritesAFile:
    """What a hostile pickle looks like: unpickling it calls a function of its choice."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


class RunsACommand:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch '{self.path}'",))


@pytest.mark.parametrize("hostile", [WritesAFile, RunsACommand])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, hostile, protocol):
    trace, path = tmp_path / "trace", tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": hostile(trace)}, protocol=protocol))
    with pytest.raises(DataError, match=r"asks for .*it may be hostile"):
        read_pickled_dict(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())  # the attack is real: plain unpickling runs it
    assert trace.exists()


@pytest.mark.parametrize(
    "name",
    [b"builtins\neval", b"numpy\nload", b"numpy\nfromfile", b"numpy.core.multiarray\nscalar", b"os\nsystem"],
)
def test_other_globals_are_refused(tmp_path, name):
    path = tmp_path / "batch"
    path.write_bytes(b"\x80\x02c" + name + b"\n.")
    with pytest.raises(DataError, match="asks for " + name.decode().replace("\n", ".")):
        read_pickled_dict(path)


def test_a_pickle_cannot_alter_the_stand_ins(tmp_path, writers):
    path = tmp_path / "batch"
    # BUILD on the global itself, with a state that would set attributes
    path.write_bytes(b"\x80\x02cnumpy\ndtype\nN}X\x05\0\0\0_nameX\x06\0\0\0encodes\x86b.")
    with pytest.raises(DataError, match="attribute '_name' of a global set"):
        read_pickled_dict(path)
    path.write_bytes(writers["python2_batch"](np.zeros((2, 3072), np.uint8), [0, 1]))
    assert read_pickled_dict(path)["labels"] == [0, 1]


def test_reads_what_python_2_wrote(tmp_path, rng, writers):
    pixels = rng.integers(0, 256, (300, 3072), np.uint8)
    labels = rng.integers(0, 10, 300).tolist()
    path = tmp_path / "batch"
    path.write_bytes(writers["python2_batch"](pixels, labels))
    plain = pickle.loads(path.read_bytes().replace(b"numpy.core.", b"numpy._core."), encoding="bytes")
    batch = read_pickled_dict(path)
    assert batch["labels"] == labels == plain[b"labels"]
    assert batch["data"].dtype == np.uint8
    assert batch["data"].flags.writeable
    assert np.array_equal(batch["data"], pixels)
    assert np.array_equal(plain[b"data"], pixels)  # the writer writes true pickles


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_reads_what_python_3_writes(tmp_path, rng, protocol):
    pixels = rng.integers(0, 256, (4, 3072), np.uint8)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": pixels, "labels": [1, 2, 3, 4]}, protocol=protocol))
    assert np.array_equal(read_pickled_dict(path)["data"], pixels)


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.float32), np.zeros((3, 2), np.uint8).T, np.array([{}])])
def test_other_arrays_are_refused(tmp_path, array):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": array}, protocol=4))
    with pytest.raises(DataError, match="must be uint8 in C order"):
        read_pickled_dict(path)


def test_an_array_whose_shape_lies_is_refused(tmp_path, writers):
    path = tmp_path / "batch"
    content = writers["python2_batch"](np.zeros((2, 3072), np.uint8), [0, 1])
    path.write_bytes(content.replace(b"(K\x01K\x02J\x00\x0c", b"(K\x01K\x7fJ\x00\x0c"))
    with pytest.raises(DataError, match="shape and bytes disagree"):
        read_pickled_dict(path)


def test_no_dictionary_is_refused(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(DataError, match="must hold a dictionary, got list"):
        read_pickled_dict(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_ends_in_a_data_error_or_in_a_dictionary(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged"
    good = pickle.dumps({"data": np.zeros((2, 8), np.uint8), "labels": [0, 1]}, protocol=2)
    if data.draw(st.booleans()):
        bad = good[: data.draw(st.integers(0, len(good) - 1))]
    else:
        place = data.draw(st.integers(0, len(good) - 1))
        bad = good[:place] + bytes([data.draw(st.integers(0, 255))]) + good[place + 1 :]
    path.write_bytes(bad)
    message = None
    try:
        assert isinstance(read_pickled_dict(path), dict)
    except DataError as error:
        message = str(error)
    if len(bad) < len(good):
        assert message is not None  # no truncation goes unnoticed
    if message is not None:
        assert str(path) in message
        assert "\n" not in message

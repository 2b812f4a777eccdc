"""Files are written whole or not at all, and damage is noticed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from slicing.errors import SlicingError
from slicing.files import (
    _digest,
    atomic_path,
    check_writable,
    load_tensors,
    refuse_overwriting,
    save_tensors,
    stored_kind,
)

TENSORS = {
    "matrix": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "scalar": torch.tensor(7),
    "empty": torch.empty(0, 3),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "mask": torch.tensor([True, False]),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(tmp_path) == ["report.json"]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_the_old_file_alone(tmp_path: Path, interruption: type[BaseException]) -> None:
    target = tmp_path / "report.json"
    target.write_text("old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise interruption

    with pytest.raises(interruption):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["report.json"]


def test_a_file_written_this_way_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("output", ["in.csv", "sub/../in.csv", "soft.csv", "hard.csv", "away/in.csv", ".", "away"])
def test_an_input_is_an_input_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("mine")
    Path("sub").mkdir()
    Path("soft.csv").symlink_to("in.csv")
    Path("hard.csv").hardlink_to("in.csv")
    Path("away").symlink_to(tmp_path)
    with pytest.raises(SlicingError, match=r"would overwrite in\.csv, which this command reads; name another"):
        refuse_overwriting(["other.csv", output], ["gone.csv", "in.csv"])


def test_files_apart_from_the_inputs_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sub").mkdir()
    for name in ("in.csv", "old.csv", "sub/in.csv"):
        Path(name).write_text("the same")
    refuse_overwriting(["old.csv", "new.csv", "sub", "sub/in.csv"], ["in.csv", "gone.csv"])


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SlicingError, match="No space left on device"), atomic_path(tmp_path / "a"):
        raise OSError(28, "No space left on device")


def test_errors_on_other_files_inside_the_block_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a"):
        (tmp_path / "missing").read_text()


def test_places_where_no_file_can_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SlicingError, match="it is a folder"):
        check_writable(tmp_path)
    with pytest.raises(SlicingError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "a")
    with pytest.raises(SlicingError, match="there is no folder"):
        check_writable(tmp_path / "file" / "a")


def test_an_unwritable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # permissions do not bind every user
    with pytest.raises(SlicingError, match="is not writable"):
        check_writable(tmp_path / "a")


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    metadata = {"loss": 0.1 + 0.2, "names": ["a", None]}
    save_tensors(tmp_path / "a", TENSORS, metadata, "thing")
    tensors, found = load_tensors(tmp_path / "a", "thing")
    assert found == metadata
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    metadata = {"notes": {str(i): i for i in range(20)}}
    for number in range(8):  # the order that safetensors gives several keys is another in each call
        save_tensors(tmp_path / f"{number}", TENSORS, metadata, "thing")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    _, found = load_tensors(tmp_path / "0", "thing")
    assert list(found["notes"]) == list(metadata["notes"])  # an order that means something, such as of columns


def test_files_of_the_earlier_layout_are_read(tmp_path: Path) -> None:
    save_tensors(tmp_path / "new", TENSORS, {"epoch": 3}, "thing")
    with safe_open(tmp_path / "new", framework="pt") as file:
        entries = json.loads(file.metadata()["slicerank"])
    save_file(TENSORS, tmp_path / "old", entries)
    tensors, metadata = load_tensors(tmp_path / "old", "thing")
    assert metadata == {"epoch": 3}
    assert tensors.keys() == TENSORS.keys()
    assert stored_kind(tmp_path / "old") == stored_kind(tmp_path / "new") == "thing"
    save_file(TENSORS, tmp_path / "forged", {"slicerank": "[1]"})
    with pytest.raises(SlicingError, match="made elsewhere"):
        load_tensors(tmp_path / "forged", "thing")


def test_views_and_shared_memory_are_stored_whole(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    save_tensors(tmp_path / "a", {"base": base, "same": base, "view": base.T, "slice": base[:, 1:3]}, {}, "thing")
    tensors, _ = load_tensors(tmp_path / "a", "thing")
    assert torch.equal(tensors["same"], base)
    assert torch.equal(tensors["view"], base.T)
    assert torch.equal(tensors["slice"], base[:, 1:3])


def test_damage_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    save_tensors(path, TENSORS, {"epoch": 3}, "thing")
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(SlicingError):
            load_tensors(path, "thing")
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(SlicingError):
            load_tensors(path, "thing")


def test_missing_foreign_and_wrong_files_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(SlicingError, match="no such file"):
        load_tensors(path, "thing")
    path.write_text("not a tensor file")
    with pytest.raises(SlicingError, match="not a readable thing"):
        load_tensors(path, "thing")
    save_file({"w": torch.zeros(1)}, path)
    with pytest.raises(SlicingError, match="made elsewhere"):
        load_tensors(path, "thing")
    save_tensors(path, {}, {}, "other")
    with pytest.raises(SlicingError, match="not a thing but 'other'"):
        load_tensors(path, "thing")


def test_metadata_that_json_cannot_hold_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        save_tensors(tmp_path / "a", {}, {"loss": float("nan")}, "thing")
    assert names(tmp_path) == []


def test_forged_metadata_are_refused(tmp_path: Path) -> None:
    deep = "[" * 100_000
    header = {"kind": "thing", "metadata": deep, "digest": _digest({}, deep)}
    for forged, said in (({"slicerank": json.dumps(header)}, "not JSON"), ({"slicerank": deep}, "made elsewhere")):
        save_file({}, tmp_path / "a", forged)
        with pytest.raises(SlicingError, match=said):
            load_tensors(tmp_path / "a", "thing")

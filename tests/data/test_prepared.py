import json

import polars as pl
import pytest

from data import DataError, Roles, load_prepared, synthetic, write_prepared


def fold(first=0, **change):
    parts = ("train", "validation", "test")
    return {
        part: [synthetic(3, 4, 2, first_query=first + 10 * number).with_columns(user=pl.col("qid") % 5, **change)]
        for number, part in enumerate(parts)
    }


ROLES = Roles(["f1", "f2"], ["user"], None, ["user"])


def test_what_is_written_is_loaded(tmp_path):
    written = write_prepared(tmp_path / "out", "made up", [fold(), fold(100)], ROLES, {"how": "so"})
    loaded = load_prepared(tmp_path / "out")
    assert loaded == written
    assert (loaded.name, len(loaded.folds)) == ("made up", 2)
    assert loaded.meta["made"] == {"how": "so"}
    assert loaded.meta["columns"]["constant_in_query"] == ["user"]
    table = loaded.open(loaded.folds[1].validation)
    assert table.schema.numeric == ("f1", "f2")
    assert table.schema.categorical == ("user",)
    assert table.rows == loaded.meta["folds"][1]["validation"]["rows"] == 12
    again = write_prepared(tmp_path / "out", "made up", [fold()], ROLES, {})
    assert again.meta["fingerprint"] != written.meta["fingerprint"]
    assert len(load_prepared(tmp_path / "out").folds) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match=r"it holds other files and no meta\.json"):
        write_prepared(tmp_path, "x", [fold()], ROLES, {})
    with pytest.raises(DataError, match="it is a file"):
        write_prepared(tmp_path / "mine.txt", "x", [fold()], ROLES, {})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("folds", "roles", "message"),
    [
        ([], ROLES, "at least one fold"),
        ([fold()], Roles(["f1"], [], None, ["f1"]), "'f1' was said to be constant in a query, it is not in 0"),
        ([fold()], Roles(["f9"]), "unable to find column 'f9'"),
        ([fold(f1=pl.lit(float("inf")))], ROLES, "feature 'f1' must be finite"),
    ],
)
def test_a_bad_set_is_not_written(tmp_path, folds, roles, message):
    with pytest.raises(DataError, match=message):
        write_prepared(tmp_path / "out", "x", folds, roles, {})
    assert list(tmp_path.iterdir()) == []


def test_damaged_sets(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"is no prepared data set, it has no meta\.json"):
        load_prepared(out)
    prepared = write_prepared(out, "x", [fold()], ROLES, {})
    prepared.folds[0].test.unlink()
    with pytest.raises(DataError, match=r"there is no file .*test\.parquet"):
        load_prepared(out)
    (out / "meta.json").write_text(json.dumps(prepared.meta | {"schema": 2}))
    with pytest.raises(DataError, match="must have schema 1"):
        load_prepared(out)
    for text in ("{", "[]", "{}"):
        (out / "meta.json").write_text(text)
        with pytest.raises(DataError, match="is damaged"):
            load_prepared(out)

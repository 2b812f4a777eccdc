import polars as pl
import pytest

from data import DataError, load_prepared, prepare_letor, prepare_mq2008, scan_candidates


def lines(qid, width=3):
    return "".join(f"{label} qid:{qid} {width}:{label + qid / 100} #docid = d{label}\n" for label in range(3))


def test_official_folds_go_in_a_circle(tmp_path):
    for number in range(1, 6):
        (tmp_path / f"S{number}.txt").write_text(lines(number) + lines(number + 10))
    prepared = prepare_mq2008(tmp_path, tmp_path / "out")
    assert (prepared.name, len(prepared.folds)) == ("mq2008", 5)
    expected = [((1, 2, 3), 4, 5), ((2, 3, 4), 5, 1), ((3, 4, 5), 1, 2), ((4, 5, 1), 2, 3), ((5, 1, 2), 3, 4)]
    for fold, (train, validation, test) in zip(prepared.folds, expected, strict=True):
        assert prepared.open(fold.train).read()["qid"].unique().sort().to_list() == sorted(
            [*train, *(each + 10 for each in train)]
        )
        assert set(prepared.open(fold.validation).read()["qid"]) == {validation, validation + 10}
        assert set(prepared.open(fold.test).read()["qid"]) == {test, test + 10}
    frame = prepared.open(prepared.folds[0].test).read()
    assert frame.rows()[:2] == [(5, "d0", 0, 0, 0, pytest.approx(0.05)), (5, "d1", 1, 0, 0, pytest.approx(1.05))]
    (tmp_path / "S4.txt").unlink()
    with pytest.raises(DataError, match=r"S4\.txt is missing"):
        prepare_mq2008(tmp_path, tmp_path / "out")


def test_numbered_folders_and_equal_widths(tmp_path):
    for number in (10, 2, 1):
        place = tmp_path / "collection" / f"Fold{number}"
        place.mkdir(parents=True)
        for name, width in (("train.txt", 2), ("vali.txt", 5), ("test.txt", number % 10 + 1)):
            (place / name).write_text(lines(number, width))
    prepared = prepare_letor(tmp_path / "collection", tmp_path / "out")
    assert prepared.name == "collection"
    assert prepared.meta["columns"]["numeric"] == ["f1", "f2", "f3", "f4", "f5"]
    assert [prepared.open(fold.test).read()["qid"][0] for fold in prepared.folds] == [1, 2, 10]
    schemas = {tuple(pl.read_parquet_schema(path)) for fold in prepared.folds for path in (fold.train, fold.test)}
    assert schemas == {("qid", "docid", "label", "f1", "f2", "f3", "f4", "f5")}
    part = prepared.meta["folds"][0]["train"]
    assert (part["rows"], part["queries"], part["relevant"], part["queries_with_relevant"]) == (3, 1, 2, 1)
    assert part["fingerprint"] == scan_candidates(prepared.folds[0].train).fingerprint()


def test_three_files_with_groups(tmp_path):
    files, groups = {}, {}
    for part in ("train", "validation", "test"):
        files[part] = tmp_path / f"{part}.svm"
        groups[part] = tmp_path / f"{part}.query"
        files[part].write_text("1 1:1\n0 2:1\n1 1:2\n")
        groups[part].write_text("2\n1\n")
    prepared = prepare_letor(files, tmp_path / "out", name="x", groups=groups)
    assert prepared.open(prepared.folds[0].test).read().rows() == [(0, 0, 1, 1, 0), (0, 1, 0, 0, 1), (1, 2, 1, 2, 0)]
    with pytest.raises(DataError, match="three files are wanted"):
        prepare_letor({"train": files["train"]}, tmp_path / "out")
    with pytest.raises(DataError, match="got a folder"):
        prepare_letor(tmp_path, tmp_path / "out", groups=groups)


def test_a_bad_line_leaves_the_earlier_result(tmp_path):
    for name in ("train.txt", "vali.txt", "test.txt"):
        (tmp_path / name).write_text(lines(1))
    before = prepare_letor(tmp_path, tmp_path / "out").meta
    (tmp_path / "test.txt").write_text(lines(1) + "bad\n")
    with pytest.raises(DataError, match=r"test\.txt, line 4"):
        prepare_letor(tmp_path, tmp_path / "out")
    (tmp_path / "test.txt").write_text(lines(1) + lines(1))  # duplicates come to light while writing
    with pytest.raises(DataError, match="more than once"):
        prepare_letor(tmp_path, tmp_path / "out")
    assert load_prepared(tmp_path / "out").meta == before
    assert {path.name for path in tmp_path.iterdir()} == {"train.txt", "vali.txt", "test.txt", "out"}


def test_no_layout(tmp_path):
    with pytest.raises(DataError, match=r"must hold train\.txt"):
        prepare_letor(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="there is no folder"):
        prepare_letor(tmp_path / "no", tmp_path / "out")


@pytest.mark.slow
def test_true_mq2008(shared_data, tmp_path):
    prepared = prepare_mq2008(shared_data / "mq2008", tmp_path / "out")
    assert len(prepared.meta["columns"]["numeric"]) == 46
    parts = [fold["test"] for fold in prepared.meta["folds"]]
    assert sum(part["rows"] for part in parts) == 15_211
    assert sum(part["queries"] for part in parts) == 784
    assert sum(part["queries_with_relevant"] for part in parts) == 564

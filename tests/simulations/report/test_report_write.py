"""`write_report` and `check_out`: which files, what is in them, and that none is left half-written."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from simulations.report import ReportError, check_out, machine, validate_report, versions, write_report
from simulations.report.tables import inclusion_csv, stages_csv

WEIRD = [
    "<script>alert(1)</script>",
    "$x_1^{$",
    "../../outside",
    "\N{CJK UNIFIED IDEOGRAPH-4E2D}\N{CJK UNIFIED IDEOGRAPH-6587}",
    "[red]a[/red]\n{{ 7 * 7 }}",
    "n" * 300,
]


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_files(report: dict[str, Any], page_html: str, tmp_path: Path) -> None:
    written = write_report(report, tmp_path / "new" / "out")
    assert [p.name for p in written] == [
        "report.json",
        "report.html",
        "stages.csv",
        "inclusion.csv",
        "inclusion-paper-sliced-nested.png",
        "inclusion-paper-sliced-dense.png",
        "inclusion-paper-separate.png",
    ]
    assert sorted(p.name for p in (tmp_path / "new" / "out").iterdir()) == sorted(p.name for p in written)
    assert json.loads(written[0].read_text()) == report
    assert written[1].read_text() == page_html  # the same report gives the same page
    assert len(_rows(written[2].read_text())) == 2 * 3 * 6
    assert len(_rows(written[3].read_text())) == 3 * (6 * 7 // 2)
    for path in written[4:]:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50


def test_stages_csv_has_every_stage_unrounded(report: dict[str, Any]) -> None:
    rows = _rows(stages_csv(validate_report(report)))
    assert len(rows) == 2 * 3 * 6
    last = report["protocols"]["retrieval"]["systems"][0]["stages"][5]
    found = next(r for r in rows if (r["protocol"], r["system"], r["stage"]) == ("retrieval", "sliced-nested", "6"))
    for field in ("rate", "flops", "flops_increment", "precision", "recall", "aggregate_recall", "seconds"):
        assert float(found[field]) == last[field]
    for field in ("params", "candidates_in", "candidates_out"):
        assert int(found[field]) == last[field]
    assert found["mode"] == "reuse"


def test_inclusion_csv_names_narrow_and_wide(report: dict[str, Any]) -> None:
    report["protocols"]["paper"]["systems"][0]["inclusion"]["matrix"][1][4] = None
    report["protocols"]["paper"]["systems"][0]["inclusion"]["matrix"][4][1] = None
    rows = _rows(inclusion_csv(validate_report(report)))
    assert len(rows) == 3 * (6 * 7 // 2)  # retrieval has none
    assert all(float(r["narrower_rate"]) <= float(r["wider_rate"]) for r in rows)
    cells = {(r["system"], r["narrower_rate"], r["wider_rate"]): r["inclusion"] for r in rows}
    assert cells["sliced-nested", "0.5", "0.875"] == ""
    assert float(cells["separate", "0.375", "1.0"]) == 0.575


@pytest.mark.parametrize("name", WEIRD)
def test_any_name_can_be_written(smallest_report: Callable[..., dict[str, Any]], tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    written = write_report(smallest_report(name), out)
    assert all(p.parent == out and p.exists() for p in written)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_names_that_make_the_same_file_name_get_files_of_their_own(
    smallest_report: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    report = smallest_report()
    only = report["protocols"]["ranking"]["systems"][0]
    report["protocols"]["ranking"]["systems"] = [only | {"name": n} for n in ("a b", "A-b", "c")]
    names = [p.name for p in write_report(report, tmp_path)[4:]]
    assert names == ["inclusion-ranking-a-b.png", "inclusion-ranking-a-b-2.png", "inclusion-ranking-c.png"]


def test_a_bad_report_leaves_the_folder_as_it_was(
    smallest_report: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    report = smallest_report()
    write_report(report, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    del report["seed"]
    with pytest.raises(ReportError, match="seed"):
        write_report(report, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_failed_write_keeps_the_old_file_and_no_temporary(
    smallest_report: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = smallest_report()
    write_report(report, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ReportError, match="No space left on device"):
        write_report(report | {"seed": 7}, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_file_in_the_place_of_the_folder_is_refused(
    smallest_report: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for out in (taken, taken / "below"):
        with pytest.raises(ReportError, match=r"writable folder, got .*taken.*--out"):
            check_out(out)
        with pytest.raises(ReportError, match="--out"):
            write_report(smallest_report(), out)
    assert taken.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ReportError, match="writable folder"):
        check_out(tmp_path)


def test_check_out_refuses_an_impossible_name() -> None:
    with pytest.raises(ReportError, match="writable folder"):
        check_out(Path("a\0b"))


def test_check_out_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b")
    check_out(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_versions_and_machine_fit_the_contract(report: dict[str, Any]) -> None:
    report["versions"], report["machine"] = versions(), machine()
    assert {"python", "torch", "numpy", "polars", "slicerank"} <= set(report["versions"])
    assert report["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["threads"] >= 1
    assert os.uname().nodename not in json.dumps(report["machine"]).split('"')
    validate_report(report)


def test_importing_the_package_leaves_matplotlib_and_torch_alone() -> None:
    code = "import sys, simulations.report; print({'matplotlib', 'torch', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

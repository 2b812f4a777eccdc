"""Everything that a measuring command leaves in its `--out` folder, each file whole or not at all."""

import json
import os
import re
import tempfile
from pathlib import Path

from simulations.report import summary
from simulations.report.curve_image import curve_png
from simulations.report.drawings import colours
from simulations.report.errors import ReportError
from simulations.report.heatmap import heatmap_png
from simulations.report.page import render_page
from simulations.report.schema import Report, validate_report
from simulations.report.tables import inclusion_csv, stages_csv


def check_out(out: Path) -> None:
    """Make the folder and prove that it can be written to; to be called before long work.

    Raises `ReportError` where `out` is a file, can't be made or takes no file.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out, prefix=".check-"):
            pass
    except (OSError, ValueError) as error:
        raise _unwritable(out, error) from error


def write_report(report: object, out: Path) -> list[Path]:
    """Write report.json, report.html, where there are systems stages.csv, inclusion.csv and a PNG per inclusion
    matrix, and a PNG per curve into `out`.

    Returns the files' paths in that order. All of them are made in memory first, so a report that breaks the
    contract (`ReportError`, naming the field) leaves the folder as it was; each file replaces its predecessor
    in one step.
    """
    checked = validate_report(report)
    contents: dict[str, bytes] = {
        "report.json": (json.dumps(checked, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        "report.html": render_page(checked).encode(),
    }
    if any(protocol["systems"] for protocol in checked["protocols"].values()):
        contents |= {"stages.csv": stages_csv(checked).encode(), "inclusion.csv": inclusion_csv(checked).encode()}
    contents |= _heatmaps(checked)
    contents |= _curves(checked)
    check_out(out)
    return [_replace(out / name, content) for name, content in contents.items()]


def _heatmaps(report: Report) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, protocol in report["protocols"].items():
        for system in protocol["systems"]:
            if system["inclusion"] is None:
                continue
            stem = f"inclusion-{_slug(name)}-{_slug(system['name'])}"
            file, again = f"{stem}.png", 1
            while file in files:
                again += 1
                file = f"{stem}-{again}.png"
            files[file] = heatmap_png(system["inclusion"], f"{system['name']} · {summary.protocol_title(name)}")
    return files


def _curves(report: Report) -> dict[str, bytes]:
    colour = colours(list(report["protocols"].values()))
    return {
        f"curve-{_slug(name)}-{_slug(curve['title'])}.png": curve_png(curve, colour)
        for name, protocol in report["protocols"].items()
        for curve in protocol.get("curves", [])
    }


def _slug(name: str) -> str:
    """Letters, digits and hyphens of a name, so that no name reaches outside the folder."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "unnamed"


def _replace(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _unwritable(path: Path, error: Exception) -> ReportError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return ReportError(
        f"the report must go into a writable folder, got {str(path)!r} ({reason}); name another with --out"
    )

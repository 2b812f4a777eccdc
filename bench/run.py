"""All the benchmarks, a table of them, and bench.json."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench import engine, networks, planner, query_side, ranking_metrics, table_run
from slicing import SlicingError
from slicing.files import atomic_path

CASES: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "cnn-keep-all": (networks.cnn_keep_all, 5),
    "cnn-narrow": (networks.cnn_narrow, 11),
    "mlp-funnel": (networks.mlp_funnel, 21),
    "mlp-keep-all": (networks.mlp_keep_all, 11),
    "train-step": (networks.train_step, 5),
    "engine-overhead": (engine.engine_overhead, 7),
    "planner": (planner.planner_search, 3),
    "metrics-10m": (ranking_metrics.metrics_10m, 3),
    "run-1m": (table_run.run_1m, 3),
    "query-side": (query_side.query_side, 7),
}


def run(out: Path, names: Sequence[str] = (), threads: int | None = None) -> list[dict[str, Any]]:
    """Run the named cases, or all of them, print a line each and write ``out/bench.json``.

    Args:
        out: folder to write.
        names: cases; none means all.
        threads: of torch, for both sides; None leaves torch's own choice.

    Raises:
        SlicingError: for a case that does not exist, or a folder that can't be written.
    """
    unknown = set(names) - set(CASES)
    if unknown:
        raise SlicingError(f"unknown case {sorted(unknown)[0]!r}; cases: {', '.join(CASES)}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SlicingError(f"can't write to {out}: {error.strerror}; name another folder") from error
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(0)
    console, results = Console(), []
    for name, (case, repeats) in CASES.items():
        if names and name not in names:
            continue
        with console.status(f"timing {name}"):
            results.append({**case(repeats), "threads": torch.get_num_threads()})
    with atomic_path(out / "bench.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1))
    console.print(_table(results))
    for entry in results:
        if "note" in entry:
            console.print(f"{entry['case']}: {entry['note']}")
    console.print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, medians; {out / 'bench.json'}")
    return results


def _table(results: Sequence[dict[str, Any]]) -> Table:
    table = Table("case", *(("ours (s)"), "rival (s)", "ratio", "FLOPs ratio"))
    for column in table.columns[1:]:
        column.justify = "right"
    for entry in results:
        flops = entry["flops_ratio"]
        table.add_row(
            entry["case"],
            f"{entry['ours_seconds']:.3f}",
            f"{entry['rival_seconds']:.3f}",
            f"{entry['ratio']:.3f}",
            "" if flops is None else f"{flops:.3f}",
        )
    return table

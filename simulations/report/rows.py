"""Rows of the page's tables, every number already written out."""

import math
from typing import Any

from simulations.paper import PaperFigures, PaperSystem
from simulations.report import figures, heatmap, summary
from simulations.report.schema import Inclusion, Protocol, Stage, System

STAGE_COLUMNS = [
    "rate",
    "params (M)",
    "FLOPs (M)",
    "increment (M)",
    "precision",
    "recall",
    "aggregate recall",
    "lost here",
    "in → out",
    "time",
    "mode",
]


def compared(system: System, name: str, one_pass: float, colour: dict[str, int]) -> dict[str, Any]:
    """A system's row in the comparison: what it keeps, holds and costs."""
    last = system["stages"][-1]
    return {
        "name": system["name"],
        "colour": colour[system["name"]],
        "share": figures.percent(last["aggregate_recall"]),
        "width": 100 * (last["aggregate_recall"] or 0.0),
        "count": figures.whole(summary.kept(last, name)),
        "of": figures.whole(summary.relevant(system, name)),
        "params": figures.large(system["params_held"]),
        "total": _amount(system, system["flops_total"]),
        "per_item": _amount(system, system["flops_per_kept_item"]),
        "passes": figures.times(summary.passes(system, one_pass)),
        "seconds": figures.seconds(system["seconds_total"]),
    }


def _amount(system: System, value: float | None) -> str:
    """A cost, with its unit where it is not FLOPs."""
    unit = system.get("cost_unit")
    return figures.large(value) if unit is None or value is None else f"{figures.large(value)} {unit}"


def printed_totals(paper: PaperFigures | None) -> list[dict[str, str]]:
    """The paper's rows in the comparison."""
    if paper is None:
        return []
    return [
        {
            "name": printed["name"],
            "share": figures.percent(printed["kept"][-1] / paper["items"]),
            "count": figures.whole(printed["kept"][-1]),
            "of": figures.whole(paper["items"]),
            "params": f"{printed['params_held_m']:.2f} M",
            "per_item": f"{printed['flops_per_kept_item_m']:.2f} M",
            "passes": figures.times(printed["flops_per_kept_item_m"] / paper["flops_m"][-1]),
        }
        for printed in paper["systems"]
    ]


def by_rate(protocol: Protocol, name: str, paper: PaperFigures | None, colour: dict[str, int]) -> dict[str, Any]:
    """The layout of the paper's Table 4: a column a rate, a group a system, the printed figures under ours.

    Columns are the rates of all systems and of the paper; a rate that a system uses at two stages has two.
    Stages without a rate follow, by their numbers.
    """
    stages = [_by_occurrence(system["stages"]) for system in protocol["systems"]]
    keys = sorted({key for mine in stages for key in mine} | {(r, 0) for r in (paper["rates"] if paper else [])})
    groups = []
    for system, mine in zip(protocol["systems"], stages, strict=True):
        row = [mine.get(key) for key in keys]
        printed = summary.beside(paper, system["name"])
        ours = {
            "params (M)": figures.millions([s and s["params"] for s in row]),
            f"{system.get('cost_unit', 'FLOPs')} (M)": figures.millions([s and s["flops"] for s in row]),
            "precision": [figures.percent(s and s["precision"], 2) for s in row],
            "aggregate recall": [figures.percent(s and s["aggregate_recall"], 2) for s in row],
            "items kept": [figures.whole(s and summary.kept(s, name)) for s in row],
        }
        theirs = _printed_by_rate(paper, printed, keys) if paper and printed else {}
        groups.append(
            {
                "name": system["name"],
                "colour": colour[system["name"]],
                "printed": printed["name"] if printed else None,
                "order": [keys.index(key) for key in mine],  # the system's own columns, first stage to last
                "rows": [
                    {"label": label, "ours": cells, "paper": theirs.get(label)}
                    for label, cells in ours.items()
                    if any(cell != figures.MISSING for cell in cells)
                ],
            }
        )
    return {
        "rates": [f"stage {n + 1}" if rate == math.inf else figures.rate(rate) for rate, n in keys],
        "groups": groups,
    }


def _by_occurrence(stages: list[Stage]) -> dict[tuple[float, int], Stage]:
    found: dict[tuple[float, int], Stage] = {}
    for index, stage in enumerate(stages):
        if stage["rate"] is None:
            found[math.inf, index] = stage
            continue
        again = sum(rate == stage["rate"] for rate, _ in found)
        found[stage["rate"], again] = stage
    return found


def _printed_by_rate(paper: PaperFigures, printed: PaperSystem, keys: list[tuple[float, int]]) -> dict[str, list[str]]:
    at = [summary.column_of(paper, rate) for rate, _ in keys]
    kept = [None if i is None else printed["kept"][i] for i in at]
    return {
        "params (M)": [figures.MISSING if i is None else f"{paper['params_m'][i]:.2f}" for i in at],
        "FLOPs (M)": [figures.MISSING if i is None else f"{paper['flops_m'][i]:.2f}" for i in at],
        "precision": [figures.percent(None if i is None else printed["precision"][i], 2) for i in at],
        "aggregate recall": [figures.percent(None if k is None else k / paper["items"], 2) for k in kept],
        "items kept": [figures.whole(k) for k in kept],
    }


def losses(protocol: Protocol, name: str, colour: dict[str, int]) -> dict[str, Any] | None:
    """Which stage dropped how many relevant items; None where no system has any to lose."""
    rows: list[dict[str, Any]] = []
    for system in protocol["systems"]:
        counts = summary.lost_counts(system, name)
        shares = summary.losses(system)
        known = [s for s in shares if s is not None]
        rows.append(
            {
                "name": system["name"],
                "colour": colour[system["name"]],
                "cells": [
                    {
                        "share": figures.percent(share, 2),
                        "count": figures.whole(count),
                        "tint": round(min(1.0, share * 8), 3) if share else 0,
                    }
                    for share, count in zip(shares, counts, strict=True)
                ],
                "total": figures.percent(sum(known) if known else None, 2),
            }
        )
    if all(row["total"] == figures.MISSING for row in rows):
        return None
    return {"rows": rows, "ticks": summary.stage_ticks(protocol)}


def per_stage(system: System, name: str, colour: dict[str, int]) -> dict[str, Any]:
    """A system's own table, a row a stage."""
    stages = system["stages"]
    params = figures.millions(s["params"] for s in stages)
    cost = [s["flops"] for s in stages] + [s["flops_increment"] for s in stages]
    flops = figures.millions(cost)
    lost, counts = summary.losses(system), summary.lost_counts(system, name)
    names = figures.stages([stage["rate"] for stage in stages])
    rows = []
    for k, stage in enumerate(stages):
        count = summary.kept(stage, name)
        rows.append(
            {
                "rate": names[k],
                "params": params[k],
                "flops": flops[k],
                "increment": flops[len(stages) + k],
                "precision": figures.percent(stage["precision"], 2),
                "recall": figures.percent(stage["recall"], 2),
                "aggregate": figures.percent(stage["aggregate_recall"], 2),
                "count": None if count is None else figures.whole(count),
                "lost": figures.percent(lost[k], 2) if counts[k] is None else figures.whole(counts[k]),
                "into": figures.whole(stage["candidates_in"]),
                "out": figures.whole(stage["candidates_out"]),
                "seconds": figures.seconds(stage["seconds"]),
                "mode": stage["mode"],
            }
        )
    return {
        "name": system["name"],
        "colour": colour[system["name"]],
        "note": system.get("note"),
        "precision": system.get("precision_definition"),
        "columns": STAGE_COLUMNS,
        "rows": rows,
        "seconds": figures.seconds(system["seconds_total"]),
    }


def heatmaps(protocol: Protocol, paper: PaperFigures | None) -> list[dict[str, Any]]:
    """Ours, then the paper's that stand beside them."""
    maps = [
        _heatmap(s["name"], s["inclusion"], printed=False) for s in protocol["systems"] if s["inclusion"] is not None
    ]
    beside = [summary.inclusion_beside(paper, s["name"]) for s in protocol["systems"]]
    for printed in paper["inclusion"] if paper else []:
        if printed in beside:
            maps.append(_heatmap(printed["name"], printed, printed=True))
    return maps


def _heatmap(name: str, inclusion: Any, printed: bool) -> dict[str, Any]:
    """Rows from the widest down, so that both axes rise away from the lower left corner."""
    matrix: Inclusion = inclusion
    rates = figures.stages(matrix["rates"])
    off = [v for i, row in enumerate(matrix["matrix"]) for v in row[:i] if v is not None]
    return {
        "name": name,
        "printed": printed,
        "rates": rates,
        "range": f"{min(off):.3f} to {max(off):.3f} between different widths" if off else "",
        "rows": [
            {
                "rate": rates[i],
                "cells": [
                    {"text": heatmap.cell(v), "back": heatmap.colour(v), "ink": heatmap.ink(v)}
                    for v in matrix["matrix"][i]
                ],
            }
            for i in reversed(range(len(rates)))
        ],
    }

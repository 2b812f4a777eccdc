"""The tables and drawings of `tradeoff`, and the sentence at their top."""

from typing import Any

from simulations import paper_images as paper
from simulations.baselines import Point
from simulations.elastic import Workbench, percent
from simulations.report.figures import MISSING, large

Systems = dict[str, list[Point]]


def headline(bench: Workbench, systems: Systems) -> str:
    """What is left of the residual network at the lower bound."""
    at = {(name, point.label): point.accuracy for name, points in systems.items() for point in points}
    rate, first = f"{paper.LOWER_BOUND:g}", bench.sizes.residual[0].name
    return (
        f"the residual network sliced to {rate} keeps {percent(at[f'{first} sliced', rate])}% accuracy, a nested one "
        f"{percent(at[f'{first} nested', rate])}%, a separate one of that width "
        f"{percent(at[f'{first} widths', rate])}%, one trained whole and sliced afterwards "
        f"{percent(at[f'{first} lb 1.0', rate])}%."
    )


def every_point(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """All there is, a row a point."""
    rows = [
        [name, point.label, large(point.flops), large(point.params), percent(point.accuracy)]
        for name, points in systems.items()
        for point in points
    ]
    return {
        "title": "Every network at every point",
        "text": f"{_said(bench)}. Sliced and nested are one network each, trained from rate "
        f"{paper.LOWER_BOUND:g} up; widths, depths, pruned and priced points are a network each; exits are one. "
        f"Slimming trains twice, with a penalty of {bench.sizes.sparsity:g} on scales.",
        "columns": ["system", "point", "FLOPs", "params", "accuracy (%)"],
        "rows": rows,
    }


def beside(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """Ours in the layout of Table 3."""
    chain = bench.sizes.chain
    ours = {"VGG-13-1.0": f"{chain} lb 1.0", "VGG-13-0.375": f"{chain} sliced", "VGG-13-fixed": f"{chain} widths"}
    rates = paper.RATES
    whole = max(systems[f"{chain} sliced"], key=lambda point: point.flops).flops
    spent = {float(point.label): f"{100 * point.flops / whole:.2f}" for point in systems[f"{chain} sliced"]}
    rows = [
        ["FLOPs (%)", *(spent[rate] for rate in rates)],
        ["  paper", *(f"{share:g}" for share in paper.COMPUTATION)],
    ]
    for name, system in ours.items():
        at = {float(point.label): percent(1 - point.accuracy) for point in systems[system]}
        rows.append([system, *(at.get(rate, MISSING) for rate in rates)])
        rows.append([f"  paper: {name}", *(f"{error:g}" for error in paper.ERROR[name])])
    return {
        "title": "Test error (%) by slice rate (Table 3)",
        "text": f"Ours: {_said(bench)}. The paper: {paper.SETTING}; compare the rows' shapes, not the numbers.",
        "columns": ["slice rate", *(f"{rate:g}" for rate in rates)],
        "rows": rows,
    }


def against_flops(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """Accuracy over multiply-adds."""
    return {
        "title": "Accuracy against FLOPs (Figures 2 and 6)",
        "text": f"{_said(bench)}; further left and higher is better.",
        "x": "million multiply-adds per image",
        "y": "test accuracy",
        "x_scale": "log",
        "series": [
            {"name": name, "x": [p.flops / 1e6 for p in sorted_], "y": [p.accuracy for p in sorted_]}
            for name, points in systems.items()
            for sorted_ in [sorted(points, key=lambda point: point.flops)]
        ],
    }


def against_rate(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """Error over slice rate, of what has rates."""
    by_rate = [name for name in systems if name.split()[-1] in ("sliced", "nested", "widths", "1.0")]
    return {
        "title": "Test error against slice rate (Figures 2 and 6)",
        "text": f"{_said(bench)}; lower is better.",
        "x": "slice rate",
        "y": "test error",
        "series": [
            {
                "name": name,
                "x": [float(point.label) for point in systems[name]],
                "y": [1 - point.accuracy for point in systems[name]],
            }
            for name in by_rate
        ],
    }


def _said(bench: Workbench) -> str:
    """The scale, which residual network is meant by its name alone, and whose epochs differ."""
    residual = bench.sizes.residual
    meant = [f"{each.name} is {each.title}" for each in residual if each.name != each.title.lower()]
    longer = [f"{each.title} trains {each.epochs} epochs" for each in residual if each.epochs is not None]
    return "; ".join([bench.scale_said(), *meant, *longer])

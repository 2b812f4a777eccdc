"""The tables and drawings of `tradeoff`, and the sentence at their top."""

from typing import Any

from simulations import paper_images as paper
from simulations.baselines import Point
from simulations.elastic import Workbench, percent
from simulations.report.figures import MISSING, large

Systems = dict[str, list[Point]]

# Our systems of the chain, and the paper's row of each.
_TABLE_3: dict[str, str | None] = {"lb 1.0": "VGG-13-1.0", "sliced": "VGG-13-0.375", "widths": "VGG-13-fixed"}
_TABLE_3_FOLDER: dict[str, str | None] = {"sliced": "VGG-16 top1", "nested": None, "lb 1.0": None, "widths": None}


def headline(bench: Workbench, systems: Systems) -> str:
    """What is left at the lower bound of the residual network, or of the chain where there is none."""
    at = {(name, point.label): point.accuracy for name, points in systems.items() for point in points}
    rate, residual, chain = f"{paper.LOWER_BOUND:g}", bench.sizes.residual, bench.sizes.chain
    name, called = (residual[0].name, "the residual network") if residual else (chain, chain)
    return (
        f"{called} sliced to {rate} keeps {percent(at[f'{name} sliced', rate])}% accuracy, a nested one "
        f"{percent(at[f'{name} nested', rate])}%, a separate one of that width "
        f"{percent(at[f'{name} widths', rate])}%, one trained whole and sliced afterwards "
        f"{percent(at[f'{name} lb 1.0', rate])}%."
    )


def every_point(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """All there is, a row a point; top-5 accuracy where it was measured."""
    top5 = any(point.top5 is not None for points in systems.values() for point in points)
    rows = [
        [name, point.label, large(point.flops), large(point.params), percent(point.accuracy)]
        + ([MISSING if point.top5 is None else percent(point.top5)] if top5 else [])
        for name, points in systems.items()
        for point in points
    ]
    rivals = (
        "widths, depths, pruned and priced points are a network each; exits are one. "
        f"Slimming trains twice, with a penalty of {bench.sizes.sparsity:g} on scales."
        if bench.sizes.residual
        else "widths are a network each."
    )
    return {
        "title": "Every network at every point",
        "text": f"{_said(bench)}. Sliced and nested are one network each, trained from rate {paper.LOWER_BOUND:g} up; "
        f"{rivals}",
        "columns": ["system", "point", "FLOPs", "params", "accuracy (%)", *(["top-5 (%)"] if top5 else [])],
        "rows": rows,
    }


def beside(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """Ours in the layout of Table 3, each row followed by the paper's where there is one."""
    chain, rates = bench.sizes.chain, paper.RATES
    sliced = systems[f"{chain} sliced"]
    whole = max(point.flops for point in sliced)
    spent = {float(point.label): f"{100 * point.flops / whole:.2f}" for point in sliced}
    rows = [
        ["FLOPs (%)", *(spent[rate] for rate in rates)],
        ["  paper", *(f"{share:g}" for share in paper.COMPUTATION)],
    ]
    folder = bench.sizes.data == "images"
    for system, name in (_TABLE_3_FOLDER if folder else _TABLE_3).items():
        points = systems[f"{chain} {system}"]
        rows.append(_ours(f"{chain} {system}", {point.label: point.accuracy for point in points}))
        rows += [_papers(name)] if name else []
        top5 = {point.label: point.top5 for point in points if point.top5 is not None}
        if system == "sliced" and top5:
            rows += [_ours(f"{chain} sliced, top 5", top5), _papers("VGG-16 top5")]
    return {
        "title": "Test error (%) by slice rate (Table 3)",
        "text": f"Ours: {_said(bench)}. The paper: {paper.IMAGENET_SETTING if folder else paper.SETTING}; compare the "
        "rows' shapes, not the numbers.",
        "columns": ["slice rate", *(f"{rate:g}" for rate in rates)],
        "rows": rows,
    }


def _ours(name: str, shares: dict[str, float]) -> list[str]:
    """Errors at the paper's rates, of the shares right by rate."""
    errors = {label: percent(1 - share) for label, share in shares.items()}
    return [name, *(errors.get(f"{rate:g}", MISSING) for rate in paper.RATES)]


def _papers(name: str) -> list[str]:
    errors = {**paper.ERROR, **paper.IMAGENET_ERROR}[name]
    return [f"  paper: {name}", *(f"{error:g}" for error in errors)]


def against_flops(bench: Workbench, systems: Systems) -> dict[str, Any]:
    """Accuracy over multiply-adds."""
    return {
        "title": f"Accuracy against FLOPs ({_drawn(bench)})",
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
        "title": f"Test error against slice rate ({_drawn(bench)})",
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


def _drawn(bench: Workbench) -> str:
    """Where the paper shows it: of a folder's images, ImageNet's, it prints numbers only."""
    return "Table 3" if bench.sizes.data == "images" else "Figures 2 and 6"

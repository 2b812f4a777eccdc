"""Figures 2 and 6, Table 3: accuracy against FLOPs of sliced networks and of everything they are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from simulations import paper_images as paper
from simulations.baselines import (
    EveryExit,
    ExitNetwork,
    MultiClassifier,
    MultiScaleDense,
    Point,
    ScaleSparsity,
    SkipNetwork,
    SkipPenalty,
    multiply_adds,
    prune,
    slimmable,
)
from simulations.elastic import SIXTEENTHS, ElasticSettings, Workbench, percent
from simulations.report.figures import MISSING, large
from simulations.report.schema import Report
from slicing import Joint, Plain, Sampled
from slicing.models import resnet
from slicing.models.resnet import ResidualNetwork
from slicing.progress import Progress

LOWER_BOUND = paper.LOWER_BOUND
EIGHTHS = tuple(k / 8 for k in range(2, 9))  # trained; the 8 normalisation groups of a residual network allow no more
ABOVE = tuple(rate for rate in EIGHTHS if rate >= LOWER_BOUND)
SEPARATE = (0.375, 0.625, 1.0)
EXITS = 3
PRUNED = (0.25, 0.5)
PENALTIES = (0.1, 0.5)


def simulate_tradeoff(settings: ElasticSettings, command: str, progress: Progress | None = None) -> Report:
    """Train every system on the same budget, judge all in the same way, write the report and ``tradeoff.csv``.

    Raises:
        ValueError: for bad input, in one line.
    """
    bench = Workbench(settings, progress)
    systems = {**_chains(bench), **_residual(bench), **_exits(bench), **_skipping(bench), **_slimmed(bench)}
    tables = [_table(bench, systems), _beside(bench, systems)]
    by_rate = [name for name in systems if name.split()[-1] in ("sliced", "nested", "widths", "1.0")]
    errors = {
        "title": "Test error against slice rate (Figures 2 and 6)",
        "text": f"{bench.scale_said()}; lower is better.",
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
    curve = {
        "title": "Accuracy against FLOPs (Figures 2 and 6)",
        "text": f"{bench.scale_said()}; further left and higher is better.",
        "x": "million multiply-adds per image",
        "y": "test accuracy",
        "x_scale": "log",
        "series": [
            {"name": name, "x": [p.flops / 1e6 for p in sorted_], "y": [p.accuracy for p in sorted_]}
            for name, points in systems.items()
            for sorted_ in [sorted(points, key=lambda point: point.flops)]
        ],
    }
    cells = [(name, *asdict(point).values()) for name, points in systems.items() for point in points]
    bench.write_csv("tradeoff.csv", ("system", "point", "flops", "params", "accuracy", "top5"), cells)
    at = {(name, point.label): point.accuracy for name, points in systems.items() for point in points}
    rate = f"{LOWER_BOUND:g}"
    headline = (
        f"the residual network sliced to {rate} keeps {percent(at['resnet sliced', rate])}% accuracy, a nested one "
        f"{percent(at['resnet nested', rate])}%, a separate one of that width {percent(at['resnet widths', rate])}%, "
        f"one trained whole and sliced afterwards {percent(at['resnet lb 1.0', rate])}%."
    )
    return bench.write(command, headline, "tradeoff", tables=tables, curves=[curve, errors])


def _chains(bench: Workbench) -> dict[str, list[Point]]:
    """The chain of convolutions (VGG-13 from scale small up): Figure 6 and Table 3."""
    name = bench.sizes.chain
    return _by_width(bench, name, bench.chain, SIXTEENTHS)


def _residual(bench: Workbench) -> dict[str, list[Point]]:
    """The residual network by width and by depth: Figure 2."""
    found = _by_width(bench, "resnet", lambda: _plain_residual(bench, bench.sizes.depths[-1]), EIGHTHS)
    whole = found["resnet widths"][-1]
    by_depth = []
    for depth in bench.sizes.depths[:-1]:
        network = bench.separate(_plain_residual(bench, depth), 1.0)
        bench.fit(f"resnet-depth-{depth}", network, Plain())
        (point,) = bench.points(network)
        by_depth.append(Point(f"{depth} layers", point.flops, point.params, point.accuracy))
    by_depth.append(Point(f"{bench.sizes.depths[-1]} layers", whole.flops, whole.params, whole.accuracy))
    return {**found, "resnet depths": by_depth}


def _by_width(
    bench: Workbench, name: str, build: Callable[[], nn.Module], judged: Sequence[float]
) -> dict[str, list[Point]]:
    """Sliced, nested, separate, and the whole one sliced afterwards, of one architecture.

    Dense networks are judged at the rates ``judged``, trained or not; a nested one has no others than its own.
    """
    sliced = bench.sliced(build(), ABOVE)
    bench.fit(f"{name}-sliced", sliced, Sampled())
    nested = bench.sliced(build(), ABOVE, "nested")
    bench.fit(f"{name}-nested", nested, Joint())
    separate = []
    for rate in SEPARATE:
        alone = bench.separate(build(), rate)
        bench.fit(f"{name}-separate-{rate:g}", alone, Plain())
        (point,) = bench.points(alone)
        separate.append(Point(f"{rate:g}", point.flops, point.params, point.accuracy))
    return {
        f"{name} sliced": bench.points(bench.resliced(sliced, judged)),
        f"{name} nested": bench.points(nested),
        f"{name} widths": separate,
        f"{name} lb 1.0": bench.points(bench.resliced(alone, judged)),
    }


def _exits(bench: Workbench) -> dict[str, list[Point]]:
    """Early exits: the residual network with several classifiers, and MSDNet."""
    torch.manual_seed(bench.settings.seed)
    early = MultiClassifier(_plain_residual(bench, bench.sizes.depths[-1]), EXITS)
    bench.fit("multi-classifiers", early, EveryExit())
    torch.manual_seed(bench.settings.seed)
    growth = max(8, round(16 * bench.sizes.widening) // 8 * 8)
    dense = MultiScaleDense(len(bench.data.classes), growth=growth, in_channels=bench.shape[0])
    bench.fit("msdnet", dense, EveryExit())
    return {"multi-classifiers": _exit_points(bench, early), "msdnet": _exit_points(bench, dense)}


def _exit_points(bench: Workbench, network: ExitNetwork) -> list[Point]:
    image = torch.zeros(1, *bench.shape, device=bench.settings.device)
    return [
        Point(
            f"exit {k + 1}",
            multiply_adds(lambda k=k: network(image, k)),  # type: ignore[misc]
            network.parameters_to(k),
            bench.accuracy(lambda x, k=k: network(x, k)),  # type: ignore[misc]
        )
        for k in range(len(network.heads))
    ]


def _skipping(bench: Workbench) -> dict[str, list[Point]]:
    """SkipNet: a network for each price of running a block; its FLOPs are the mean over the test images."""
    found = []
    for price in PENALTIES:
        torch.manual_seed(bench.settings.seed)
        network = SkipNetwork(_plain_residual(bench, bench.sizes.depths[-1]))
        bench.fit(f"skipnet-{price:g}", network, SkipPenalty(price))
        image = torch.zeros(1, *bench.shape, device=bench.settings.device)
        always, blocks = network.costs(image)
        opened: list[torch.Tensor] = []

        def predict(x: torch.Tensor, network: SkipNetwork = network, opened: list[torch.Tensor] = opened):  # type: ignore[no-untyped-def]
            scores, gates = network.with_gates(x)
            opened.append(gates.cpu())
            return scores

        accuracy = bench.accuracy(predict)
        flops = always + float((torch.cat(opened).double() @ blocks.double()).mean())
        share = torch.cat(opened).mean().item()
        found.append(Point(f"price {price:g}, {share:.0%} of gates open", flops, _held(network), accuracy))
    return {"skipnet": found}


def _slimmed(bench: Workbench) -> dict[str, list[Point]]:
    """Network Slimming of the chain: trained with the penalty, pruned, fine-tuned on the same budget again."""
    network = slimmable(bench.chain())
    bench.fit("slimming", network, ScaleSparsity(bench.sizes.sparsity))
    image = torch.zeros(1, *bench.shape, device=bench.settings.device)
    found = []
    for share in PRUNED:
        narrow = prune(network, share)
        bench.fit(f"slimming-{share:g}", narrow, Plain())
        flops = multiply_adds(lambda narrow=narrow: narrow(image))  # type: ignore[misc]
        found.append(Point(f"{share:.0%} pruned", flops, _held(narrow), bench.accuracy(narrow)))
    return {"network slimming": found}


def _plain_residual(bench: Workbench, depth: int) -> ResidualNetwork:
    torch.manual_seed(bench.settings.seed)
    sizes = bench.sizes
    return resnet(depth, sizes.widening, classes=len(bench.data.classes), in_channels=bench.shape[0])


def _held(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _table(bench: Workbench, systems: dict[str, list[Point]]) -> dict[str, Any]:
    rows = [
        [name, point.label, large(point.flops), large(point.params), percent(point.accuracy)]
        for name, points in systems.items()
        for point in points
    ]
    return {
        "title": "Every network at every point",
        "text": f"{bench.scale_said()}. Sliced and nested are one network each, trained from rate {LOWER_BOUND:g} up; "
        "widths, depths, pruned and priced points are a network each; exits are one. Slimming trains twice, "
        f"with a penalty of {bench.sizes.sparsity:g} on scales.",
        "columns": ["system", "point", "FLOPs", "params", "accuracy (%)"],
        "rows": rows,
    }


def _beside(bench: Workbench, systems: dict[str, list[Point]]) -> dict[str, Any]:
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
        "text": f"Ours: {bench.scale_said()}. The paper: {paper.SETTING}; compare the rows' shapes, not the numbers.",
        "columns": ["slice rate", *(f"{rate:g}" for rate in rates)],
        "rows": rows,
    }

"""What sliced networks are compared with besides other widths: depths, early exits, SkipNet, Network Slimming."""

from dataclasses import replace

import torch
from torch import nn

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
from simulations.elastic import Workbench
from simulations.elastic_settings import Residual
from slicing import Plain

EXITS = 3
PRUNED = (0.25, 0.5)
PENALTIES = (0.1, 0.5)


def rivals(bench: Workbench, residual: Residual, whole: Point) -> dict[str, list[Point]]:
    """Train them and judge them on the test images.

    Args:
        bench: of the experiment.
        residual: what is made shallower, gets exits and gates.
        whole: the point of a separate network of its full depth and width.
    """
    return {
        f"{residual.name} depths": _depths(bench, residual, whole),
        **_exits(bench, residual),
        "skipnet": _skipping(bench, residual),
        "network slimming": _slimmed(bench),
    }


def _depths(bench: Workbench, residual: Residual, whole: Point) -> list[Point]:
    found = []
    for depth in residual.shallower:
        network = bench.separate(bench.residual(residual, depth), 1.0)
        bench.fit(f"{residual.name}-depth-{depth}", network, Plain(), epochs=residual.epochs)
        (point,) = bench.points(network)
        found.append(replace(point, label=f"{depth} layers"))
    return [*found, replace(whole, label=f"{residual.depth} layers")]


def _exits(bench: Workbench, residual: Residual) -> dict[str, list[Point]]:
    """Early exits: the residual network with several classifiers, and MSDNet."""
    torch.manual_seed(bench.settings.seed)
    early = MultiClassifier(bench.residual(residual), EXITS)
    bench.fit("multi-classifiers", early, EveryExit(), epochs=residual.epochs)
    torch.manual_seed(bench.settings.seed)
    growth = max(8, round(16 * residual.widening) // 8 * 8)
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


def _skipping(bench: Workbench, residual: Residual) -> list[Point]:
    """SkipNet: a network for each price of running a block; its FLOPs are the mean over the test images."""
    found = []
    for price in PENALTIES:
        torch.manual_seed(bench.settings.seed)
        network = SkipNetwork(bench.residual(residual))
        bench.fit(f"skipnet-{price:g}", network, SkipPenalty(price), epochs=residual.epochs)
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
    return found


def _slimmed(bench: Workbench) -> list[Point]:
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
    return found


def _held(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())

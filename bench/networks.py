"""Sliced networks with reuse against separate plain torch networks of the same widths, eager, in fp32."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.timing import side_by_side
from slicing import IncrementalScorer, Joint, SlicedNetwork, convert, cost, extract
from slicing.models import mlp, vgg13

VGG_RATES = (0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
IMAGES = 256
MLP_SIZES = (128, 1024, 1024, 512, 1)
MLP_RATES = (1 / 8, 1 / 4, 1 / 2, 1.0)
CANDIDATES = 10_000
FUNNEL = (1.0, 0.5, 0.2, 0.05)


def cnn_keep_all(repeats: int) -> dict[str, Any]:
    """VGG-13 at full width, six rates, every image kept, against six separate networks on the whole batch."""
    x = torch.randn(IMAGES, 3, 32, 32)
    return _cascade("cnn-keep-all", vgg13(), VGG_RATES, x, [1.0] * len(VGG_RATES), repeats)


def cnn_narrow(repeats: int) -> dict[str, Any]:
    """VGG-13 at a quarter of the width, one nested pass at full rate: narrow blocks joined against each by itself."""
    x, network = torch.randn(IMAGES, 3, 32, 32), _nested(vgg13(width=0.25), VGG_RATES).eval()
    joined, apart = IncrementalScorer(network), IncrementalScorer(network, lanes=1)
    return side_by_side(
        "cnn-narrow", lambda: joined.start(x).widen(1.0), lambda: apart.start(x).widen(1.0), None, repeats
    )


def mlp_funnel(repeats: int) -> dict[str, Any]:
    """128-1024-1024-512-1, four rates, each stage on the survivors of the one before."""
    return _cascade("mlp-funnel", mlp(MLP_SIZES), MLP_RATES, torch.randn(CANDIDATES, 128), FUNNEL, repeats)


def mlp_keep_all(repeats: int) -> dict[str, Any]:
    """The same, every candidate kept."""
    return _cascade("mlp-keep-all", mlp(MLP_SIZES), MLP_RATES, torch.randn(CANDIDATES, 128), [1.0] * 4, repeats)


def train_step(repeats: int) -> dict[str, Any]:
    """One nested step that trains all six rates against one plain step of the full network, batch 64."""
    plain = vgg13()
    nested = _nested(plain, VGG_RATES)
    x, y = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    scheme, generator = Joint(), torch.Generator()
    optimisers = {module: torch.optim.SGD(module.parameters(), 1e-4, momentum=0.9) for module in (plain, nested)}

    def ours() -> None:
        optimisers[nested].zero_grad()
        scheme.loss(nested, x, y, generator).backward()
        optimisers[nested].step()

    def rival() -> None:
        optimisers[plain].zero_grad()
        F.cross_entropy(plain(x), y).backward()
        optimisers[plain].step()

    return side_by_side("train-step", ours, rival, None, repeats)


def _cascade(
    case: str, plain: nn.Module, rates: Sequence[float], x: Tensor, kept: Sequence[float], repeats: int
) -> dict[str, Any]:
    nested = _nested(plain, rates).eval()
    dense = convert(plain, rates, "dense", rescale=False)
    separate = [extract(dense, rate).eval() for rate in rates]
    survivors = _survivors(len(x), kept)
    scorer = IncrementalScorer(nested)

    def ours() -> None:
        session = scorer.start(x)
        for rate, rows in zip(rates, survivors, strict=True):
            if rows is not None:
                session.select(rows)
            session.widen(rate)

    @torch.inference_mode()
    def rival() -> None:
        left = x
        for network, rows in zip(separate, survivors, strict=True):
            if rows is not None:
                left = left[rows]
            network(left)

    shape = tuple(x.shape[1:])
    reused, alone = cost(nested, shape), cost(dense, shape)
    spent = sum(share * reused.flops(k, k - 1) for k, share in enumerate(kept))
    usual = sum(share * alone.flops(k) for k, share in enumerate(kept))
    return side_by_side(case, ours, rival, spent / usual, repeats)


def _nested(plain: nn.Module, rates: Sequence[float]) -> SlicedNetwork:
    """The same architecture, nested, with fresh weights."""
    network = SlicedNetwork(convert(plain, rates, "dense").spec, rates, "nested")
    network.reset_parameters()
    return network


def _survivors(count: int, kept: Sequence[float]) -> list[Tensor | None]:
    """Positions of each stage's candidates among those of the stage before; None where all stay."""
    generator = torch.Generator().manual_seed(0)
    chosen: list[Tensor | None] = []
    left = count
    for share in kept:
        goal = round(count * share)
        chosen.append(torch.randperm(left, generator=generator)[:goal].sort().values if goal < left else None)
        left = goal
    return chosen

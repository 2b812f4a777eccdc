"""SkipNet (Wang et al. 2018): a gate in front of every residual block decides, image by image, whether to run it."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from simulations.baselines.points import multiply_adds
from slicing import Criterion, CrossEntropy, SlicingError
from slicing.models.resnet import ResidualNetwork

GATE_UNITS = 10


class SkipNetwork(nn.Module):
    """A residual network whose blocks that keep their shape can be skipped.

    The gates are SkipNet's feed-forward ones: average over the image, a dense layer of ten units, a rectifier and a
    dense layer of one. In training a gate multiplies its block by 0 or 1 with the gradient of its sigmoid (straight
    through); its hybrid reinforcement stage is left out, as its authors report the supervised stage alone, too.
    In eval mode a block runs on those images alone whose gate is open.

    Args:
        network: the residual network.

    Attributes:
        gates: for each block, its gate, or an Identity where the block changes the shape and always runs.
    """

    def __init__(self, network: ResidualNetwork) -> None:
        super().__init__()
        self.network = network
        self.gates = nn.ModuleList()
        for block in network.each_block():
            self.gates.append(_gate(block.into) if block.skip is None else nn.Identity())

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, classes)."""
        return self.with_gates(images)[0]

    def with_gates(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The scores, and which blocks ran: (N, skippable blocks), 1 where the gate was open."""
        x, opened = self.network.stem(images), []
        for block, gate in zip(self.network.each_block(), self.gates, strict=True):
            if isinstance(gate, nn.Identity):
                x = block(x)
                continue
            soft = torch.sigmoid(gate(x))[:, 0]
            hard = (soft >= 0.5).to(soft.dtype)
            opened.append(hard + soft - soft.detach() if self.training else hard)
            x = _gated(block, x, opened[-1]) if self.training else _run_open(block, x, hard > 0)
        network = self.network
        scores = network.score(torch.flatten(network.pool(F.relu(network.norm(x))), 1))
        return scores, torch.stack(opened, 1) if opened else scores.new_zeros(len(scores), 0)

    def costs(self, image: Tensor) -> tuple[int, Tensor]:
        """Multiply-adds of an image (1, channels, H, W): what always runs, gates included, and each skippable block."""
        everything = multiply_adds(lambda: self.network(image))
        blocks, gates, x = [], 0, self.network.stem(image)
        for block, gate in zip(self.network.each_block(), self.gates, strict=True):
            if not isinstance(gate, nn.Identity):
                blocks.append(multiply_adds(lambda block=block, x=x: block(x)))  # type: ignore[misc]
                gates += multiply_adds(lambda gate=gate, x=x: gate(x))  # type: ignore[misc]
            x = block(x)
        return everything - sum(blocks) + gates, torch.tensor(blocks)


@dataclass(frozen=True)
class SkipPenalty:
    """Cross entropy plus ``weight`` times the share of the skippable blocks that ran: SkipNet's objective.

    Args:
        weight: price of running every block, in ``[0, inf)``.
    """

    weight: float = 0.1
    criterion: Criterion = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise SlicingError(f"weight must be finite and at least 0, got {self.weight}; try 0.1")

    def loss(self, model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of one batch.

        Raises:
            SlicingError: for a network without gates.
        """
        if not isinstance(model, SkipNetwork) or not isinstance(x, Tensor):
            raise SlicingError(f"SkipPenalty trains networks with gates on images, got a {type(model).__name__}")
        scores, opened = model.with_gates(x)
        return self.criterion(scores, y) + self.weight * opened.mean()


def _gate(channels: int) -> nn.Sequential:
    """Starts open: with a bias of 2, every block runs at first."""
    last = nn.Linear(GATE_UNITS, 1)
    nn.init.constant_(last.bias, 2.0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, GATE_UNITS), nn.ReLU(), last)


def _gated(block: nn.Module, x: Tensor, opened: Tensor) -> Tensor:
    """The block's residual, times the gate."""
    return x + opened[:, None, None, None] * (block(x) - x)


def _run_open(block: nn.Module, x: Tensor, opened: Tensor) -> Tensor:
    """The block on the images whose gate is open, the others as they are."""
    if not bool(opened.any()):
        return x
    y = x.clone()
    y[opened] = block(x[opened])
    return y

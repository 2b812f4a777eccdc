"""Network Slimming (Liu et al. 2017): an L1 penalty on scale factors, pruning of the smallest, fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from slicing import Criterion, CrossEntropy, SlicingError


def slimmable(module: nn.Sequential) -> nn.Sequential:
    """The same chain with batch normalisation, as Network Slimming has it.

    A channel's scale says how much of it is used only where it is normalised by itself; a group's statistics would
    change when a member is pruned. Weights are shared with ``module``.

    Args:
        module: convolutions, each followed by a normalisation, poolings, and dense layers, in one chain.

    Raises:
        SlicingError: for a module that is no such chain.
    """
    layers: list[nn.Module] = []
    for layer in module:
        layers.append(nn.BatchNorm2d(layer.num_channels) if isinstance(layer, nn.GroupNorm) else layer)
    for layer, behind in pairwise(layers):
        if isinstance(layer, nn.Conv2d) != isinstance(behind, nn.BatchNorm2d):
            raise SlicingError(
                "network slimming prunes a chain whose every convolution is followed by a normalisation, got "
                f"{type(layer).__name__} before {type(behind).__name__}; use vgg13 or small_cnn"
            )
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class ScaleSparsity:
    """Cross entropy plus ``weight`` times the sum of the normalisation scales' sizes.

    Args:
        weight: lambda, in ``[0, inf)``; its authors use 1e-4 to 1e-5 on long trainings.
    """

    weight: float = 1e-4
    criterion: Criterion = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise SlicingError(f"weight must be finite and at least 0, got {self.weight}; try 1e-4")

    def loss(self, model: nn.Module, x: Tensor | tuple[Tensor, ...], y: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of one batch."""
        scores = model(x)
        scales = [layer.weight.abs().sum() for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
        return self.criterion(scores, y) + self.weight * torch.stack(scales).sum()


@torch.no_grad()
def prune(network: nn.Sequential, share: float) -> nn.Sequential:
    """A narrower chain without the channels of the smallest scales, over all layers; its weights are copies.

    Each layer keeps at least one channel. Fine-tune the result.

    Args:
        network: from :func:`slimmable`, trained with :class:`ScaleSparsity`.
        share: of all channels to prune, in ``[0, 1)``.

    Raises:
        SlicingError: for a share out of this range, or a network without batch normalisation.
    """
    if not 0 <= share < 1:
        raise SlicingError(f"share must lie in [0, 1), got {share}; try 0.5")
    norms = [layer for layer in network if isinstance(layer, nn.BatchNorm2d)]
    if not norms:
        raise SlicingError("there are no scales to prune by; make the network with slimmable()")
    scales = torch.cat([norm.weight.abs() for norm in norms])
    dropped = round(share * len(scales))
    threshold = scales.sort().values[dropped - 1] if dropped else scales.new_tensor(-1.0)
    chain, layers = list(network), list[nn.Module]()
    kept: Tensor | None = None  # of the channels that flow into the next layer; None: all
    channels = 0  # how many flowed before pruning
    for layer, behind in zip(chain, [*chain[1:], None], strict=True):
        if isinstance(layer, nn.Conv2d):
            assert isinstance(behind, nn.BatchNorm2d)
            size = behind.weight.abs()
            chosen = torch.nonzero(size > threshold)[:, 0]
            chosen = chosen if len(chosen) else size.argmax()[None]
            layers.append(_narrow_convolution(layer, kept, chosen))
            kept, channels = chosen, layer.out_channels
        elif isinstance(layer, nn.BatchNorm2d):
            assert kept is not None
            layers.append(_narrow_norm(layer, kept))
        elif isinstance(layer, nn.Linear):
            # Behind flattened channels it reads every position of each of them.
            positions = None if kept is None else _positions(kept, layer.in_features // channels)
            layers.append(_narrow_dense(layer, positions))
            kept = None
        else:
            layers.append(layer)
    return nn.Sequential(*layers).to(scales.device).train(network.training)


def _narrow_convolution(layer: nn.Conv2d, read: Tensor | None, given: Tensor) -> nn.Conv2d:
    weight = layer.weight[given] if read is None else layer.weight[given][:, read]
    padding = layer.padding if isinstance(layer.padding, str) else _pair(layer.padding)
    kernel, stride, biased = _pair(layer.kernel_size), _pair(layer.stride), layer.bias is not None
    narrow = nn.Conv2d(weight.shape[1], len(given), kernel, stride, padding, bias=biased, dtype=weight.dtype)
    narrow.weight.copy_(weight)
    if layer.bias is not None and narrow.bias is not None:
        narrow.bias.copy_(layer.bias[given])
    return narrow


def _narrow_norm(layer: nn.BatchNorm2d, kept: Tensor) -> nn.BatchNorm2d:
    narrow = nn.BatchNorm2d(len(kept), layer.eps, dtype=layer.weight.dtype)
    for name in ("weight", "bias", "running_mean", "running_var"):
        getattr(narrow, name).copy_(getattr(layer, name)[kept])
    return narrow


def _narrow_dense(layer: nn.Linear, read: Tensor | None) -> nn.Linear:
    weight = layer.weight if read is None else layer.weight[:, read]
    narrow = nn.Linear(weight.shape[1], layer.out_features, layer.bias is not None, dtype=weight.dtype)
    narrow.weight.copy_(weight)
    if layer.bias is not None:
        narrow.bias.copy_(layer.bias)
    return narrow


def _positions(channels: Tensor, each: int) -> Tensor:
    """Where these channels' values lie once flattened, ``each`` of them a channel."""
    return (channels[:, None] * each + torch.arange(each, device=channels.device)).reshape(-1)


def _pair(size: Sequence[int]) -> tuple[int, int]:
    return size[0], size[1]

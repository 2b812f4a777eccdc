"""A multilayer perceptron: the workhorse of ranking on features."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from slicing.errors import SlicingError


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Dense layers with rectifiers between them.

    Args:
        sizes: features of the input, units of each hidden layer, outputs; at least two numbers.

    Returns:
        A plain torch module: (N, sizes[0]) to (N, sizes[-1]).

    Raises:
        SlicingError: for fewer than two sizes, or one below 1.
    """
    if len(sizes) < 2 or min(sizes) < 1:
        raise SlicingError(f"an MLP needs at least an input and an output size, all above 0, got {list(sizes)}")
    layers: list[nn.Module] = []
    for into, out in pairwise(sizes):
        layers += [nn.Linear(into, out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])

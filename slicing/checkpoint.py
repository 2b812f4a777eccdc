"""A sliced network in one safetensors file: weights as tensors, architecture, rates and connectivity as metadata."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from slicing.errors import SlicingError
from slicing.files import load_tensors, save_tensors
from slicing.mixing import Mixing
from slicing.network import SlicedNetwork
from slicing.recurrent import SlicedRecurrent
from slicing.spec import Spec

KIND = "sliced network"


def save(network: SlicedNetwork, path: Path | str, notes: Mapping[str, Any] | None = None) -> None:
    """Write a network to one file; an interrupt leaves the old file or the new one.

    Args:
        network: any sliced network.
        path: the file to write, usually ``*.safetensors``.
        notes: anything JSON can hold that belongs with it, such as its training command and accuracies.

    Raises:
        SlicingError: when no file can be written there.
    """
    save_tensors(path, network.state_dict(), {**describe(network), "notes": dict(notes or {})}, KIND)


def load(path: Path | str) -> SlicedNetwork:
    """Read a network back, on the CPU, in eval mode; nothing in the file is executed.

    Raises:
        SlicingError: when the file is missing, damaged, not a sliced network, or at odds with itself.
    """
    return rebuild(*load_tensors(path, KIND), str(path))


def describe(network: SlicedNetwork) -> dict[str, Any]:
    """What a file must hold besides the weights, as JSON values."""
    return {
        "spec": network.spec.to_dict(),
        "rates": list(network.rates),
        "connectivity": network.connectivity,
        "rescale": network.rescale,
    }


def rebuild(tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any], source: str) -> SlicedNetwork:
    """The network of these weights and :func:`describe`'s description, in eval mode.

    Raises:
        SlicingError: when the description can't be read, or the weights are of another architecture.
    """
    try:
        spec, rates = Spec.from_dict(description["spec"]), description["rates"]
        connectivity, rescale = description["connectivity"], description["rescale"]
        with torch.device("meta"):  # no memory for sizes that the weights in the file do not have
            shadow = SlicedNetwork(spec, rates, connectivity, rescale)
    except (KeyError, TypeError, RuntimeError, SlicingError) as error:
        raise SlicingError(f"{source}: its architecture can't be read ({error}); save the network again") from error
    _check_shapes(shadow, tensors, source)
    network = SlicedNetwork(spec, rates, connectivity, rescale)
    fill(network, tensors, source)
    return network.eval()


def fill(network: SlicedNetwork, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Load weights into a network, refusing those of another architecture.

    Raises:
        SlicingError: naming the first parameter that is missing, unexpected or of another shape, or the layer of a
            network that has weights where no rate uses any, above a nested layer's block diagonal.
    """
    _check_shapes(network, tensors, source)
    dtypes = {tensor.dtype for tensor in tensors.values()}
    if len(dtypes) > 1 or not all(dtype.is_floating_point for dtype in dtypes):
        raise SlicingError(f"{source}: weights must all have one floating-point type, found {sorted(map(str, dtypes))}")
    for dtype in dtypes:
        network.to(dtype=dtype)
    network.load_state_dict(dict(tensors))
    for name, layer in network.layer_modules():
        masks = layer.masks() if isinstance(layer, Mixing | SlicedRecurrent) else []
        if any(bool(weight.detach().masked_fill(mask.bool(), 0.0).any()) for weight, mask in masks):
            raise SlicingError(
                f"{source}: {name} has weights above the block diagonal, so it is not {network.connectivity}; "
                "load it as dense"
            )


def _check_shapes(network: SlicedNetwork, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differing:
        name = differing[0]
        raise SlicingError(
            f"{source}: holds another architecture: {name} should have shape {wanted.get(name, 'none')}, "
            f"found {found.get(name, 'none')}; build the network the weights were trained in"
        )

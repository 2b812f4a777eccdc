"""Torchvision's own networks, sliced: every rate, widening and extraction."""

import warnings

import pytest
import torch
from torch import nn

from data.torchvision_shim import torchvision
from slicing import ConversionWarning, IncrementalScorer, convert, extract, parameter_count

slow = pytest.mark.slow
RATES = [0.25, 0.5, 1.0]
MODELS = [
    pytest.param("vgg13", RATES, marks=slow),
    pytest.param("resnet18", RATES),
    pytest.param("googlenet", RATES, marks=slow),
    pytest.param("mobilenet_v2", RATES),
    pytest.param("densenet121", RATES, marks=slow),
]


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = getattr(torchvision().models, name)(num_classes=5, **options).double().eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after training, or the groups' statistics would be trivial
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return model


def sliced(model: nn.Module, rates: list[float], connectivity: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(model, rates, connectivity).eval()


@pytest.mark.parametrize(("name", "rates"), MODELS)
@torch.inference_mode()
def test_torchvisions_networks(name, rates, close):
    model = build(name)
    x = torch.randn(2, 3, 64, 64).double()
    dense = sliced(model, rates, "dense")
    if not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()):
        assert close(dense(x), model(x), 1e-9)
    else:
        expected = {key for key in model.state_dict() if "running" not in key and "num_batches" not in key}
        assert dense.layers.state_dict().keys() == expected
    for rate in rates:
        narrow = extract(dense, rate)
        assert close(narrow(x), dense(x, rate=rate), 1e-9)
        assert sum(p.numel() for p in narrow.parameters()) == parameter_count(dense, rate)
    nested = sliced(model, rates, "nested")
    together = nested.forward_all(x)
    session = IncrementalScorer(nested, reuse="always").start(x)
    for k, rate in enumerate(rates):
        alone = nested(x, rate=rate)
        assert close(together[k], alone, 1e-9)
        assert close(extract(nested, rate)(x), alone, 1e-9)
        if k == 2:
            session.select([1])
            alone = alone[1:]
        assert close(session.widen(rate), alone, 1e-9)


def test_every_layer_of_a_residual_network_takes_part_at_every_rate():
    """Half of resnet18's channels: a quarter of its weights, give or take the stem and the head."""
    with torch.device("meta"):
        model = torchvision().models.resnet18(num_classes=10)
        network = sliced(model, [0.5, 1.0], "dense")
    assert parameter_count(network, 0.5) / parameter_count(network) == pytest.approx(0.25, abs=0.01)

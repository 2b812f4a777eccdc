"""SkipNet: skipped blocks change nothing and cost nothing; the gates learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from simulations.baselines import SkipNetwork, SkipPenalty, multiply_adds
from slicing import SlicingError
from slicing.models import resnet


@pytest.fixture
def network() -> SkipNetwork:
    torch.manual_seed(0)
    network = SkipNetwork(resnet(29, 1, classes=4, in_channels=1)).double()
    for gate in network.gates:  # of every opinion, depending on the image
        if not isinstance(gate, nn.Identity):
            nn.init.normal_(gate[-1].weight, 0, 3.0)
            nn.init.zeros_(gate[-1].bias)
    return network


def test_training_and_evaluation_agree_image_by_image(network):
    """In eval mode blocks run on some images alone; in training all run and the gate multiplies."""
    x = torch.randn(16, 1, 8, 8).double()
    gated, opened = network.train().with_gates(x)
    alone, decided = network.eval().with_gates(x)
    assert torch.equal(opened.round(), decided)
    assert 0 < decided.mean().item() < 1
    assert torch.allclose(gated, alone, atol=1e-10)
    one_by_one = torch.cat([network(image[None]) for image in x])
    assert torch.allclose(one_by_one, alone, atol=1e-10)


@torch.no_grad()
def test_the_cost_of_an_image_is_what_its_pass_runs(network):
    network.eval()
    for image in torch.randn(6, 1, 1, 8, 8).double():
        _, opened = network.with_gates(image)
        always, blocks = network.costs(image)
        assert int(always + (opened[0] * blocks).sum()) == multiply_adds(lambda image=image: network(image))


def test_blocks_that_change_the_shape_always_run(network):
    assert [isinstance(gate, nn.Identity) for gate in network.gates] == [True, False, False] * 3


def test_the_loss_is_cross_entropy_and_the_price_of_what_ran(network):
    x, y = torch.randn(8, 1, 8, 8).double(), torch.randint(4, (8,))
    network.train()
    scores, opened = network.with_gates(x)
    expected = F.cross_entropy(scores.float(), y).item() + 0.3 * opened.mean().item()
    loss = SkipPenalty(0.3).loss(network, x, y, torch.Generator())
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert all(gate[-1].weight.grad is not None for gate in network.gates if not isinstance(gate, nn.Identity))


def test_a_high_price_closes_the_gates():
    torch.manual_seed(0)
    network = SkipNetwork(resnet(20, 1, classes=2, in_channels=1))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    x, y = torch.randn(16, 1, 8, 8), torch.randint(2, (16,))
    shares = []
    for _ in range(15):
        optimizer.zero_grad()
        SkipPenalty(10.0).loss(network, x, y, torch.Generator()).backward()
        optimizer.step()
        shares.append(network.with_gates(x)[1].mean().item())
    assert shares[0] > 0.9
    assert shares[-1] < 0.1


def test_what_is_no_gated_network_or_price_is_refused():
    with pytest.raises(SlicingError, match="weight must be finite and at least 0, got -1"):
        SkipPenalty(-1)
    with pytest.raises(SlicingError, match="SkipPenalty trains networks with gates on images, got a Linear"):
        SkipPenalty().loss(nn.Linear(1, 1), torch.zeros(1, 1), torch.zeros(1), torch.Generator())

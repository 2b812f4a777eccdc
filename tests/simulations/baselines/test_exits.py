"""Networks with several exits: early passes, costs, and the loss written out."""

import pytest
import torch
import torch.nn.functional as F

from simulations.baselines import EveryExit, ExitNetwork, MultiClassifier, MultiScaleDense, multiply_adds
from slicing import SlicingError
from slicing.models import resnet


def residual() -> ExitNetwork:
    torch.manual_seed(0)
    return MultiClassifier(resnet(20, 1, classes=4, in_channels=1), 3)


def dense() -> ExitNetwork:
    torch.manual_seed(0)
    return MultiScaleDense(4, scales=2, exits=3, layers_per_exit=1, growth=8, groups=4, in_channels=1)


def refuse(module: torch.nn.Module, inputs: object) -> None:
    raise AssertionError("a part that is not needed ran")


@pytest.mark.parametrize("build", [residual, dense])
@torch.no_grad()
def test_a_pass_to_an_exit_gives_its_scores_and_computes_nothing_else(build):
    network, x = build(), torch.randn(3, 1, 8, 8)
    every = list(network.answers(x))
    assert [scores.shape for scores in every] == [(3, 4)] * 3
    costs = []
    for k, scores in enumerate(every):
        others = [*network.segments[k + 1 :], *network.heads[:k], *network.heads[k + 1 :]]
        hooks = [part.register_forward_pre_hook(refuse) for part in others]
        assert torch.equal(network(x, k), scores)
        costs.append(multiply_adds(lambda k=k, network=network: network(x, k)))
        for hook in hooks:
            hook.remove()
    assert costs == sorted(set(costs))
    assert torch.equal(network(x), every[-1])


def scales() -> ExitNetwork:
    torch.manual_seed(0)
    return MultiScaleDense(4, scales=3, exits=3, layers_per_exit=2, growth=4, groups=4, in_channels=1)


@pytest.mark.parametrize("build", [residual, dense, scales])
def test_a_pass_to_an_exit_runs_what_its_scores_depend_on_and_no_more(build):
    network = build()
    ran = set()
    for part in network.modules():
        if isinstance(part, torch.nn.Conv2d | torch.nn.Linear):
            part.register_forward_hook(lambda part, *_: ran.add(part))
    for k in range(3):
        ran.clear()
        network.zero_grad(set_to_none=True)
        network(torch.randn(2, 1, 8, 8), k).sum().backward()
        assert all(part.weight.grad is not None for part in ran)
        reached = sum(p.numel() for p in network.parameters() if p.grad is not None)
        assert network.parameters_to(k) == reached


@pytest.mark.parametrize("build", [residual, dense, scales])
def test_training_every_exit_leaves_no_parameter_out(build):
    network = build()
    EveryExit().loss(network, torch.randn(2, 1, 8, 8), torch.tensor([0, 1]), torch.Generator()).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_loss_is_the_mean_over_the_exits():
    network = residual().double()
    x, y = torch.randn(5, 1, 8, 8).double(), torch.randint(4, (5,))
    expected = sum(F.cross_entropy(network(x, k).float(), y).item() for k in range(3)) / 3
    assert EveryExit().loss(network, x, y, torch.Generator()).item() == pytest.approx(expected, rel=1e-6)


def test_a_residual_network_keeps_its_last_classifier_and_every_block():
    plain = resnet(29, 1, classes=4)
    x = torch.randn(2, 3, 32, 32)
    expected = plain(x)
    network = MultiClassifier(plain, 4)
    assert torch.allclose(network(x), expected, atol=1e-5)
    assert [len(segment) for segment in network.segments] == [3, 2, 3, 2]  # 2, 2, 3 and 2 blocks, and the stem


def test_a_dense_layer_reads_every_layer_before_it():
    """By arithmetic: growth g a layer on the finest scale, 2g on the next; the last has the coarsest alone."""
    network = MultiScaleDense(4, scales=2, exits=2, layers_per_exit=2, growth=8, groups=4)
    maps = network.segments[0](torch.zeros(1, 3, 16, 16))
    assert [tuple(x.shape[1:]) for x in maps] == [(3 * 8, 16, 16), (3 * 16, 8, 8)]
    maps = network.segments[1](maps)
    assert [tuple(x.shape[1:]) for x in maps] == [(4 * 8, 16, 16), (5 * 16, 8, 8)]


@pytest.mark.parametrize("last", [-1, 3])
def test_an_exit_that_is_not_there_is_refused(last):
    with pytest.raises(SlicingError, match=f"exit must lie in 0 to 2, got {last}"):
        residual()(torch.zeros(1, 1, 8, 8), last)


def test_sizes_out_of_range_are_refused():
    with pytest.raises(SlicingError, match="exits must lie in 1 to 6, the number of blocks, got 7"):
        MultiClassifier(resnet(20, 1), 7)
    with pytest.raises(SlicingError, match="scales must be at least 1, got 0"):
        MultiScaleDense(scales=0)
    with pytest.raises(SlicingError, match="growth must be whole normalisation groups, got 12 in 8"):
        MultiScaleDense(growth=12)
    with pytest.raises(SlicingError, match="EveryExit trains networks with exits on images, got a Linear"):
        EveryExit().loss(torch.nn.Linear(1, 1), torch.zeros(1, 1), torch.zeros(1), torch.Generator())

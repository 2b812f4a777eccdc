"""The joint-survival loss against a plain loop, and what it asks of the stages."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.ranking_losses import ListwiseSoftmax
from slicing.schemes import Joint
from slicing.survival import JointSurvival


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def loop(every: Tensor, y: Tensor, scheme: JointSurvival) -> float:
    total = 0.0
    queries = sorted(set(y[:, 1].tolist()))
    for q in queries:
        rows = (y[:, 1] == q).nonzero()[:, 0].tolist()
        labels = [float(y[i, 0]) for i in rows]
        alive = [1.0] * len(rows)
        cost = [0.0] * len(rows)
        for keep, scores in zip(scheme.keep, every, strict=True):
            s = [float(scores[i, 0]) for i in rows]
            budget = max(1.0, keep * len(rows) if keep < 1 else keep)
            chance = []
            for i in range(len(rows)):
                rivals = (j for j in range(len(rows)) if j != i)
                rank = 1 + sum(alive[j] * sigmoid((s[j] - s[i]) / scheme.temperature) for j in rivals)
                chance.append(sigmoid((budget + 0.5 - rank) / (scheme.sharpness * budget)))
            cost = [c - math.log(p) for c, p in zip(cost, chance, strict=True)]
            alive = [a * p for a, p in zip(alive, chance, strict=True)]
        weights = [2**label - 1 for label in labels]
        if sum(weights):
            total += sum(w * c for w, c in zip(weights, cost, strict=True)) / sum(weights)
    return total / len(queries)


Y = torch.tensor([[2.0, 0], [0.0, 1], [0.0, 0], [1.0, 1], [0.0, 0], [0.0, 1], [0.0, 2], [1.0, 0]])


def test_it_is_the_loop() -> None:
    for seed in range(5):
        every = torch.randn(3, 8, 1, generator=torch.Generator().manual_seed(seed))
        for keep in ((0.75, 0.5, 1), (3, 2, 0.25)):
            scheme = JointSurvival(keep, temperature=0.7, sharpness=0.3)
            assert scheme.survival_loss(every, Y).item() == pytest.approx(loop(every, Y, scheme), rel=1e-4)


def test_an_early_stage_pays_for_dropping_what_is_relevant() -> None:
    y = torch.tensor([[1.0, 0], [0.0, 0], [0.0, 0], [0.0, 0]])
    good, bad = torch.tensor([2.0, 1, 0, -1])[:, None], torch.tensor([-2.0, 1, 0, 2])[:, None]
    scheme = JointSurvival((2, 1), temperature=0.1)
    both, dropped_early = (scheme.survival_loss(torch.stack([first, good]), y) for first in (good, bad))
    assert both < 0.5 < dropped_early
    every = torch.stack([bad, good]).requires_grad_()
    JointSurvival((2, 1), temperature=1).survival_loss(every, y).backward()
    assert every.grad is not None
    assert every.grad[0, 0, 0] < 0  # the narrow stage must raise it


def test_rivals_that_an_early_stage_dropped_do_not_count_later() -> None:
    y = torch.tensor([[1.0, 0], [0.0, 0], [0.0, 0]])
    first_drops = torch.tensor([5.0, -5, -5])[:, None]
    first_keeps = torch.tensor([5.0, 4, 4])[:, None]
    second = torch.tensor([0.0, 1, 1])[:, None].requires_grad_()
    pulls = []
    for first in (first_drops, first_keeps):
        (gradient,) = torch.autograd.grad(
            JointSurvival((1, 1), temperature=1).survival_loss(torch.stack([first, second]), y), second
        )
        pulls.append(-gradient[0, 0].item())
    assert 0 < pulls[0] < pulls[1]


def test_the_loss_is_added_to_the_joint_one_from_one_pass() -> None:
    class Table(nn.Module):
        rates, runs = (0.5, 1.0), 0

        def forward_all(self, x: Tensor) -> Tensor:
            self.runs += 1
            return torch.linspace(-1, 1, 16).reshape(2, 8, 1)

    table = Table()
    joint = Joint(criterion=ListwiseSoftmax())
    scheme = JointSurvival((3, 2), weight=0.25, joint=joint)
    every = table.forward_all(Y)
    expected = joint.loss_of(every, Y) + 0.25 * scheme.survival_loss(every, Y)
    assert scheme.loss(table, Y, Y, torch.Generator()).item() == pytest.approx(expected.item())
    assert table.runs == 2


@pytest.mark.parametrize("keep", [(5, 10), (0.2, 0.4, 3), (0.5, 10, 0.25, 11), (10, 0.2, 0.3)])
def test_budgets_that_grow_are_refused_as_a_cascades_cutoffs_are(keep: tuple[float, ...]) -> None:
    with pytest.raises(SlicingError, match="keep must never grow from rate to rate"):
        JointSurvival(keep)
    JointSurvival(tuple(sorted(keep, reverse=True)))


@pytest.mark.parametrize("keep", [(), (0,), (1.5,), (-1,), (True,), (math.nan,), ("3",)])
def test_bad_budgets_are_refused(keep: Any) -> None:
    with pytest.raises(SlicingError, match="keep must give each rate"):
        JointSurvival(keep)


def test_a_budget_per_rate_is_needed() -> None:
    with pytest.raises(SlicingError, match="one budget per rate, 2 in all"):
        JointSurvival((3,)).survival_loss(torch.zeros(2, 8, 1), Y)
    with pytest.raises(SlicingError, match="without rates"):
        JointSurvival((3,)).loss(nn.Linear(2, 1), Y, Y, torch.Generator())
    for name in ("weight", "temperature", "sharpness"):
        with pytest.raises(SlicingError, match=f"{name} must be positive"):
            JointSurvival((3,), **{name: 0.0})

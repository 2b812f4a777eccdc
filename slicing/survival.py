"""Training for the whole cascade: a relevant candidate must survive every stage."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.grouping import gains, split_target
from slicing.schemes import Inputs, Joint, every_rate, rates_of_sliced


@dataclass(frozen=True)
class JointSurvival:
    """``joint``'s loss plus the negative logarithm of the relevant candidates' chance to survive the cascade.

    Stage k scores at rate k and keeps a budget of candidates per query. With scores s, a candidate's relaxed rank
    there is ``1 + sum_j S_j sigmoid((s_j - s_i) / temperature)``, S_j being the chance that its rival j is still in,
    and it survives with chance ``sigmoid((budget + 1/2 - rank) / (sharpness * budget))``. Its joint survival is the
    product over the stages; the loss is ``-log`` of that, averaged over a query's candidates by their gains and then
    over the batch's queries (one without a relevant candidate contributes 0). So an early stage pays for what it drops
    though a later one would have ranked it first, and a stage whose rivals are gone already pays nothing for them.
    No gradient flows through the rivals' S: a stage can't gain by letting relevant candidates' rivals through.

    The product of relaxed survivals follows LCRON (Wang et al. 2025, "Learning cascade ranking as one network"), with
    a sigmoid rank in place of its sorting networks; rivals weighted by survival follow the joint cascades of Gallagher
    et al. (2019).

    Args:
        keep: each rate's budget, narrowest first: a whole number is candidates, a fraction in (0, 1) the share of the
            query's candidates (at least one of them). Neither grows from rate to rate.
        weight: what the survival loss counts beside ``joint``'s, in ``(0, inf)``.
        joint: the loss of each rate's own order.
        temperature: of the rank, in ``(0, inf)``, in units of the scores.
        sharpness: of the budget's edge, in ``(0, inf)``, as a share of the budget.
    """

    keep: Sequence[float]
    weight: float = 1.0
    joint: Joint = field(default_factory=Joint)
    temperature: float = 0.5
    sharpness: float = 0.25

    def __post_init__(self) -> None:
        for name in ("weight", "temperature", "sharpness"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise SlicingError(f"{name} must be positive and finite, got {value}; try 1")
        keep = tuple(self.keep)
        if not keep or not all(_is_budget(each) for each in keep):
            raise SlicingError(
                f"keep must give each rate a whole number of candidates or a share in (0, 1), got {list(keep)}; "
                "try (0.6, 0.4, 0.25, 10)"
            )
        for kind in ([each for each in keep if each >= 1], [each for each in keep if each < 1]):
            for before, after in pairwise(kind):
                if after > before:
                    raise SlicingError(
                        f"keep must never grow from rate to rate, got {after:g} after {before:g}; a later stage has no "
                        "more candidates than an earlier one leaves"
                    )
        object.__setattr__(self, "keep", keep)

    def loss(self, model: nn.Module, x: Inputs, y: Tensor, generator: torch.Generator) -> Tensor:
        """The weighted sum of both losses, from one pass over every rate."""
        rates_of_sliced(model, self)
        self.joint.check(model)
        every = every_rate(model, x)
        return self.joint.loss_of(every, y) + self.weight * self.survival_loss(every, y)

    def survival_loss(self, every: Tensor, y: Tensor) -> Tensor:
        """The negative logarithm of joint survival.

        Args:
            every: every rate's scores, (K, N, 1).
            y: (N, 2) = [label, query index].
        """
        if len(every) != len(self.keep):
            raise SlicingError(f"keep must give one budget per rate, {len(every)} in all, got {list(self.keep)}")
        _, labels, groups = split_target(every[0], y)
        held = groups.held.float()
        counts = held.sum(1, keepdim=True)
        inside, cost = held, torch.zeros_like(labels)  # chance to be still in, and -log of it
        for keep, scores in zip(self.keep, every, strict=True):
            padded = groups.pad(scores[:, 0].float())
            ahead = torch.sigmoid((padded[:, None, :] - padded[:, :, None]) / self.temperature)
            rivals = inside.detach()[:, None, :]
            itself = 0.5 * inside.detach()  # its own term of the sum, sigmoid(0)
            rank = 1.0 + (ahead * rivals).sum(2) - itself
            budget = counts * keep if isinstance(keep, float) and keep < 1 else torch.full_like(counts, float(keep))
            budget = budget.clamp(min=1.0)
            edge = (budget + 0.5 - rank) / (self.sharpness * budget)
            cost = cost + F.softplus(-edge)  # -log sigmoid
            inside = inside * torch.sigmoid(edge)
        weight = gains(labels) * held
        total = weight.sum(1)
        mean = (cost * weight).sum(1) / torch.where(total > 0, total, 1.0)
        return mean.sum() / groups.held.any(1).sum().clamp(min=1)


def _is_budget(keep: float) -> bool:
    if isinstance(keep, bool) or not isinstance(keep, int | float) or not math.isfinite(keep):
        return False
    return 0 < keep < 1 or (keep >= 1 and float(keep).is_integer())

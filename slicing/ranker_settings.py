"""How a ranker is built and trained."""

from dataclasses import dataclass
from typing import Literal, get_args

from slicing.connectivity import Connectivity
from slicing.errors import SlicingError
from slicing.features import TransformKind
from slicing.losses import Criterion
from slicing.ranking_losses import LambdaLoss, ListDistillation, ListwiseSoftmax, PointwiseBCE, PointwiseMSE
from slicing.schemes import Joint, Sampled, Sandwich, Scheme, checked_weights
from slicing.survival import JointSurvival
from slicing.tiers import Tier
from slicing.train_config import Device, Precision

Loss = Literal["lambda", "listwise", "bce", "mse"]
SchemeName = Literal["joint", "sampled", "sandwich"]

NESTED_OWN = 0.9
"""Share of each wider rate's loss that is of its block alone, where nothing else is asked for: the blocks then learn as
rankers of their own, whose scores add up to an ensemble's. Chosen on validation parts (dev/LOG.md, 2026-11-28)."""


@dataclass(frozen=True)
class RankerSettings:
    """How a ranker is built and trained. The defaults were chosen by validation on MQ2008's folds.

    Args:
        rates: rising slice rates in (0, 1], ending in 1.0.
        categorical: columns of ids; every other column is numeric.
        tiers: columns that not every rate reads, or that cost something; see :class:`~slicing.tiers.Tier`.
        query: columns that are constant within a query, so that their part of the first layer can run once per query;
            ``auto`` takes those that are in training and validation, but for those that are the same everywhere.
        connectivity: ``nested`` (exact reuse), ``dense`` or mixed, see :class:`~slicing.connectivity.Connectivity`.
        transform: of the numeric features, see :class:`~slicing.features.FeatureTransform`.
        min_count: an id seen less often in training counts as unknown.
        unknown_ids: share of the ids replaced by the unknown one in training, in [0, 1).
        embedding: columns of each id's embedding.
        hidden: units of each hidden layer.
        residual: whether hidden layers of equal width add up.
        dropout: share of hidden units dropped in training, in [0, 1).
        loss: ``lambda`` (nDCG@k), ``listwise``, ``bce`` (relevant from label 1) or ``mse``.
        k: positions that count in ``lambda`` and in the validation figure, nDCG@k.
        scheme: ``joint`` trains all rates in every step, ``sampled`` one drawn rate (the paper's), ``sandwich`` the
            widest, and the narrowest and two others distilled from it. The next five settings are of joint training.
        weights: of the rates' losses, narrowest first, of which the weighted mean is taken (AdamW does not feel their
            scale); None weighs them equally.
        distill: share of each narrower rate's loss that is distillation from the widest, in [0, 1].
        own: share of each wider rate's loss that is of what its block alone adds, in [0, 1) (nested), see
            :class:`~slicing.schemes.Joint`; None is 0.9 in a nested network, 0 in any other.
        survival: weight of the joint-survival loss, in [0, inf); 0 does without it.
        keep: each rate's budget in the joint-survival loss, see :class:`~slicing.survival.JointSurvival`.
        batch_rows: about how many rows a batch of whole queries holds.
        epochs: at most. On MQ2008 half as many cost nDCG, and twice as many gain little (dev/LOG.md).
        patience: epochs without a better mean validation nDCG@k after which training stops; None: never.
        learning_rate: the peak, of AdamW.
        weight_decay: of AdamW.
        precision: ``fp32`` or ``bf16``.
        device: ``cpu`` or ``cuda``.
        seed: of the initial weights and of training.
    """

    rates: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0)
    categorical: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    query: tuple[str, ...] | Literal["auto"] = ()
    connectivity: str = "nested"
    transform: TransformKind = "quantile"
    min_count: int = 1
    unknown_ids: float = 0.02
    embedding: int = 16
    hidden: tuple[int, ...] = (512, 512)
    residual: bool = True
    dropout: float = 0.2
    loss: Loss = "listwise"
    k: int = 10
    scheme: SchemeName = "joint"
    weights: tuple[float, ...] | None = None
    distill: float = 0.0
    own: float | None = None
    survival: float = 0.0
    keep: tuple[float, ...] | None = None
    batch_rows: int = 512
    epochs: int = 15
    patience: int | None = 10
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    precision: Precision = "fp32"
    device: Device = "cpu"
    seed: int = 0

    def training_scheme(self) -> Scheme:
        """What a training step does.

        Raises:
            SlicingError: for settings that make no scheme.
        """
        for name, kind in (("loss", Loss), ("scheme", SchemeName)):
            if getattr(self, name) not in get_args(kind):
                raise SlicingError(f"{name} must be one of {list(get_args(kind))}, got {getattr(self, name)!r}")
        criteria: dict[str, Criterion] = {
            "lambda": LambdaLoss(self.k),
            "listwise": ListwiseSoftmax(),
            "bce": PointwiseBCE(),
            "mse": PointwiseMSE(),
        }
        criterion = criteria[self.loss]
        if self.scheme == "joint":
            return self._joint(criterion)
        self._refuse_joint_settings()
        if self.scheme == "sampled":
            return Sampled(criterion=criterion)
        return Sandwich(criterion=criterion, distillation=ListDistillation())

    def _joint(self, criterion: Criterion) -> Scheme:
        weights = checked_weights((1.0,) * len(self.rates) if self.weights is None else self.weights)
        mean = [weight / sum(weights) for weight in weights]
        own = self.own
        if own is None:
            own = 0.0 if Connectivity(self.connectivity).recomputes else NESTED_OWN
        joint = Joint(mean, self.distill, criterion, ListDistillation(), own)
        if self.survival == 0:
            if self.keep is not None:
                raise SlicingError(
                    f"keep has a meaning with survival above 0 alone, got {self.keep} without; give both or neither"
                )
            return joint
        if self.keep is None:
            raise SlicingError(
                f"survival needs keep, each rate's budget of candidates, got {self.survival} alone; try 0.6,0.4,0.25,10"
            )
        return JointSurvival(self.keep, self.survival, joint)

    def _refuse_joint_settings(self) -> None:
        unset = {"weights": None, "distill": 0.0, "own": 0.0, "survival": 0.0, "keep": None}
        for name, nothing in unset.items():
            if getattr(self, name) not in (nothing, None):
                raise SlicingError(
                    f"{name} is a setting of joint training, got {getattr(self, name)!r} with the scheme "
                    f"{self.scheme!r}; leave it out, or take the scheme 'joint'"
                )

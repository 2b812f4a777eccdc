"""What `simulate cascade` is asked to do, with the defaults of each data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulations.paper import RATES

Model = Literal["vgg13", "vgg16", "resnet-164-1", "resnet-56-2", "wrn-28-10", "small-cnn", "mlp"]
SchemeName = Literal["auto", "joint", "sampled", "sandwich"]


@dataclass(frozen=True)
class DataDefaults:
    """What suits a data set: a network, and passes over it that bring a network near its best."""

    model: Model
    epochs: int
    batch_size: int


DEFAULTS = {
    "digits": DataDefaults("small-cnn", 12, 32),
    "fashion-mnist": DataDefaults("small-cnn", 15, 128),
    "cifar10": DataDefaults("vgg13", 30, 128),
    "cifar100": DataDefaults("vgg13", 30, 128),
    "images": DataDefaults("vgg13", 30, 128),
}


@dataclass(frozen=True)
class CascadeSettings:
    """One run of the cascade simulation.

    Attributes:
        out: folder of the report, the checkpoints and the networks.
        data: name of the data set; data_dir, download, image_size, train_limit, workers as in :func:`data.load_images`.
        model: the architecture; None is the data set's default.
        width: factor on the architecture's units.
        rates: the stages' slice rates, rising to 1.0.
        connectivity: of the sliced networks to train, each as :class:`slicing.Connectivity` reads it, one system each;
            dense gives a second one with reuse.
        scheme: how a sliced network is trained; ``auto`` is sampled when dense, else joint.
        distribution: of the sampled rates, ``normal`` or ``uniform`` (Equation 10).
        weights: of the rates' losses, narrowest first (joint); None is :class:`slicing.Joint`'s own choice.
        distill: share of the narrower rates' loss that is distilled from the widest, in [0, 1] (joint).
        own: share of the wider rates' loss that is of what their block alone adds, in [0, 1) (joint, nested).
        epochs: None is the data set's default; so is batch_size.
        augment: the standard crop and flip (section 5.3.1).
        resume: go on from the checkpoints in ``out``.
    """

    out: Path
    data: str = "digits"
    data_dir: Path | None = None
    download: bool = False
    image_size: int | None = None
    train_limit: int | None = None
    model: Model | None = None
    width: float = 1.0
    rates: tuple[float, ...] = tuple(RATES)
    connectivity: tuple[str, ...] = ("nested",)
    scheme: SchemeName = "auto"
    distribution: Literal["normal", "uniform"] = "normal"
    weights: tuple[float, ...] | None = None
    distill: float = 0.0
    own: float = 0.0
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float = 0.1
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["cpu", "cuda"] = "cpu"
    augment: bool = True
    seed: int = 0
    resume: bool = False
    workers: int | None = None

    @property
    def defaults(self) -> DataDefaults:
        """The data set's defaults; those of CIFAR-10 for a name that the loader will refuse."""
        return DEFAULTS.get(self.data, DEFAULTS["cifar10"])

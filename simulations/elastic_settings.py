"""What the experiments on elastic image networks are asked to do: how large they are, and the settings of one run."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from slicing import SlicingError

ScaleName = Literal["smoke", "small", "paper"]


@dataclass(frozen=True)
class Residual:
    """A residual network of `tradeoff`.

    Attributes:
        name: what its systems and checkpoints begin with.
        depth, widening: L and k of ResNet-L-k, or of WRN-L-k where ``wide``.
        shallower: depths of the networks that cutting its width is compared with, rising.
        epochs: of each network of this architecture; None is the scale's.
    """

    name: str
    depth: int
    widening: float
    wide: bool = False
    shallower: tuple[int, ...] = ()
    epochs: int | None = None

    @property
    def title(self) -> str:
        """As the paper writes it."""
        return f"{'WRN' if self.wide else 'ResNet'}-{self.depth}-{self.widening:g}"


@dataclass(frozen=True)
class ImageScale:
    """How large an experiment is.

    Attributes:
        data: the data set. chain: the chain of convolutions; width: factor on its units.
        residual: the residual networks of `tradeoff`; the first is the one that other ways to save are compared with,
            without any there are no others.
        train_limit: images to learn from; None for all.
        epochs, batch_size, learning_rate: of every network.
        sparsity: lambda of Network Slimming. The penalty works through steps times learning rate, so the fewer steps
            the larger: its authors' 1e-4 is for long trainings.
        image_size: side in pixels of the squares that a folder's images become.
        warmup: share of the steps in which the learning rate rises.
        dropout: of VGG-16's dense layers.
    """

    data: str
    chain: Literal["small-cnn", "vgg13", "vgg16"]
    width: float
    residual: tuple[Residual, ...]
    train_limit: int | None
    epochs: int
    batch_size: int
    learning_rate: float
    sparsity: float = 0.0
    image_size: int | None = None
    warmup: float = 0.05
    dropout: float = 0.5

    def for_epochs(self, epochs: int) -> "ImageScale":
        """The same with this many epochs for every network."""
        residual = tuple(replace(each, epochs=None) for each in self.residual)
        return replace(self, epochs=epochs, residual=residual)

    def plain(self) -> dict[str, Any]:
        """As plain types that JSON carries."""
        return {**vars(self), "residual": [{**asdict(each), "shallower": [*each.shallower]} for each in self.residual]}


_RESNET_20 = Residual("resnet", 20, 1, shallower=(11,))
_PAPERS = (  # section 5.3.2, Table 1
    Residual("resnet", 164, 1, shallower=(56, 110)),
    Residual("resnet-56-2", 56, 2),
    Residual("wrn-28-10", 28, 10, wide=True, epochs=200),
)
SCALES: dict[ScaleName, ImageScale] = {
    "smoke": ImageScale("digits", "small-cnn", 0.25, (_RESNET_20,), None, 6, 32, 0.1, 1e-2),
    "small": ImageScale("cifar10", "vgg13", 0.25, (_RESNET_20,), 10_000, 8, 32, 0.03, 5e-3),
    "paper": ImageScale("cifar10", "vgg13", 1.0, _PAPERS, None, 300, 128, 0.1, 1e-4),
}
# On ImageNet the paper trained VGG-16 alone. At small its dense layers, which nothing normalises, died within a hundred
# steps unless the learning rate was low and rose slowly; with half of their units dropped it hardly began to learn.
FOLDER_SCALES: dict[ScaleName, ImageScale] = {
    "small": ImageScale("images", "vgg16", 0.25, (), None, 8, 32, 0.003, image_size=64, warmup=0.3, dropout=0.0),
    "paper": ImageScale("images", "vgg16", 1.0, (), None, 90, 128, 0.05, image_size=224),
}


@dataclass(frozen=True)
class ElasticSettings:
    """One run of an experiment.

    Attributes:
        out: folder of the report and the checkpoints.
        scale: the sizes; data_dir: folder of the data set, not needed at ``smoke``.
        data: ``cifar10``, or ``images`` for a folder of one's own; None is the scale's.
        epochs, train_limit: None is the scale's.
        workers: threads that decode a folder's images; None is one for each processor.
        precision: of training; ``bf16`` is autocast.
        resume: go on from the checkpoints in ``out``.
    """

    out: Path
    scale: ScaleName = "smoke"
    data_dir: Path | None = None
    data: Literal["cifar10", "images"] | None = None
    epochs: int | None = None
    train_limit: int | None = None
    workers: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: Literal["cpu", "cuda"] = "cpu"
    seed: int = 0
    resume: bool = False

    @property
    def sizes(self) -> ImageScale:
        """The sizes of scale and data set, with these settings' epochs and limit.

        Raises:
            SlicingError: for a data set that the scale is not of.
        """
        of_data = {each.data: each for each in (SCALES[self.scale], FOLDER_SCALES.get(self.scale)) if each is not None}
        sizes = SCALES[self.scale] if self.data is None else of_data.get(self.data)
        if sizes is None:
            raise SlicingError(
                f"scale {self.scale} must be of {' or '.join(of_data)}, got data {self.data}; pass --scale small or "
                "--scale paper, or leave --data out"
            )
        sizes = sizes if self.train_limit is None else replace(sizes, train_limit=self.train_limit)
        return sizes if self.epochs is None else sizes.for_epochs(self.epochs)

"""What `simulate language-model` is asked to do, at each of its scales."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulations.paper_language import EVERY_EIGHTH, LOWER_BOUND


@dataclass(frozen=True)
class LanguageScale:
    """Sizes of one run.

    Attributes:
        vocabulary: words told apart; train_limit: words of the training text; held_out_limit: words of the validation
            and of the test text. None for all of them.
        embedding, units: of the network at full width; units a multiple of 16.
        batch_size: streams read side by side; steps: words of each in a training step.
        epochs: passes over the training text.
        dropout: behind the embedding and each LSTM layer.
        separate: rates at which a separate network is trained, rising to 1.0.
    """

    vocabulary: int | None
    train_limit: int | None
    held_out_limit: int | None
    embedding: int
    units: int
    batch_size: int
    steps: int
    epochs: int
    dropout: float
    separate: tuple[float, ...]


SCALES = {
    "smoke": LanguageScale(800, 30_000, 10_000, 64, 64, 10, 20, 3, 0.2, (0.25, 1.0)),
    "small": LanguageScale(2_000, 100_000, 30_000, 96, 96, 20, 35, 3, 0.2, (0.25, 0.5, 1.0)),
    "paper": LanguageScale(None, None, None, 650, 640, 20, 35, 40, 0.5, EVERY_EIGHTH),
}


@dataclass(frozen=True)
class LanguageSettings:
    """One run of the language-model simulation.

    Attributes:
        out: folder of the report and the checkpoints.
        scale: the sizes.
        data_dir: folder of Penn Treebank or WikiText files; None is the Python reference that comes with Python.
        lower_bound: lb, the narrowest rate that the dense sliced network is trained at.
        learning_rate: at the beginning; it is quartered after an epoch that does not lower the validation perplexity.
        clip: largest norm of the gradients.
        resume: go on from the checkpoints in ``out``.
    """

    out: Path
    scale: LanguageScale = SCALES["smoke"]
    data_dir: Path | None = None
    lower_bound: float = LOWER_BOUND
    learning_rate: float = 20.0
    clip: float = 0.25
    device: Literal["cpu", "cuda"] = "cpu"
    seed: int = 0
    resume: bool = False

"""What `simulate degradation` is asked to do, and what each scale stands for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from simulations.settings import CascadeSettings, Model

RATES = (0.25, 0.375, 0.5, 0.75, 1.0)
"""A quarter of the width costs about a sixteenth: what 16 times the load needs."""

PEAK_LOAD = 0.5
"""Leaves the bursts of Poisson arrivals, and a machine that serves slower than it was measured, some room."""

LARGE = (1, 4, 16, 64, 256, 1024, 4096)
"""Up to the batches of a peak: memory makes an image of thousands dearer than one of hundreds."""


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        data, model, width, train_limit, epochs, batch_size, learning_rate: as in `CascadeSettings`.
        rates: of the sliced network, rising to 1.0; the small separate model has the first.
        candidates: images in a request.
        latency: T in seconds.
        virtual_seconds, live_seconds: length of the trace in virtual time and for real.
        sizes: batch sizes, in images, at which the service times are measured, rising from 1.
        repeats: of each measurement.
    """

    data: str
    model: Model
    width: float
    train_limit: int | None
    epochs: int
    batch_size: int
    learning_rate: float
    candidates: int
    latency: float
    virtual_seconds: float
    live_seconds: float
    rates: tuple[float, ...] = RATES
    sizes: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    repeats: int = 5


SCALES = {
    "smoke": Scale("digits", "small-cnn", 0.5, None, 8, 32, 0.1, 16, 0.4, 600.0, 12.0),
    "small": Scale("cifar10", "vgg13", 0.25, 8000, 5, 32, 0.02, 16, 1.0, 3600.0, 72.0, sizes=LARGE),
    "paper": Scale("cifar10", "vgg13", 1.0, None, 300, 128, 0.1, 16, 1.0, 7200.0, 600.0, sizes=LARGE),
}


@dataclass(frozen=True)
class DegradationSettings:
    """One run of the degradation experiment.

    Attributes:
        out: folder of the report, the networks and the finished parts.
        scale: a scale of `SCALES`, or one's own.
        data_dir, download, device: as in `CascadeSettings`.
        trace: CSV file of the load, see `read_profile`; None is the volatile day.
        latency: T in seconds, above 0; None is the scale's.
        peak_load: requests at the trace's peak, as a share of what the narrowest rate scores in time, in (0, 1]. None
            is `PEAK_LOAD`, except that in virtual time a CSV file keeps its own requests per second.
        headroom: share, at least 0, by which for real the measured policies take steps to be slower than measured.
        seed: of weights, order, arrivals and which image is asked for.
        resume: go on from what an earlier run left in `out`.
    """

    out: Path
    scale: Scale = SCALES["smoke"]
    data_dir: Path | None = None
    download: bool = False
    device: Literal["cpu", "cuda"] = "cpu"
    trace: Path | None = None
    latency: float | None = None
    peak_load: float | None = None
    headroom: float = 0.25
    seed: int = 0
    resume: bool = False

    @property
    def limit(self) -> float:
        """T in seconds."""
        return self.scale.latency if self.latency is None else self.latency

    @property
    def scaled_peak_load(self) -> float:
        """`peak_load` wherever the peak is scaled."""
        return PEAK_LOAD if self.peak_load is None else self.peak_load

    def training(self) -> CascadeSettings:
        """How the networks are made and trained."""
        scale = self.scale
        return CascadeSettings(
            out=self.out,
            data=scale.data,
            data_dir=self.data_dir,
            download=self.download,
            train_limit=scale.train_limit,
            model=scale.model,
            width=scale.width,
            rates=scale.rates,
            epochs=scale.epochs,
            batch_size=scale.batch_size,
            learning_rate=scale.learning_rate,
            device=self.device,
            seed=self.seed,
            resume=self.resume,
        )

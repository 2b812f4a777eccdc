"""Figure 7: how the normalisation's scales grow, group by group, while a sliced network is trained (section 5.4.1)."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from simulations.elastic import GROUPS, SIXTEENTHS, Workbench
from simulations.elastic_settings import ElasticSettings
from simulations.epoch_records import EpochRecords
from simulations.paper_images import LOWER_BOUND
from simulations.report.schema import Report
from slicing import Sampled, SlicedGroupNorm, SlicedNetwork
from slicing.files import atomic_path
from slicing.progress import Progress


def simulate_scaling_factors(settings: ElasticSettings, command: str, progress: Progress | None = None) -> Report:
    """Train a sliced network, keeping its scales after every epoch; write the report, images and a CSV.

    Raises:
        ValueError: for bad input, in one line.
    """
    bench = Workbench(settings, progress)
    network = bench.sliced(bench.chain(), [rate for rate in SIXTEENTHS if rate >= LOWER_BOUND])
    layers = _first_of_the_last_groups(network)
    records = EpochRecords(settings.out / "checkpoints" / "sliced.epochs.json", _scales, settings.resume)
    result = bench.fit("sliced", network, Sampled(), on_epoch=records)
    every = records.of(len(result.history))
    columns, curves, cells, said = [], [], [], []
    for name in layers:
        evolution = np.abs(np.array([epoch[name] for epoch in every]))  # (epochs, channels)
        by_group = evolution.reshape(len(evolution), GROUPS, -1).mean(2)
        _write_image(settings, name, evolution)
        falls = float(spearmanr(np.arange(GROUPS), by_group[-1]).statistic)
        said.append(f"{falls:+.2f} in {name}")
        columns.append([*(f"{value:.3f}" for value in by_group[-1]), f"{falls:+.2f}"])
        curves.append(_curve(name, by_group))
        cells += [
            (name, epoch, group, value)
            for epoch, row in enumerate(by_group.tolist(), start=1)
            for group, value in enumerate(row, start=1)
        ]
    rows = [*(f"g{group}" for group in range(1, GROUPS + 1)), "rank correlation"]
    table = {
        "title": "Mean size of the scales of each group of channels after training (Figure 7)",
        "text": f"Groups 1 to {round(LOWER_BOUND * GROUPS)} are the base network. The last row is the rank "
        "correlation between a group's number and its scale: -1 when they fall from group to group, as the paper's do.",
        "columns": ["group", *(f"layer {name}" for name in layers)],
        "rows": [list(row) for row in zip(rows, *columns, strict=True)],
    }
    headline = "rank correlation between a group's number and the size of its scales: " + ", ".join(said) + "."
    bench.write_csv("scaling_factors.csv", ("layer", "epoch", "group", "mean_scale"), cells)
    return bench.write(command, headline, "scaling factors", tables=[table], curves=curves)


def _scales(network: nn.Module) -> dict[str, list[float]]:
    assert isinstance(network, SlicedNetwork)
    return {
        name: layer.weight.tolist()
        for name, layer in network.layer_modules()
        if isinstance(layer, SlicedGroupNorm) and layer.weight is not None
    }


def _first_of_the_last_groups(network: SlicedNetwork) -> list[str]:
    """The first normalisation of the last three groups of two convolutions: conv3, conv4 and conv5 of VGG-13."""
    norms = [name for name, layer in network.layer_modules() if isinstance(layer, SlicedGroupNorm)]
    return norms[::2][-3:]


def _curve(name: str, by_group: NDArray[np.float64]) -> dict[str, object]:
    """Of the first, the middle and the last epoch, as shares of the largest."""
    largest, last = float(by_group.max()) or 1.0, len(by_group) - 1
    groups = [float(group) for group in range(1, by_group.shape[1] + 1)]
    return {
        "title": f"Scales by group, layer {name}",
        "text": "Mean size in a group of channels, as a share of the largest.",
        "x": "group",
        "y": "share of the largest",
        "x_scale": "linear",
        "series": [
            {"name": f"epoch {epoch + 1}", "x": groups, "y": (by_group[epoch] / largest).tolist()}
            for epoch in sorted({0, last // 2, last})
        ],
    }


def _write_image(settings: ElasticSettings, name: str, evolution: NDArray[np.float64]) -> None:
    """Channels from top to bottom, epochs from left to right, brighter is larger: as the paper draws it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.0, 4.0))
    axes = figure.add_subplot()
    shown = axes.imshow(evolution.T, aspect="auto", interpolation="nearest", cmap="viridis")
    ticks: Sequence[float] = np.linspace(0, evolution.shape[1], GROUPS + 1)[:-1].tolist()
    axes.set_yticks(ticks, [f"g{group}" for group in range(1, GROUPS + 1)], fontsize=7)
    axes.set_xlabel("epoch")
    axes.set_title(f"size of the scales, layer {name}", fontsize=10)
    figure.colorbar(shown)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight")
    with atomic_path(settings.out / f"scales-{name.replace('.', '-')}.png") as temporary:
        temporary.write_bytes(buffer.getvalue())

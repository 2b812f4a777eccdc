"""Figure 8: test error and loss by epoch, of a sliced network at several rates and of the whole fixed one."""

import torch
import torch.nn.functional as F
from torch import nn

from data import ordered_batches
from simulations.elastic import Workbench, percent
from simulations.elastic_settings import ElasticSettings
from simulations.epoch_records import EpochRecords
from simulations.image_training import EVALUATION_BATCH
from simulations.report.schema import Report
from slicing import Plain, Sampled, SlicedNetwork
from slicing.progress import Progress

RATES = (0.375, 0.5, 0.75, 1.0)


def simulate_learning_curves(settings: ElasticSettings, command: str, progress: Progress | None = None) -> Report:
    """Train both networks, judging them after every epoch; write the report and ``learning_curves.csv``.

    The test images are only looked at: the epoch that is kept is chosen by the validation split.

    Raises:
        ValueError: for bad input, in one line.
    """
    bench = Workbench(settings, progress)
    folder = settings.out / "checkpoints"
    series: dict[str, list[tuple[float, float]]] = {}

    def judge(network: nn.Module) -> list[tuple[float, float]]:
        return _error_and_loss(bench, network)

    for name, rates, scheme in (("sliced", RATES, Sampled()), ("full fixed", (1.0,), Plain())):
        network = bench.sliced(bench.chain(), rates)
        file = name.replace(" ", "-")
        records = EpochRecords(folder / f"{file}.epochs.json", judge, settings.resume)
        result = bench.fit(file, network, scheme, on_epoch=records)
        for k, found in enumerate(zip(*records.of(len(result.history)), strict=True)):
            series[f"{name}, rate {rates[k]:g}" if len(rates) > 1 else name] = [tuple(pair) for pair in found]
    epochs = [float(epoch) for epoch in range(1, len(series["full fixed"]) + 1)]
    error = {
        "title": "Test error by epoch (Figure 8)",
        "text": f"{bench.scale_said()}; the paper's figure prints no numbers.",
        "x": "epoch",
        "y": "test error",
        "x_scale": "linear",
        "series": [{"name": name, "x": epochs, "y": [error for error, _ in found]} for name, found in series.items()],
    }
    loss = {
        **error,
        "title": "Test loss by epoch (Figure 8)",
        "y": "cross entropy",
        "y_scale": "log",
        "series": [{"name": name, "x": epochs, "y": [loss for _, loss in found]} for name, found in series.items()],
    }
    table = {
        "title": "After the last epoch",
        "text": "Of the weights as they were then, not of the epoch that validated best.",
        "columns": ["network", "test error (%)", "test loss"],
        "rows": [[name, percent(found[-1][0]), f"{found[-1][1]:.4f}"] for name, found in series.items()],
    }
    half = len(epochs) // 2
    first, last = f"sliced, rate {RATES[0]:g}", f"sliced, rate {RATES[-1]:g}"
    headline = (
        f"after {half + 1} epochs the sliced network errs on {percent(series[last][half][0])}% at rate 1 and "
        f"{percent(series[first][half][0])}% at {RATES[0]:g}, after all {len(epochs)} on "
        f"{percent(series[last][-1][0])}% and {percent(series[first][-1][0])}%; the full fixed network on "
        f"{percent(series['full fixed'][-1][0])}%."
    )
    cells = [(name, epoch, *pair) for name, found in series.items() for epoch, pair in enumerate(found, start=1)]
    bench.write_csv("learning_curves.csv", ("network", "epoch", "test_error", "test_loss"), cells)
    return bench.write(command, headline, "learning curves", tables=[table], curves=[error, loss])


@torch.no_grad()
def _error_and_loss(bench: Workbench, network: nn.Module) -> list[tuple[float, float]]:
    """Test error and mean cross entropy of each rate."""
    assert isinstance(network, SlicedNetwork)
    data, device = bench.data, bench.settings.device
    wrong = torch.zeros(len(network.rates), dtype=torch.float64)
    loss = torch.zeros(len(network.rates), dtype=torch.float64)
    for x, y in ordered_batches(data.test, EVALUATION_BATCH, mean=data.mean, std=data.std):
        target = y.to(device)
        for k, scores in enumerate(network.forward_all(x.to(device))):
            wrong[k] += int((scores.argmax(1) != target).sum())
            loss[k] += F.cross_entropy(scores.float(), target, reduction="sum").item()
    return list(zip((wrong / len(data.test)).tolist(), (loss / len(data.test)).tolist(), strict=True))

"""Figures 2 and 6, Table 3: accuracy against FLOPs of sliced networks and of everything they are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial

from torch import nn

from simulations import tradeoff_tables as shown
from simulations.baselines import Point
from simulations.elastic import SIXTEENTHS, Workbench
from simulations.elastic_settings import ElasticSettings
from simulations.paper_images import LOWER_BOUND
from simulations.report.schema import Report
from simulations.tradeoff_rivals import rivals
from slicing import Joint, Plain, Sampled
from slicing.progress import Progress

EIGHTHS = tuple(k / 8 for k in range(2, 9))  # trained; the 8 normalisation groups of a residual network allow no more
ABOVE = tuple(rate for rate in EIGHTHS if rate >= LOWER_BOUND)
SEPARATE = (0.375, 0.625, 1.0)


def simulate_tradeoff(settings: ElasticSettings, command: str, progress: Progress | None = None) -> Report:
    """Train every system on the same budget, judge all in the same way, write the report and ``tradeoff.csv``.

    Raises:
        ValueError: for bad input, in one line.
    """
    bench = Workbench(settings, progress)
    systems = by_width(bench, bench.sizes.chain, bench.chain, SIXTEENTHS)
    for k, each in enumerate(bench.sizes.residual):
        systems |= by_width(bench, each.name, partial(bench.residual, each), EIGHTHS, each.epochs)
        if k == 0:
            systems |= rivals(bench, each, systems[f"{each.name} widths"][-1])
    cells = [(name, *astuple(point)) for name, points in systems.items() for point in points]
    bench.write_csv("tradeoff.csv", ("system", "point", "flops", "params", "accuracy", "top5"), cells)
    return bench.write(
        command,
        shown.headline(bench, systems),
        "tradeoff",
        tables=[shown.every_point(bench, systems), shown.beside(bench, systems)],
        curves=[shown.against_flops(bench, systems), shown.against_rate(bench, systems)],
    )


def by_width(
    bench: Workbench,
    name: str,
    build: Callable[[], nn.Module],
    judged: Sequence[float],
    epochs: int | None = None,
) -> dict[str, list[Point]]:
    """Sliced, nested, separate, and the whole one sliced afterwards, of one architecture.

    Args:
        bench: of the experiment.
        name: what the systems' names and checkpoints begin with.
        build: makes the plain network at full width.
        judged: rates at which dense networks are judged, trained or not; a nested one has no others than its own.
        epochs: None is the scale's.
    """
    sliced = bench.sliced(build(), ABOVE)
    bench.fit(f"{name}-sliced", sliced, Sampled(), epochs=epochs)
    nested = bench.sliced(build(), ABOVE, "nested")
    bench.fit(f"{name}-nested", nested, Joint(), epochs=epochs)
    separate = []
    for rate in SEPARATE:
        alone = bench.separate(build(), rate)
        bench.fit(f"{name}-separate-{rate:g}", alone, Plain(), epochs=epochs)
        (point,) = bench.points(alone)
        separate.append(replace(point, label=f"{rate:g}"))
    return {
        f"{name} sliced": bench.points(bench.resliced(sliced, judged)),
        f"{name} nested": bench.points(nested),
        f"{name} widths": separate,
        f"{name} lb 1.0": bench.points(bench.resliced(alone, judged)),
    }

"""Figure 3: accuracy of the whole network and of the narrowest, by training scheme (section 5.1.2)."""

from simulations.elastic import Workbench, percent
from simulations.elastic_settings import ElasticSettings
from simulations.report.figures import MISSING
from simulations.report.schema import Report
from slicing import (
    Joint,
    Normal,
    Plain,
    ProgressiveDynamic,
    ProgressiveStatic,
    Sampled,
    Sandwich,
    Scheme,
    Uniform,
)
from slicing.progress import Progress
from slicing.progressive import Phased

LOWER_BOUND = 0.375
RATES = tuple(k / 8 for k in range(3, 9))
SCHEMES: dict[str, Scheme | Phased] = {
    "dynamic-normal": Sampled(Normal()),
    "dynamic-uniform": Sampled(Uniform()),
    "progressive-dynamic": ProgressiveDynamic(),
    "progressive-static": ProgressiveStatic(),
    "sandwich": Sandwich(),
}


def simulate_schedules(settings: ElasticSettings, command: str, progress: Progress | None = None) -> Report:
    """Train a network by each scheme, and the two fixed ones, write the report and ``schedules.csv``.

    Raises:
        ValueError: for bad input, in one line.
    """
    bench = Workbench(settings, progress)
    rows, cells = [], []
    ends: dict[str, tuple[float, float]] = {}
    for name, scheme in [*SCHEMES.items(), ("nested-joint", Joint())]:
        network = bench.sliced(bench.chain(), RATES, "nested" if name == "nested-joint" else "dense")
        turns = len(RATES) if isinstance(scheme, ProgressiveStatic) else 1
        result = bench.fit(name, network, scheme, epochs=turns * bench.sizes.epochs)
        points = bench.points(network)
        ends[name] = points[-1].accuracy, points[0].accuracy
        rows.append([name, *(percent(point.accuracy) for point in reversed(points)), f"{result.seconds:.0f}"])
        cells += [(name, point.label, point.accuracy, result.seconds) for point in points]
    fixed = {}
    for rate in (LOWER_BOUND, 1.0):
        network = bench.separate(bench.chain(), rate)
        result = bench.fit(f"separate-{rate:g}", network, Plain())
        fixed[rate] = bench.points(network)[0].accuracy
        cells.append((f"separate-{rate:g}", f"{rate:g}", fixed[rate], result.seconds))
    ends["separate"] = fixed[1.0], fixed[LOWER_BOUND]
    between = [MISSING] * (len(RATES) - 2)
    rows.append(["separate networks", percent(fixed[1.0]), *between, percent(fixed[LOWER_BOUND]), MISSING])
    table = {
        "title": "Test accuracy (%) by training scheme (Figure 3)",
        "text": "Figure 3 draws the first column against the one at the lower bound and prints no numbers. Every "
        f"scheme has {bench.sizes.epochs} epochs, progressive static for each of its {len(RATES)} rates in turn, as in "
        "the paper.",
        "columns": ["scheme", *(f"{rate:g}" for rate in reversed(RATES)), "training s"],
        "rows": rows,
    }
    curve = {
        "title": "Whole network against the lower bound",
        "text": "A point a scheme: right and high is better.",
        "x": "accuracy at rate 1 (%)",
        "y": f"accuracy at rate {LOWER_BOUND:g}",
        "x_scale": "linear",
        "series": [{"name": name, "x": [100 * full], "y": [low]} for name, (full, low) in ends.items()],
    }
    best = max(SCHEMES, key=lambda name: sum(ends[name]))
    headline = (
        f"of the dense schemes {best} has the best mean of both ends, {percent(ends[best][0])}% whole and "
        f"{percent(ends[best][1])}% at {LOWER_BOUND:g}; the nested network {percent(ends['nested-joint'][0])}% and "
        f"{percent(ends['nested-joint'][1])}%, separate networks {percent(fixed[1.0])}% and "
        f"{percent(fixed[LOWER_BOUND])}%."
    )
    bench.write_csv("schedules.csv", ("scheme", "rate", "accuracy", "training_seconds"), cells)
    return bench.write(command, headline, "schedules", tables=[table], curves=[curve])

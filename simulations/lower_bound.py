"""Figure 4 and Table 3: accuracy by slice rate of networks trained with several lower bounds (section 5.1.3)."""

from typing import Any

from simulations import paper_images as paper
from simulations.elastic import SIXTEENTHS, Workbench, percent
from simulations.elastic_settings import ElasticSettings
from simulations.report.schema import Report
from slicing import Plain, Sampled
from slicing.progress import Progress

LOWER_BOUNDS = (0.25, 0.375, 0.5, 0.75, 1.0)


def simulate_lower_bound(settings: ElasticSettings, command: str, progress: Progress | None = None) -> Report:
    """Train a network for each lower bound, judge each at every 1/16, write the report and ``lower_bound.csv``.

    Raises:
        ValueError: for bad input, in one line.
    """
    bench = Workbench(settings, progress)
    found = {}
    for bound in LOWER_BOUNDS:
        network = bench.sliced(bench.chain(), [rate for rate in SIXTEENTHS if rate >= bound])
        bench.fit(f"lb-{bound:g}", network, Sampled() if bound < 1 else Plain())
        found[bound] = bench.points(bench.resliced(network, SIXTEENTHS))
    table: dict[str, Any] = {
        "title": "Test error (%) by slice rate (Table 3, Figure 4)",
        "text": f"Ours: {bench.scale_said()}, rates drawn by Equation 10 from the lower bound up, a network for each. "
        f"The paper's: {paper.SETTING}; compare the shapes of the columns, not the numbers.",
        "columns": ["rate", *(f"lb {bound:g}" for bound in found), *(f"paper {name[7:]}" for name in paper.ERROR)],
        "rows": [
            [
                f"{rate:g}",
                *(percent(1 - points[SIXTEENTHS.index(rate)].accuracy) for points in found.values()),
                *(f"{errors[k]:g}" for errors in paper.ERROR.values()),
            ]
            for k, rate in enumerate(paper.RATES)
        ],
    }
    curve = {
        "title": "Accuracy by slice rate",
        "text": "A network for each lower bound, judged at every 1/16 (Figure 4).",
        "x": "slice rate",
        "y": "test accuracy",
        "x_scale": "linear",
        "series": [
            {"name": f"lb {bound:g}", "x": list(SIXTEENTHS), "y": [point.accuracy for point in points]}
            for bound, points in found.items()
        ],
    }
    whole, sliced = found[1.0], found[0.375]
    half = SIXTEENTHS.index(0.5)
    headline = (
        f"trained with lb 0.375 the network errs on {percent(1 - sliced[-1].accuracy)}% at rate 1 and "
        f"{percent(1 - sliced[half].accuracy)}% at 0.5; trained whole and sliced afterwards on "
        f"{percent(1 - whole[-1].accuracy)}% and {percent(1 - whole[half].accuracy)}%."
    )
    cells = [
        (bound, point.label, point.flops, point.params, point.accuracy)
        for bound, points in found.items()
        for point in points
    ]
    bench.write_csv("lower_bound.csv", ("lower_bound", "rate", "flops", "params", "accuracy"), cells)
    return bench.write(command, headline, "lower bound", tables=[table], curves=[curve])

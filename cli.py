"""The command line: parses, calls, prints. Heavy packages are imported inside the commands, so --help is instant."""

from pathlib import Path
from typing import Any, Literal

import click

from simulations import data_commands, image_commands, promise_command, result_commands, table_commands
from simulations.command_line import command_text as _command
from simulations.command_line import loss_weights as _loss_weights
from simulations.command_line import one_line_errors as _one_line_errors
from simulations.command_line import query_features as _query_features
from simulations.command_line import rates as _rates
from simulations.command_line import sizes as _sizes

EXAMPLE_CASCADE = """
\b
Examples:
  slicerank simulate cascade --out out/demo
  slicerank simulate cascade --data cifar10 --data-dir DIR --width 0.5 --connectivity nested --connectivity dense
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="slicerank")
def main() -> None:
    """Cascade ranking with one sliced network instead of one model per stage.

    \b
    Example:
      slicerank simulate cascade --out out/demo
    """


@main.group()
def simulate() -> None:
    """Run an experiment of the paper and write its report.

    \b
    Example:
      slicerank simulate cascade --out out/demo
    """


@simulate.command(epilog=EXAMPLE_CASCADE)
@click.option(
    "--data",
    type=click.Choice(["digits", "cifar10", "cifar100", "fashion-mnist", "images"]),
    default="digits",
    show_default=True,
    help="Data set; digits ships with scikit-learn, images is a folder with a subfolder for each class.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the data set.")
@click.option("--download", is_flag=True, help="Download the data set into --data-dir when it is not there.")
@click.option("--image-size", type=int, help="Resize and crop to this many pixels (images only).")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Threads that decode images (images only) [default: one a processor]."
)
@click.option("--train-limit", type=int, help="Train on this many images only, evenly over the classes.")
@click.option(
    "--model",
    type=click.Choice(["vgg13", "vgg16", "resnet-164-1", "resnet-56-2", "wrn-28-10", "small-cnn", "mlp"]),
    help="Architecture [default: by data set].",
)
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on the architecture's units.")
@click.option(
    "--rates",
    callback=_rates,
    default="0.375,0.5,0.625,0.75,0.875,1.0",
    show_default=True,
    help="Slice rates of the stages, rising to 1.0.",
)
@click.option(
    "--connectivity",
    multiple=True,
    default=["nested"],
    show_default=True,
    help="nested, dense, or mixed@RATE+RATE: nested, with everything recomputed at these rates; by layer with "
    ",LAYER=RULE, such as nested,0=trunk. Repeatable, to compare.",
)
@click.option(
    "--scheme",
    type=click.Choice(["auto", "joint", "sampled", "sandwich"]),
    default="auto",
    show_default=True,
    help="How a sliced network is trained; auto is sampled (the paper's) for dense, else joint.",
)
@click.option(
    "--distribution",
    type=click.Choice(["normal", "uniform"]),
    default="normal",
    show_default=True,
    help="Distribution of the sampled rates (Equation 10).",
)
@click.option(
    "--weights",
    callback=_loss_weights,
    help="Weights of the rates' losses (joint) [default: .3,.15,..,1 over their sum].",
)
@click.option("--distill", type=float, default=0.0, show_default=True, help="Share of distillation (joint).")
@click.option(
    "--own", type=float, default=0.0, show_default=True, help="Share of each block's own loss (joint, nested)."
)
@click.option("--lateral", type=float, default=1.0, show_default=True, help="Initial narrow-to-wide weights (nested).")
@click.option("--epochs", type=int, help="Passes over the training images [default: by data set].")
@click.option("--batch", "batch_size", type=int, help="Images in a training step [default: by data set].")
@click.option("--learning-rate", type=float, default=0.1, show_default=True, help="Peak learning rate.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--augment/--no-augment", default=True, show_default=True, help="Random crops and flips.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order, augmentation and split.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/cascade"), show_default=True, help="Folder to write."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@_one_line_errors
def cascade(quiet: bool, out: Path, **options: Any) -> None:
    """One sliced network against a cascade of separate ones (paper, section 5.4.4).

    Trains both on images, runs the paper's protocol and a retrieval protocol, prints the tables and writes
    report.json, report.html, heatmaps and CSV.
    """
    from rich.console import Console

    from simulations.cascade import simulate_cascade
    from simulations.report import terminal_table
    from simulations.settings import CascadeSettings
    from slicing.progress import default_progress

    settings = CascadeSettings(out=out, **options)
    report = simulate_cascade(settings, _command(), default_progress(quiet))
    terminal_table(report, Console(), out)


EXAMPLE_NESTING = """
\b
Examples:
  slicerank simulate nesting --out out/nesting
  slicerank simulate nesting --data cifar10 --data-dir DIR --width 0.25 --train-limit 8000 --seeds 0
"""


@simulate.command(epilog=EXAMPLE_NESTING)
@click.option(
    "--system",
    "systems",
    multiple=True,
    type=click.Choice(
        [
            "separate",
            "dense-sampled",
            "dense-sandwich",
            "nested",
            "nested-recipe",
            "nested-even",
            "nested-wide",
            "mixed",
        ]
    ),
    help="Run this system only; repeatable [default: all].",
)
@click.option("--seeds", callback=_sizes, default="0,1,2", show_default=True, help="A run of every system for each.")
@click.option("--widen", type=float, default=1.25, show_default=True, help="Factor on the width of nested-wide.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/nesting"), show_default=True, help="Folder to write."
)
@_one_line_errors
def nesting(
    quiet: bool, out: Path, systems: tuple[str, ...], seeds: tuple[int, ...], widen: float, **options: Any
) -> None:
    """What nesting costs: separate, dense sliced and nested networks on the same data and budget.

    Trains every system with every seed, runs the paper's protocol, prints mean and spread and writes nesting.csv
    beside the report. --weights, --distill, --own and --lateral hold for nested, nested-wide and mixed.
    """
    from rich.console import Console

    from simulations.nesting import SYSTEMS, NestingSettings, simulate_nesting
    from simulations.report import terminal_table
    from simulations.settings import CascadeSettings
    from slicing.progress import default_progress

    base = CascadeSettings(out=out, **options)
    settings = NestingSettings(base, seeds, systems or tuple(SYSTEMS), widen)
    report = simulate_nesting(settings, _command(), default_progress(quiet))
    terminal_table(report, Console(), out)


_OWN_TO_CASCADE = ("connectivity", "scheme", "distribution", "seed", "out")
nesting.params += [option for option in cascade.params if option.name not in _OWN_TO_CASCADE]


EXAMPLE_RANKING = """
\b
Examples:
  slicerank simulate ranking --out out/ranking
  slicerank simulate ranking --data mq2008 --data-dir DIR
  slicerank simulate ranking --data prepared --data-dir TABLES --fold 1 --system sliced-nested --system separate
"""


@simulate.command(epilog=EXAMPLE_RANKING)
@click.option(
    "--data",
    type=click.Choice(["synthetic", "mq2008", "movielens", "prepared"]),
    default="synthetic",
    show_default=True,
    help="Candidate tables: synthetic ones are made; prepared is a folder that `slicerank data` wrote.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the originals, or the prepared one.")
@click.option("--fold", "folds", multiple=True, type=int, help="Run this fold only, from 1; repeatable.")
@click.option(
    "--system",
    "systems",
    multiple=True,
    type=click.Choice(["sliced-nested", "separate", "linear-first", "trees-prefix", "trees-separate"]),
    help="Run this system only; repeatable [default: all].",
)
@click.option(
    "--rates", callback=_rates, default="0.125,0.25,0.5,1.0", show_default=True, help="Slice rates of the stages."
)
@click.option(
    "--keep",
    callback=_rates,
    default="0.6,0.4,0.25",
    show_default=True,
    help="What each stage but the last keeps, as shares of the candidates a query began with.",
)
@click.option("--final-k", type=click.IntRange(min=1), default=10, show_default=True, help="What the last stage keeps.")
@click.option("--hidden", callback=_sizes, default="512,512", show_default=True, help="Units of the hidden layers.")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training queries at most.")
@click.option("--tiers", type=click.Path(path_type=Path), help="TOML file of feature tiers, as of `slicerank train`.")
@click.option("--query-features", "query", callback=_query_features, help="As of `slicerank train`.")
@click.option("--distill", type=float, default=0.0, show_default=True, help="Share of distillation in joint training.")
@click.option("--trees", type=click.IntRange(min=1), default=300, show_default=True, help="Boosting rounds at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order, sampling and trees.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Train everything with this many seeds, from --seed on; a query's mean over them is compared.",
)
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/ranking"), show_default=True, help="Folder to write."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@_one_line_errors
def ranking(
    quiet: bool,
    folds: tuple[int, ...],
    systems: tuple[str, ...],
    rates: tuple[float, ...],
    hidden: tuple[int, ...],
    epochs: int | None,
    tiers: Path | None,
    query: tuple[str, ...] | Literal["auto"],
    distill: float,
    **options: Any,
) -> None:
    """One nested ranker against cascades of separate networks, linear models and trees, on candidate tables.

    Trains all of them on every fold, runs the cascades over the test queries, prints quality, cost and paired tests
    and writes report.json, report.html, heatmaps and CSV.
    """
    from dataclasses import replace

    from rich.console import Console

    from simulations.ranking import simulate_ranking
    from simulations.ranking_settings import SYSTEMS, RankingSettings
    from simulations.report import terminal_table
    from simulations.tiers_file import read_tiers
    from slicing import RankerSettings
    from slicing.progress import default_progress

    declared = () if tiers is None else read_tiers(tiers)
    ranker = RankerSettings(rates=rates, hidden=hidden, distill=distill, tiers=declared, query=query)
    if epochs is not None:
        ranker = replace(ranker, epochs=epochs)
    settings = RankingSettings(folds=folds or None, systems=systems or SYSTEMS, ranker=ranker, **options)
    report = simulate_ranking(settings, _command(), default_progress(quiet))
    terminal_table(report, Console(), settings.out)


EXAMPLE_LANGUAGE_MODEL = """
\b
Examples:
  slicerank simulate language-model --out out/language-model
  slicerank simulate language-model --scale small --data-dir WIKITEXT2
"""


@simulate.command("language-model", epilog=EXAMPLE_LANGUAGE_MODEL)
@click.option(
    "--scale",
    type=click.Choice(["smoke", "small", "paper"]),
    default="smoke",
    show_default=True,
    help="smoke: 64 units, two minutes; small: 128 units, WikiText-2's beginning; paper: 640 units, for a GPU.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of Penn Treebank or WikiText files [default at smoke: the Python reference].",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training text [default: by scale].")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, dropout and drawn rates.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/language-model"),
    show_default=True,
    help="Folder to write.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@_one_line_errors
def language_model(quiet: bool, scale: str, data_dir: Path | None, epochs: int | None, **options: Any) -> None:
    """Perplexity by slice rate of a two-layer LSTM language model (paper, section 5.2).

    Trains a sliced network, a nested one and separate ones, judges each at every rate, prints ours beside the paper's
    Table 2 and writes report.json, report.html, plots and CSV.
    """
    from dataclasses import replace

    from rich.console import Console

    from simulations.language_model import simulate_language_model
    from simulations.language_settings import SCALES, LanguageSettings
    from simulations.report import terminal_table
    from slicing.progress import default_progress

    if data_dir is None and scale != "smoke":
        raise click.UsageError(f"scale {scale} needs a text; pass --data-dir with a folder of PTB or WikiText files")
    sizes = SCALES[scale] if epochs is None else replace(SCALES[scale], epochs=epochs)
    settings = LanguageSettings(scale=sizes, data_dir=data_dir, **options)
    report = simulate_language_model(settings, _command(), default_progress(quiet))
    terminal_table(report, Console(), settings.out)


EXAMPLE_DEGRADATION = """
\b
Examples:
  slicerank simulate degradation --out out/degradation
  slicerank simulate degradation --scale small --data-dir DIR
  slicerank simulate degradation --trace load.csv --latency 0.2
"""


@simulate.command(epilog=EXAMPLE_DEGRADATION)
@click.option(
    "--scale",
    type=click.Choice(["smoke", "small", "paper"]),
    default="smoke",
    show_default=True,
    help="smoke: digits, minutes; small: CIFAR-10 at a quarter of VGG-13's width; paper: all of it, for a GPU.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of CIFAR-10 (small and paper).")
@click.option("--download", is_flag=True, help="Download the data set into --data-dir when it is not there.")
@click.option("--trace", type=click.Path(path_type=Path), help="CSV of the load, columns seconds and requests.")
@click.option("--latency", type=float, help="T, seconds in which a request shall be answered [default: by scale].")
@click.option(
    "--peak-load",
    type=float,
    default=0.6,
    show_default=True,
    help="Load at the trace's peak, as a share of what the narrowest rate scores in time.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order, arrivals and images.")
@click.option("--resume", is_flag=True, help="Go on from what an earlier run left in --out.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/degradation"),
    show_default=True,
    help="Folder to write.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
@_one_line_errors
def degradation(quiet: bool, scale: str, **options: Any) -> None:
    """A service with a latency limit under a volatile load (paper, section 4.1): seven policies compared.

    Trains a sliced network and two separate ones, measures them on this machine, serves a trace in virtual time and
    for real, prints who was answered in time and how well, and writes report.json, report.html, plots and CSV.
    """
    from rich.console import Console

    from simulations.degradation import SCALES, DegradationSettings, simulate_degradation
    from simulations.report import terminal_table
    from slicing.progress import default_progress

    settings = DegradationSettings(scale=SCALES[scale], **options)
    report = simulate_degradation(settings, _command(), default_progress(quiet))
    terminal_table(report, Console(), settings.out)


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True, help="Folder to write."
)
@click.option("--case", "cases", multiple=True, help="Run this case only; repeatable.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of torch, for both sides [default: torch's own].")
@_one_line_errors
def bench(out: Path, cases: tuple[str, ...], threads: int | None) -> None:
    """Time SliceRank against plain torch and polars, side by side, and write bench.json.

    \b
    Example:
      slicerank bench --case mlp-funnel --threads 1
    """
    from bench.run import run

    run(out, cases, threads)


for _each in (data_commands.data, *table_commands.COMMANDS, *result_commands.COMMANDS):
    main.add_command(_each)
for _each in (promise_command.promise, *image_commands.COMMANDS):
    simulate.add_command(_each)


if __name__ == "__main__":
    main()

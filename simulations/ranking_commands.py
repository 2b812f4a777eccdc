"""The commands `simulate ranking` and `simulate promise`. Heavy packages are imported inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from simulations.command_line import COUNT, SEED, final_k, query_features, rates, sizes
from simulations.experiment_command import experiment_command

if TYPE_CHECKING:
    from simulations.report import Report
    from slicing.progress import Progress


@experiment_command(
    "ranking",
    examples=[
        "ranking --out out/ranking",
        "ranking --data mq2008 --data-dir DIR",
        "ranking --data prepared --data-dir TABLES --fold 1 --system sliced-nested --system separate",
        "ranking --seeds 3 --system separate --system dense-sampled --system sliced-nested --system mixed",
    ],
)
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
    type=click.Choice(
        [
            "sliced-nested",
            "nested-wider",
            "separate",
            "linear-first",
            "trees-prefix",
            "trees-separate",
            "dense-sampled",
            "dense-sampled-reuse",
            "dense-sandwich",
            "dense-sandwich-reuse",
            "mixed",
        ]
    ),
    help="Run this system; repeatable [default: the first six].",
)
@click.option(
    "--rates", callback=rates, default="0.125,0.25,0.5,1.0", show_default=True, help="Slice rates of the stages."
)
@click.option(
    "--keep",
    callback=rates,
    default="0.6,0.4,0.25",
    show_default=True,
    help="What each stage but the last keeps, as shares of the candidates a query began with.",
)
@click.option("--final-k", type=COUNT, default=10, show_default=True, help="What the last stage keeps.")
@click.option(
    "--reinvest",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of what the nested cascade saves that nested-wider spends on keeping more at each stage.",
)
@click.option("--hidden", callback=sizes, default="512,512", show_default=True, help="Units of the hidden layers.")
@click.option("--epochs", type=COUNT, help="Passes over the training queries at most.")
@click.option("--tiers", type=click.Path(path_type=Path), help="TOML file of feature tiers, as of `slicerank train`.")
@click.option("--query-features", "query", callback=query_features, help="As of `slicerank train`.")
@click.option("--distill", type=float, default=0.0, show_default=True, help="Share of distillation in joint training.")
@click.option("--trees", type=COUNT, default=300, show_default=True, help="Boosting rounds at most.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of weights, order, sampling and trees.")
@click.option(
    "--seeds",
    type=COUNT,
    default=1,
    show_default=True,
    help="Train everything with this many seeds, from --seed on; a query's mean over them is compared.",
)
def ranking(
    command: str,
    progress: Progress | None,
    folds: tuple[int, ...],
    systems: tuple[str, ...],
    rates: tuple[float, ...],
    hidden: tuple[int, ...],
    epochs: int | None,
    tiers: Path | None,
    query: tuple[str, ...] | Literal["auto"],
    distill: float,
    **options: Any,
) -> Report:
    """One nested ranker against cascades of separate networks, linear models and trees, on candidate tables.

    Trains all of them on every fold, runs the cascades over the test queries, prints quality, cost and paired tests
    against the first system, and writes report.json, report.html, heatmaps and CSV (ranking.csv: every seed's numbers).
    Other sliced networks run when named: dense ones trained by sampled rates or the sandwich rule, recomputed or with
    approximate reuse; and mixed, whose last rate is recomputed.
    """
    from dataclasses import replace

    from simulations.ranking import simulate_ranking
    from simulations.ranking_settings import SYSTEMS, RankingSettings
    from simulations.tiers_file import read_tiers
    from slicing import RankerSettings

    declared = () if tiers is None else read_tiers(tiers)
    ranker = RankerSettings(rates=rates, hidden=hidden, distill=distill, tiers=declared, query=query)
    if epochs is not None:
        ranker = replace(ranker, epochs=epochs)
    settings = RankingSettings(folds=folds or None, systems=systems or SYSTEMS, ranker=ranker, **options)
    return simulate_ranking(settings, command, progress)


@experiment_command(
    "promise",
    examples=["promise --out out/promise", "promise --data mq2008 --data-dir DIR --splits 200"],
    seed="Of weights, order and splits.",
)
@click.option(
    "--data",
    type=click.Choice(["synthetic", "mq2008", "movielens", "prepared"]),
    default="synthetic",
    show_default=True,
    help="Candidate tables, as for simulate ranking.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of the originals, or the prepared one.")
@click.option("--fold", "folds", multiple=True, type=int, help="Run this fold only, from 1; repeatable.")
@click.option("--recall", type=float, default=0.95, show_default=True, help="Promised of fresh queries.")
@click.option("--confidence", type=float, default=0.95, show_default=True, help="Of the promise.")
@click.option("--splits", type=int, default=200, show_default=True, help="Random divisions of the scored queries.")
@click.option(
    "--validation", type=float, default=0.5, show_default=True, help="Share of the queries that the promise is made on."
)
@click.option("--final-k", callback=final_k, default="all", show_default=True, help="Kept in the end.")
@click.option("--levels", type=int, default=12, show_default=True, help="Cutoffs that a stage tries.")
@click.option("--relevant", type=float, default=1.0, show_default=True, help="Least label that is relevant.")
@click.option("--rates", callback=rates, default="0.125,0.25,0.5,1.0", show_default=True, help="Slice rates.")
@click.option("--hidden", callback=sizes, default="512,512", show_default=True, help="Units of the hidden layers.")
@click.option("--epochs", type=COUNT, help="Passes over the training queries at most.")
def promise(
    command: str,
    progress: Progress | None,
    out: Path,
    data: str,
    data_dir: Path | None,
    folds: tuple[int, ...],
    rates: tuple[float, ...],
    hidden: tuple[int, ...],
    epochs: int | None,
    seed: int,
    resume: bool,
    **options: Any,
) -> Report:
    """Whether a promised recall holds on fresh queries, in how many of many random splits.

    Trains a nested ranker, scores test queries, and again and again promises a recall on one part of them and looks it
    up on the rest, beside the cascade planned without a promise. Writes report.json, report.html and splits.csv.
    """
    from dataclasses import replace

    from simulations.promise import SYSTEM, PromiseSettings, simulate_promise
    from simulations.ranking_settings import RankingSettings
    from slicing import RankerSettings

    ranker = RankerSettings(rates=rates, hidden=hidden)
    if epochs is not None:
        ranker = replace(ranker, epochs=epochs)
    ranking = RankingSettings(
        out, data, data_dir, folds or None, systems=(SYSTEM,), ranker=ranker, seed=seed, resume=resume
    )
    return simulate_promise(PromiseSettings(ranking, **options), command, progress)


COMMANDS = (ranking, promise)

"""The command `simulate promise`: it parses, calls and prints. Heavy packages are imported inside it."""

from pathlib import Path
from typing import Any

import click

from simulations.command_line import command_text, final_k, one_line_errors, rates, sizes

EXAMPLE = """
\b
Examples:
  slicerank simulate promise --out out/promise
  slicerank simulate promise --data mq2008 --data-dir DIR --splits 200
"""


@click.command(epilog=EXAMPLE)
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
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training queries at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and splits.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoints in --out.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/promise"), show_default=True, help="Folder to write."
)
@click.option("--quiet", is_flag=True, help="No progress.")
@one_line_errors
def promise(
    quiet: bool,
    data: str,
    data_dir: Path | None,
    folds: tuple[int, ...],
    rates: tuple[float, ...],
    hidden: tuple[int, ...],
    epochs: int | None,
    seed: int,
    resume: bool,
    out: Path,
    **options: Any,
) -> None:
    """Whether a promised recall holds on fresh queries, in how many of many random splits.

    Trains a nested ranker, scores test queries, and again and again promises a recall on one part of them and looks it
    up on the rest, beside the cascade planned without a promise. Writes report.json, report.html and splits.csv.
    """
    from dataclasses import replace

    from rich.console import Console

    from simulations.promise import SYSTEM, PromiseSettings, simulate_promise
    from simulations.ranking_settings import RankingSettings
    from simulations.report import terminal_table
    from slicing import RankerSettings
    from slicing.progress import default_progress

    ranker = RankerSettings(rates=rates, hidden=hidden)
    if epochs is not None:
        ranker = replace(ranker, epochs=epochs)
    ranking = RankingSettings(
        out, data, data_dir, folds or None, systems=(SYSTEM,), ranker=ranker, seed=seed, resume=resume
    )
    report = simulate_promise(PromiseSettings(ranking, **options), command_text(), default_progress(quiet))
    terminal_table(report, Console(), out)

"""The commands that prepare candidate tables: they parse, call and print. Heavy packages are imported inside them."""

from pathlib import Path
from typing import Any

import click

from simulations.command_line import SEED, column_names, one_line_errors, shares

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Prepare candidate tables: folds of Parquet files from the originals, or made-up ones.

    \b
    Example:
      slicerank data mq2008 DIR --out tables/mq2008
    """


@data.command()
@click.argument("folder", type=_FOLDER)
@click.option("--out", type=_FOLDER, required=True, help="Folder to write.")
@one_line_errors
def mq2008(folder: Path, out: Path) -> None:
    """MQ2008 with its five official folds, from FOLDER with S1.txt to S5.txt.

    \b
    Example:
      slicerank data mq2008 MQ2008 --out tables/mq2008
    """
    from data import prepare_mq2008
    from slicing.files import refuse_overwriting

    refuse_overwriting([out], [folder])
    _prepared(prepare_mq2008(folder, out), out)


@data.command()
@click.argument("source", type=_FOLDER, required=False)
@click.option("--train", type=_FILE, help="Training file, instead of SOURCE; with --validation and --test.")
@click.option("--validation", type=_FILE, help="Validation file.")
@click.option("--test", type=_FILE, help="Test file.")
@click.option("--groups", is_flag=True, help="The files have no qid:, but LightGBM's group sizes beside, FILE.query.")
@click.option("--name", help="What reports call it [default: the folder's name].")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write.")
@one_line_errors
def letor(source: Path | None, groups: bool, name: str | None, out: Path, **files: Path | None) -> None:
    """Any collection in LETOR's text format: SOURCE with Fold1, ... or with train, vali and test; or three files.

    \b
    Examples:
      slicerank data letor MSLR-WEB10K --out tables/mslr
      slicerank data letor --train rank.train --validation rank.vali --test rank.test --groups --out tables/mine
    """
    from data import prepare_letor
    from slicing.files import refuse_overwriting

    named = {part: path for part, path in files.items() if path is not None}
    if (source is None) == (not named):
        raise click.UsageError("letor takes either SOURCE or --train, --validation and --test; name one of the two")
    refuse_overwriting([out], named.values() if source is None else [source])
    sizes = {part: path.with_name(f"{path.name}.query") for part, path in named.items()} if groups else None
    _prepared(prepare_letor(named if source is None else source, out, name=name, groups=sizes), out)


@data.command()
@click.argument("folder", type=_FOLDER)
@click.option("--negatives", type=int, default=100, show_default=True, help="Sampled for each query.")
@click.option("--relevant", type=float, default=4.0, show_default=True, help="Least rating of a relevant item.")
@click.option("--period-days", type=int, default=1, show_default=True, help="A query is a user in so many days.")
@click.option("--min-history", type=int, default=1, show_default=True, help="Ratings a user must have before.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the negatives.")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write.")
@one_line_errors
def movielens(folder: Path, out: Path, **options: Any) -> None:
    """MovieLens split by time, with sampled negatives, from FOLDER with ratings.csv and movies.csv.

    \b
    Example:
      slicerank data movielens ml-latest-small --out tables/movielens
    """
    from data import prepare_movielens
    from slicing.files import refuse_overwriting

    refuse_overwriting([out], [folder])
    _prepared(prepare_movielens(folder, out, **options), out)


@data.command()
@click.option("--queries", type=int, default=1000, show_default=True)
@click.option("--candidates", type=int, default=100, show_default=True, help="Of each query.")
@click.option("--features", type=int, default=46, show_default=True)
@click.option("--noise", type=float, default=0.5, show_default=True, help="What hides the ideal score.")
@click.option("--curved", type=float, default=0.5, show_default=True, help="Share of it that is not linear.")
@click.option("--first-query", type=int, default=0, show_default=True, help="Others are fresh queries of the teacher.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the teacher and its candidates.")
@click.option("--out", type=_FILE, required=True, help="Table to write: .parquet, .csv or .svmlight.")
@click.option("--quiet", is_flag=True, help="No progress.")
@one_line_errors
def synthetic(out: Path, quiet: bool, **options: Any) -> None:
    """A made-up table of any size whose ideal ranking is known (column `ideal`).

    \b
    Example:
      slicerank data synthetic --queries 10000 --candidates 1000 --out big.parquet
    """
    from simulations.synthetic_files import write_synthetic
    from slicing.progress import default_progress

    rows = write_synthetic(out, default_progress(quiet), **options)
    click.echo(f"{rows:,} candidates of {options['queries']:,} queries in {out}")


@data.command()
@click.argument("table", type=_FILE)
@click.option("--by", type=click.Choice(["query", "time"]), default="query", show_default=True)
@click.option("--time", help="Column that says when, a number or a date; with --by time.")
@click.option("--shares", callback=shares, default="0.8,0.1,0.1", show_default=True, help="Of the queries.")
@click.option("--categorical", callback=column_names, help="For CSV: columns whose whole numbers are ids.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the hash that --by query takes of each id.")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write.")
@one_line_errors
def split(
    table: Path, by: str, time: str | None, categorical: tuple[str, ...] | None, out: Path, **options: Any
) -> None:
    """TABLE into train.parquet, validation.parquet and test.parquet, whatever its length; queries stay whole.

    \b
    Examples:
      slicerank data split clicks.parquet --shares 0.8,0.1,0.1 --out tables
      slicerank data split clicks.parquet --by time --time when --out tables
    """
    from data import split_table
    from data.split_files import is_split
    from slicing.files import refuse_overwriting

    if is_split(out):  # which is replaced as a whole; a folder of other files is refused in any case
        refuse_overwriting([out], [table])
    if (by == "time") != (time is not None):
        raise click.UsageError(f"--by time goes with --time COLUMN, got --by {by} and time {time!r}; give both or none")
    for part in split_table(table, out, time=time, categorical=categorical or (), **options):
        click.echo(f"{part.name:<12}{part.rows:>14,} candidates of {part.queries:,} queries in {part.path}")


def _prepared(prepared: Any, out: Path) -> None:
    from simulations.ranker_terminal import show_prepared
    from simulations.report.grid import output

    show_prepared(prepared, out, output())

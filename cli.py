"""The command line: parses, calls, prints. Heavy packages are imported inside the commands, so --help is instant."""

from pathlib import Path

import click

from simulations import (
    cascade_commands,
    data_commands,
    degradation_command,
    image_commands,
    language_command,
    ranking_commands,
    result_commands,
    table_commands,
)
from simulations.command_line import COUNT, one_line_errors


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


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True, help="Folder to write."
)
@click.option("--case", "cases", multiple=True, help="Run this case only; repeatable.")
@click.option("--threads", type=COUNT, help="Threads of torch, for both sides [default: torch's own].")
@one_line_errors
def bench(out: Path, cases: tuple[str, ...], threads: int | None) -> None:
    """Time SliceRank against plain torch and polars, side by side, and write bench.json.

    Cases: cnn-keep-all, cnn-narrow, mlp-funnel, mlp-keep-all, train-step, engine-overhead, planner, metrics-10m,
    run-1m, query-side.

    \b
    Example:
      slicerank bench --case mlp-funnel --threads 1
    """
    from bench.run import run

    run(out, cases, threads)


for _each in (data_commands.data, *table_commands.COMMANDS, *result_commands.COMMANDS):
    main.add_command(_each)
for _each in (
    *cascade_commands.COMMANDS,
    *ranking_commands.COMMANDS,
    *image_commands.COMMANDS,
    language_command.language_model,
    degradation_command.degradation,
):
    simulate.add_command(_each)


if __name__ == "__main__":
    main()

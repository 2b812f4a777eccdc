"""The commands that use what others have written: reports shown again, models exported."""

from pathlib import Path

import click

from simulations.command_line import one_line_errors, sizes


def _image(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    return None if text is None else sizes(context, parameter, text)


@click.command()
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Page to write, .html: the reports side by side."
)
@one_line_errors
def report(folders: tuple[Path, ...], out: Path | None) -> None:
    """Print the tables of reports that other commands wrote; several, and --out, also set them side by side.

    \b
    Examples:
      slicerank report out/demo
      slicerank report out/seed0 out/seed1 --out comparison.html
    """
    from simulations.report.grid import output
    from simulations.report.read import FILE, check_page, comparison_page, read_report
    from simulations.report.terminal import comparison_tables, terminal_table
    from slicing.files import atomic_path, refuse_overwriting

    if out is not None:
        refuse_overwriting([out], [each for folder in folders for each in (folder, folder / FILE)])
        check_page(out)
    console = output()
    reports = [(str(folder), read_report(folder)) for folder in folders]
    for name, each in reports:
        if len(reports) > 1:
            console.print(name, style="bold", markup=False, highlight=False)
        terminal_table(each, console)
        console.print()
    if len(reports) > 1:
        comparison_tables(reports, console)
    if out is not None:
        with atomic_path(out) as temporary:
            temporary.write_text(comparison_page(reports), encoding="utf-8")
        console.print(f"page     {out}", markup=False, highlight=False, soft_wrap=True)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--rate", type=float, default=1.0, show_default=True, help="One of the model's slice rates.")
@click.option("--image", callback=_image, help="Channels, height, width, for a network of images: 3,32,32.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
@one_line_errors
def export(model: Path, rate: float, image: tuple[int, ...] | None, out: Path) -> None:
    """One width of MODEL as a standalone model: model.safetensors, and model.pt2 for torch without this package.

    A ranker's model.safetensors holds its feature transform and ids and is read by `plan` and `run` like any other;
    model.pt2 (torch.export) takes transformed features.

    \b
    Examples:
      slicerank export model --rate 0.5 --out half
      slicerank export out/demo/networks/sliced-nested.safetensors --rate 0.5 --image 1,8,8 --out half
    """
    from simulations.export_files import export_model

    done = export_model(model, rate, out, image)
    click.echo(f"rate {done.rate:g}, {done.params:,} parameters; {', '.join(map(str, done.files))}")


COMMANDS = (report, export)

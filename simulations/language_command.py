"""The command `simulate language-model`. Heavy packages are imported inside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulations.command_line import COUNT
from simulations.experiment_command import experiment_command

if TYPE_CHECKING:
    from simulations.report import Report
    from slicing.progress import Progress


@experiment_command(
    "language-model",
    examples=["language-model --out out/language-model", "language-model --scale small --data-dir WIKITEXT2"],
    scale="smoke: 64 units, two minutes; small: 128 units, WikiText-2's beginning; paper: 640 units, for a GPU.",
    device=True,
    seed="Of weights, dropout and drawn rates.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of Penn Treebank or WikiText files [default at smoke: the Python reference].",
)
@click.option("--epochs", type=COUNT, help="Passes over the training text [default: by scale].")
def language_model(
    command: str, progress: Progress | None, scale: str, data_dir: Path | None, epochs: int | None, **options: Any
) -> Report:
    """Perplexity by slice rate of a two-layer LSTM language model (paper, section 5.2).

    Trains a sliced network, a nested one and separate ones, judges each at every rate, prints ours beside the paper's
    Table 2 and writes report.json, report.html, plots and CSV.
    """
    from dataclasses import replace

    from simulations.language_model import simulate_language_model
    from simulations.language_settings import SCALES, LanguageSettings

    if data_dir is None and scale != "smoke":
        raise click.UsageError(f"scale {scale} needs a text; pass --data-dir with a folder of PTB or WikiText files")
    sizes = SCALES[scale] if epochs is None else replace(SCALES[scale], epochs=epochs)
    return simulate_language_model(LanguageSettings(scale=sizes, data_dir=data_dir, **options), command, progress)

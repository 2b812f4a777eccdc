"""The commands of ranking on tables: they parse, call and print. Heavy packages are imported inside them."""

from pathlib import Path
from typing import Any

import click

from simulations.command_line import (
    COUNT,
    SEED,
    budgets,
    column_names,
    command_text,
    cutoffs,
    final_k,
    loss_weights,
    one_line_errors,
    query_features,
    rates,
    sizes,
    warn,
)

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("table", type=_FILE)
@click.option("--validation", type=_FILE, help="Labelled table [default: whole queries out of TABLE].")
@click.option("--share", type=float, default=0.2, show_default=True, help="Of TABLE's queries, without --validation.")
@click.option("--features", callback=column_names, help="Numeric columns [default: all but keys and results].")
@click.option("--categorical", callback=column_names, help="Columns of ids, each with an embedding.")
@click.option("--exclude", callback=column_names, help="Columns that are no features.")
@click.option("--tiers", type=_FILE, help="TOML file of feature tiers: first rate and cost of features. See the guide.")
@click.option(
    "--query-features",
    "query",
    callback=query_features,
    help="Features that are constant within a query, computed once per query; auto finds them.",
)
@click.option("--rates", callback=rates, default="0.125,0.25,0.5,1.0", show_default=True, help="Slice rates.")
@click.option("--hidden", callback=sizes, default="512,512", show_default=True, help="Units of the hidden layers.")
@click.option("--embedding", type=COUNT, default=16, show_default=True, help="Columns of an id's embedding.")
@click.option(
    "--connectivity",
    default="nested",
    show_default=True,
    help="nested, dense, or mixed@RATE+RATE: nested, with everything recomputed at these rates; behind it "
    ",trunk=N for N first layers that all rates share.",
)
@click.option(
    "--transform",
    type=click.Choice(["quantile", "normal", "standard"]),
    default="quantile",
    show_default=True,
    help="Of the numeric features, fitted on the training queries.",
)
@click.option("--loss", type=click.Choice(["listwise", "lambda", "bce", "mse"]), default="listwise", show_default=True)
@click.option(
    "--k",
    type=COUNT,
    default=10,
    show_default=True,
    help="Of nDCG@k, in --loss lambda and in validation.",
)
@click.option(
    "--scheme",
    type=click.Choice(["joint", "sampled", "sandwich"]),
    default="joint",
    show_default=True,
    help="What a step trains: all rates, one drawn rate, or the widest and three that learn from it.",
)
@click.option("--weights", callback=loss_weights, help="Of the rates' losses, narrowest first [default: equal].")
@click.option("--distill", type=float, default=0.0, show_default=True, help="Share of distillation from the widest.")
@click.option("--own", type=float, help="Share of the loss on a block alone [default: 0.9 when nested, else 0].")
@click.option("--survival", type=float, default=0.0, show_default=True, help="Weight of the joint-survival loss.")
@click.option("--keep", callback=budgets, help="Each rate's budget under --survival, such as 0.6,0.4,0.25,10.")
@click.option("--epochs", type=COUNT, default=15, show_default=True, help="Passes over the queries, at most.")
@click.option("--patience", type=COUNT, default=10, show_default=True, help="Epochs without a better one, then stop.")
@click.option("--batch-rows", type=COUNT, default=512, show_default=True, help="Candidates in a step, about.")
@click.option("--dropout", type=float, default=0.2, show_default=True)
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Peak, of AdamW.")
@click.option("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of split, weights and order.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--out", type=_FOLDER, required=True, help="Folder to write.")
@click.option("--quiet", is_flag=True, help="No progress.")
@one_line_errors
def train(
    table: Path,
    validation: Path | None,
    share: float,
    features: tuple[str, ...] | None,
    categorical: tuple[str, ...] | None,
    exclude: tuple[str, ...] | None,
    tiers: Path | None,
    resume: bool,
    out: Path,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a ranker that scores at every rate, on the labelled candidates of TABLE.

    Writes model.safetensors and train.json into --out. A table that `slicerank data` prepared brings the roles of its
    columns along, and one that `data split` wrote its time and ids. Columns of text are not read; the last lines say
    which.

    \b
    Examples:
      slicerank train train.parquet --validation validation.parquet --out model
      slicerank train clicks.parquet --categorical user,item --loss lambda --out model
      slicerank train clicks.parquet --tiers tiers.toml --query-features auto --out model
    """
    from simulations.ranker_files import Columns
    from simulations.ranker_terminal import show_trained
    from simulations.ranker_training import TrainRequest, train_ranker
    from simulations.report.grid import output
    from simulations.tiers_file import read_tiers
    from slicing import RankerSettings
    from slicing.progress import default_progress

    settings = RankerSettings(tiers=() if tiers is None else read_tiers(tiers), **options)
    request = TrainRequest(
        table, out, validation, Columns(features, categorical, exclude=exclude or ()), share, settings, resume
    )
    trained = train_ranker(request, command_text(), default_progress(quiet))
    show_trained(trained, output())
    warn(trained.warnings)


@click.command()
@click.argument("model", type=_FILE)
@click.argument("table", type=_FILE)
@click.option("--recall", type=float, help="Goal: least cost with this mean recall in the final cut.")
@click.option("--confidence", type=float, help="Promise the recall of fresh queries, with this confidence.")
@click.option("--cost", help="Goal: the best --metric within this mean cost per query; 25% is of the full network's.")
@click.option("--metric", type=click.Choice(["recall", "ndcg"]), default="recall", show_default=True)
@click.option("--final-k", callback=final_k, default="10", show_default=True, help="Kept in the end; or all.")
@click.option(
    "--kinds",
    type=click.Choice(["top-k", "share", "score"]),
    default="top-k",
    show_default=True,
    help="Of cutoffs before the last.",
)
@click.option(
    "--unit",
    type=click.Choice(["flops", "ms", "features"]),
    default="flops",
    show_default=True,
    help="Of the cost; features is the cost of the features' tiers.",
)
@click.option("--relevant", type=float, default=1.0, show_default=True, help="Least label that is relevant.")
@click.option(
    "--last",
    type=click.Choice(["full", "any"]),
    default="full",
    show_default=True,
    help="Whether the cascade must end with the full network or may end earlier.",
)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the promise's split.")
@click.option("--out", type=_FILE, default=Path("cascade.toml"), show_default=True, help="Cascade file to write.")
@click.option("--quiet", is_flag=True, help="No progress.")
@one_line_errors
def plan(model: Path, table: Path, out: Path, kinds: str, quiet: bool, **options: Any) -> None:
    """Which rates to use and where to cut, for MODEL on the labelled TABLE, which it was not trained on.

    Writes a cascade file for `slicerank run`, and beside it, as .frontier.csv and .frontier.png, every cascade that no
    other beats.

    \b
    Examples:
      slicerank plan model validation.parquet --recall 0.98 --confidence 0.95 --out cascade.toml
      slicerank plan model validation.parquet --cost 25% --metric ndcg --unit ms
    """
    from simulations.ranker_planning import PlanRequest, plan_cascade
    from simulations.ranker_terminal import show_plan
    from simulations.report.grid import output
    from slicing.progress import default_progress

    kind: Any = kinds.replace("-", "_")
    request = PlanRequest(model, table, out, kinds=kind, **options)
    report = plan_cascade(request, default_progress(quiet))
    show_plan(report, output())
    warn(report.warnings)


@click.command()
@click.argument("cascade_file", metavar="CASCADE.TOML", type=_FILE)
@click.argument("table", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="Ranking to write: .parquet, or .trec or .run for TREC.")
@click.option(
    "--cutoff",
    "columns",
    multiple=True,
    callback=cutoffs,
    help="RATE=COLUMN: keep as many as the query's COLUMN says at that stage; null keeps to the file. Repeatable.",
)
@click.option(
    "--budget",
    metavar="COLUMN",
    help="Scale the cutoffs to the query's COLUMN, in multiply-adds; null keeps to the file.",
)
@click.option("--only-kept", is_flag=True, help="Write the final cut alone, not what the stages dropped.")
@click.option("--rows", type=COUNT, default=200_000, show_default=True, help="Held at a time.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run of the same input stopped.")
@click.option("--quiet", is_flag=True, help="No progress.")
@one_line_errors
def run(cascade_file: Path, table: Path, out: Path, quiet: bool, **options: Any) -> None:
    """Rank the candidates of TABLE with the planned cascade, whatever its length, and write the ranking.

    \b
    Examples:
      slicerank run cascade.toml candidates.parquet --out ranking.parquet
      slicerank run cascade.toml candidates.parquet --only-kept --out top.parquet
      slicerank run cascade.toml candidates.parquet --cutoff 0.5=wanted --out ranking.run
      slicerank run cascade.toml candidates.parquet --budget multiply_adds --out ranking.parquet
    """
    from simulations.ranker_run import RunRequest, run_cascade
    from simulations.ranker_terminal import show_run
    from simulations.report.grid import output
    from slicing.progress import default_progress

    show_run(run_cascade(RunRequest(cascade_file, table, out, **options), default_progress(quiet)), output())


@click.command()
@click.argument("files", metavar="RESULT... [TABLE_OR_QRELS]", nargs=-1, required=True, type=_FILE)
@click.option("--measure", "measures", multiple=True, help="Repeatable [default: nDCG@10, RR, R@10].")
@click.option("--rel", type=float, default=1.0, show_default=True, help="Least label that is relevant.")
@click.option(
    "--without-relevant",
    type=click.Choice(["zero", "skip"]),
    default="zero",
    show_default=True,
    help="Queries with nothing relevant.",
)
@click.option("--by", type=click.Choice(["rank", "score"]), help="What orders a result [default: rank if there].")
@click.option("--ties", type=click.Choice(["docid", "trec_eval"]), default="docid", show_default=True)
@click.option("--baseline", help="Compare the others with this result only, by its name.")
@click.option("--test", type=click.Choice(["permutation", "t", "wilcoxon"]), default="permutation", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the permutations.")
@click.option("--stages", is_flag=True, help="Also what each stage of a ranking of `run` lost, and how stages agree.")
@click.option("--all-scores", type=_FILE, help="With --stages: a ranking by the same stages that dropped nobody.")
@click.option("--k", type=COUNT, default=10, show_default=True, help="Of HR@k and Recall@k, with --stages.")
@click.option("--out", type=_FILE, help="Write the numbers: .json, or .csv without --stages.")
@one_line_errors
def evaluate(files: tuple[Path, ...], measures: tuple[str, ...], **options: Any) -> None:
    """Measure rankings against labels; several are compared by paired tests with Holm's correction.

    One ranking alone, without judgements, goes with --stages.

    \b
    Examples:
      slicerank evaluate ranking.parquet test.parquet --measure nDCG@10 --measure RR
      slicerank evaluate ours.run theirs.run judgements.qrels --out numbers.json
      slicerank evaluate ranking.parquet test.parquet --stages --all-scores everything.parquet
    """
    from simulations.evaluation import MEASURES, EvaluateRequest, evaluate_files
    from simulations.ranker_terminal import show_evaluation
    from simulations.report.grid import output

    alone = len(files) == 1 and options["stages"]
    results, judgements = (files, None) if alone else (files[:-1], files[-1])
    request = EvaluateRequest(results, judgements, measures or MEASURES, **options)
    show_evaluation(evaluate_files(request), output())


COMMANDS = (train, plan, run, evaluate)

"""What the commands of ranking show on the terminal: plain tables, one idea each."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cascade import Evaluation, KeepRule, ScoreAtLeast, TopShare
from cascade.frontier import describe
from data import PreparedTables
from simulations.evaluation import EvaluationReport
from simulations.ranker_planning import PlanReport
from simulations.ranker_run import RunReport
from simulations.ranker_training import Trained
from simulations.report.grid import Grid
from simulations.report.terminal import further
from simulations.run_cost import per_query
from simulations.stage_figures import stage_tables

_SHARES = "shares are of the full network on every candidate"


def show_prepared(prepared: PreparedTables, folder: Path, console: Console) -> None:
    """A row per fold and part."""
    table = _table("fold", "part", "queries", "candidates", "relevant", labels=2)
    for number, fold in enumerate(prepared.meta["folds"], start=1):
        for part, found in fold.items():
            table.add(str(number), part, f"{found['queries']:,}", f"{found['rows']:,}", f"{found['relevant']:,}")
    table.show(console)
    sampling = prepared.meta["made"].get("sampling")
    if sampling:
        _line(console, f"negatives: {sampling}")
    _line(console, f"{prepared.name} in {folder}")


def show_trained(trained: Trained, console: Console) -> None:
    """The validation figure, the FLOPs and the feature cost of each rate."""
    ranker = trained.ranker
    priced = ["feature cost per candidate"] if any(ranker.feature_costs) else []
    table = _table("rate", trained.measure, "FLOPs per candidate", *priced)
    for k, (rate, figure) in enumerate(zip(ranker.rates, trained.result.best.validation, strict=True)):
        cost = [_number(ranker.feature_costs[k])] if priced else []
        table.add(f"{rate:g}", f"{figure:.4f}", f"{ranker.flops(rate):,}", *cost)
    table.show(console)
    if ranker.query:
        _line(
            console,
            f"once per query, {ranker.query_flops():,} of the last rate's FLOPs: {len(ranker.query)} query features "
            f"({', '.join(ranker.query[:8])}{', ...' if len(ranker.query) > 8 else ''})",
        )
    _line(console, _columns_read(trained))
    learnt, held = trained.queries
    _line(
        console,
        f"epoch {trained.result.best_epoch + 1} of {len(trained.result.history)}, {learnt:,} queries for training, "
        f"{held:,} for validation; {trained.file}",
    )


def _columns_read(trained: Trained) -> str:
    """What the ranker reads, and which columns of the table it does not."""
    ranker = trained.ranker
    said = []
    for count, what, names in (
        (len(ranker.numeric), "feature", list(ranker.numeric)),
        (len(ranker.vocabularies), "column of ids", list(ranker.vocabularies)),
    ):
        if count:
            plural = what if count == 1 else what.replace("feature", "features").replace("column", "columns")
            said.append(f"{count} {plural}: {_listed(names)}")
    # columns left out without being named are all shown: they may be missed
    named = [name for name, why in trained.unused.items() if why == "not named"]
    others = [f"{name} ({why})" for name, why in trained.unused.items() if why != "not named"]
    if named or others:
        said.append(f"not used: {', '.join([*others, *([_listed(named)] if named else [])])}")
    return "; ".join(said)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names) - 8} more)" if len(names) > 8 else "")


def show_plan(report: PlanReport, console: Console) -> None:
    """The stages, then the cascade against the full network."""
    unit = report.plan.unit
    stages = _table("stage", "rate", "keeps", "candidates per query", f"{unit} each", f"{unit} per query")
    for number, row in enumerate(report.stages):
        stages.add(
            str(number),
            f"{row.rate:g}",
            _keeps(row.rule),
            f"{row.candidates:,.1f}",
            _number(row.each),
            _number(row.candidates * row.each),
        )
    stages.show(console)
    at = "" if report.final_k is None else f"@{report.final_k}"
    against = _table("", f"recall{at}", f"nDCG{at}", f"{unit} per query", "cost")
    for name, each in (("cascade", report.cascade), ("full network on everything", report.full)):
        share = f"{each.cost / report.full.cost:.1%}" if report.full.cost else ""
        against.add(name, f"{each.recall:.4f}", f"{each.ndcg:.4f}", _number(each.cost), share)
    against.show(console)
    for other in report.beside:
        share = f" ({other.cascade / other.full:.1%})" if other.full else ""
        _line(
            console,
            f"{other.unit} per query: cascade {_number(other.cascade)}{share}, full network {_number(other.full)}",
        )
    _line(
        console,
        f"goal: {report.goal}; {report.candidates:,} candidates of {report.queries:,} queries, "
        f"{report.answered:,} with something relevant",
    )
    _new_ids(report.new_ids, console)
    if report.promise is not None:
        made = report.promise
        _line(
            console,
            f"promise: recall >= {made.recall:g} on fresh queries with confidence {made.confidence:g} "
            f"(p = {made.p_value:.3g} on {made.queries:,} queries); {made.theorem}",
        )
    whole = "" if report.frontier.exhaustive else ", over a thinned set of cutoffs"
    _line(console, f"{len(report.frontier)} cascades on the frontier{whole}; {', '.join(map(str, report.files))}")


def show_run(report: RunReport, console: Console) -> None:
    """The account of the stages."""
    priced = ["feature cost each"] if report.cost.full_feature_cost else []
    table = _table("stage", "rate", "keeps", "candidates in", "candidates out", "FLOPs each", *priced, "seconds")
    for number, stage in enumerate(report.stages):
        each = stage.flops / stage.candidates_in if stage.candidates_in else 0.0
        table.add(
            str(number),
            f"{stage.rate:g}",
            _keeps(stage.rule),
            f"{stage.candidates_in:,}",
            f"{stage.candidates_out:,}",
            _number(each),
            *([_number(stage.feature_cost)] if priced else []),
            f"{stage.seconds:.2f}",
        )
    table.show(console)
    spent = [f"{name} {each}" for name, each in per_query(report.cost).items()]
    _line(console, "; ".join([*spent, _SHARES]))
    _new_ids(report.new_ids, console)
    went_on = f", of which {report.resumed:,} candidates were done before" if report.resumed else ""
    _line(
        console,
        f"{report.candidates:,} candidates of {report.queries:,} queries in {report.seconds:.1f} s{went_on}; "
        f"{report.out}",
    )


def _new_ids(shares: Mapping[str, float], console: Console) -> None:
    if shares:
        said = ", ".join(f"{share:.1%} of {name!r}" for name, share in shares.items())
        _line(console, f"ids that the model has not seen in training: {said}")


def show_evaluation(report: EvaluationReport, console: Console) -> None:
    """Means, then the paired tests, then what the stages did."""
    if report.evaluations:
        _show_means(report, console)
    for name, figures in report.stages.items():
        for table in stage_tables(name, figures):
            further(table).show(console)
            console.print(Text(table["text"], style="dim"))
    if report.written:
        _line(console, ", ".join(map(str, report.written)))


def _show_means(report: EvaluationReport, console: Console) -> None:
    names = list(next(iter(report.evaluations.values())).means)
    costs = {name: per_query(cost) for name, cost in report.costs.items()}
    priced = list(dict.fromkeys(column for each in costs.values() for column in each))
    means = _table("result", *names, "queries", *priced)
    for name, each in report.evaluations.items():
        figures = ("-" if mean is None else f"{mean:.4f}" for mean in each.means.values())
        spent = (costs.get(name, {}).get(column, "-") for column in priced)
        means.add(name, *figures, f"{max(each.averaged.values()):,}", *spent)
    means.show(console)
    if priced:
        _line(console, f"costs as `run` counted them; {_SHARES}")
    for name, each in report.evaluations.items():
        for said in _left_out(each):
            _line(console, f"{name}: {said}")
    if report.comparisons is not None:
        tests = _table("measure", "result", "against", "difference", "95% interval", "p", "p (Holm)", labels=3)
        for row in report.comparisons.iter_rows(named=True):
            tests.add(
                row["measure"],
                row["system"],
                row["baseline"],
                f"{row['difference']:+.4f}",
                f"{row['low']:+.4f} to {row['high']:+.4f}",
                f"{row['p']:.3g}",
                f"{row['p_holm']:.3g}",
            )
        tests.show(console)


def _left_out(each: Evaluation) -> list[str]:
    said = []
    if each.missing:
        said.append(f"{each.missing:,} judged queries have no candidate and count as 0")
    if each.unjudged:
        said.append(f"{each.unjudged:,} queries have no judgement and are left out")
    return said


def _table(*columns: str, labels: int = 1) -> Grid:
    """labels: how many columns say what a row is."""
    words = {"", "part", "keeps", "result", "measure", "against"}
    return Grid(columns, labels, frozenset(i for i, name in enumerate(columns) if name in words))


def _keeps(rule: KeepRule) -> str:
    """A rule in a few words; the digits beyond the fourth stand in the cascade file."""
    if isinstance(rule, TopShare) and rule.minimum == 1:
        return f"share {rule.share:.4g}"
    return f"score >= {rule.threshold:.4g}" if isinstance(rule, ScoreAtLeast) else describe(rule)


def _line(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"

"""`slicerank plan`: one pass over a labelled table, then the cascade that meets a goal, and the whole frontier."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, isfinite
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cascade import (
    CallableScorer,
    Cascade,
    CascadeConfig,
    CascadeError,
    Frontier,
    KeepRule,
    Plan,
    Planned,
    Promise,
    Scored,
    StageConfig,
    StageCosts,
    StageInfo,
    evaluate_plan,
    pareto_frontier,
    plan,
    promise,
    score_all,
    write_config,
)
from cascade.cutoffs import Kind
from cascade.plan_search import final_rule
from cascade.promise import check_promise
from data import CandidateTable, query_hashes
from data.sources import described
from simulations.frontier_chart import frontier_png
from simulations.new_ids import NewIds
from simulations.ranker_costs import SAMPLE_ROWS, fetching_costs, flop_costs, measured_costs
from simulations.ranker_files import load_ranker, model_file, open_for, require_labels
from simulations.tables import RankerScorer
from slicing import Ranker, Seen
from slicing.files import atomic_path, check_writable, refuse_overwriting
from slicing.progress import Progress, open_task

Metric = Literal["recall", "ndcg"]
Unit = Literal["flops", "ms", "features"]

FRONTIER_SUFFIXES = (".frontier.csv", ".frontier.png")
"""Of the files beside the cascade file; two parts, so that they are not likely to be the name of anybody's table."""

METRICS: dict[Metric, str] = {"recall": "recall", "ndcg": "nDCG"}


@dataclass(frozen=True)
class PlanRequest:
    """What to plan.

    Attributes:
        model: the ranker's file or folder. table: labelled candidates; a null label counts as not relevant.
        out: the cascade file to write.
        recall: the least recall wanted, in [0, 1]; confidence: with which it is promised of fresh queries, in (0, 1).
        cost: the most a query may cost on the average: a number in `unit`, or a share of the full network on
            everything, such as "25%"; `metric` is then what is best under it. One of recall and cost is given.
        final_k: how many of each query are kept in the end; None keeps all that reach the last stage.
        kinds: of cutoffs before the last. relevant: the least label that counts as relevant, above 0.
        last: full, the cascade ends with the full network; any, it may end earlier. seed: of the promise's split.
    """

    model: Path
    table: Path
    out: Path
    recall: float | None = None
    confidence: float | None = None
    cost: str | None = None
    metric: Metric = "recall"
    final_k: int | None = 10
    kinds: Kind = "top_k"
    unit: Unit = "flops"
    relevant: float = 1.0
    last: Literal["full", "any"] = "full"
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.recall is None) == (self.cost is None):
            raise CascadeError(
                f"a plan needs either a recall or a cost as its goal, got "
                f"{'neither' if self.cost is None else 'both'}; give --recall 0.98 or --cost 25%"
            )
        if self.recall is not None and not 0 <= self.recall <= 1:
            raise CascadeError(f"--recall must be in [0, 1], got {self.recall!r}; 0.98 asks for 98%")
        if not (isfinite(self.relevant) and self.relevant > 0):
            raise CascadeError(f"--relevant must be a finite label above 0, got {self.relevant!r}; 1 is usual")
        if self.cost is not None and not 0 < cost_of(self.cost, 1.0) < inf:
            raise CascadeError(f"--cost must be finite and above 0, got {self.cost!r}; 25% is of the full network's")
        if self.confidence is not None and self.recall is None:
            raise CascadeError(
                f"--confidence goes with a recall to promise, got {self.confidence} with a cost; leave it out"
            )
        if self.recall is not None and self.confidence is not None:
            check_promise(self.recall, self.confidence)
        if self.confidence is not None and self.last != "full":
            raise CascadeError(
                f"a promise is made of cascades that end with the full network, got --last {self.last}; leave it out"
            )
        if self.recall is not None and self.metric != "recall":
            raise CascadeError(f"--metric says what is best for a cost, got {self.metric} with a recall; drop one")


@dataclass(frozen=True)
class StageRow:
    """One stage of a plan on the table: its rate and rule, candidates in per query, cost per candidate of it."""

    rate: float
    rule: KeepRule
    candidates: float
    each: float


@dataclass(frozen=True)
class Outcome:
    """What a cascade does on the table: mean recall and nDCG at the final k, and mean cost per query."""

    recall: float
    ndcg: float
    cost: float


@dataclass(frozen=True)
class Beside:
    """Mean cost per query in another unit than the plan's: of the cascade, and of the full network on everything."""

    unit: str
    cascade: float
    full: float


@dataclass(frozen=True)
class PlanReport:
    """The plan, and what stands beside it.

    Attributes:
        plan: the chosen cascade. promise: its guarantee, if one was asked for. rates: of the ranker.
        stages: of the plan. cascade, full: what the plan does, and the full network on every candidate.
        frontier: every cascade that no other beats. goal: in words.
        beside: the costs in FLOPs, and of the features where they have one, unless the plan is in them.
        queries, candidates: of the table. answered: queries with something relevant. final_k: as asked for.
        files: cascade file, frontier as CSV and PNG. warnings: what makes the numbers doubtful.
        new_ids: the share of each column's ids that the model has not seen in training, where there are any.
    """

    plan: Plan
    promise: Promise | None
    rates: tuple[float, ...]
    stages: tuple[StageRow, ...]
    cascade: Outcome
    full: Outcome
    frontier: Frontier
    goal: str
    beside: tuple[Beside, ...]
    queries: int
    candidates: int
    answered: int
    final_k: int | None
    files: tuple[Path, Path, Path]
    warnings: tuple[str, ...] = ()
    new_ids: Mapping[str, float] = field(default_factory=dict)


def plan_cascade(request: PlanRequest, progress: Progress | None = None) -> PlanReport:
    """Score, plan and write the cascade file with the frontier beside it.

    Raises:
        SlicingError: for a model that can't be read, or a file to write that is the table or the model.
        DataError: for a table that can't be read or has no labels.
        CascadeError: for a goal that no cascade reaches, or a recall that can't be promised, as from training
            queries.
    """
    files = tuple(request.out.with_suffix(suffix) for suffix in (request.out.suffix, *FRONTIER_SUFFIXES))
    refuse_overwriting(files, (model_file(request.model), request.table))
    for file in files:
        check_writable(file)
    if request.out.suffix.lower() != ".toml":
        raise CascadeError(f"a cascade file ends in .toml, got {request.out}; try {request.out.with_suffix('.toml')}")
    ranker = load_ranker(request.model)
    table = open_for(ranker, request.table, "partial")
    require_labels(table)
    hashes: list[NDArray[np.int64]] = []
    new = NewIds(ranker)

    def watch(frame: pl.DataFrame) -> None:
        new.count(frame)
        if ranker.seen:
            hashes.append(query_hashes(frame, ranker.seen.columns))

    scored = score_table(ranker, table, request.relevant, progress, watch)
    warnings = check_fresh(ranker.seen, np.concatenate(hashes), request) if ranker.seen else ()
    in_flops = flop_costs(ranker, len(scored.query) / len(scored.sizes))
    known = [in_flops, *([fetching_costs(ranker)] if any(ranker.feature_costs) else [])]
    costs = in_flops
    if request.unit == "ms":
        costs = measured_costs(ranker, next(table.batches(SAMPLE_ROWS)), progress=progress)
    elif request.unit == "features":
        costs = fetching_costs(ranker)
    whole = Plan((scored.stages - 1,), (final_rule(request.final_k),), 0.0, 0.0, "recall", "query", costs.unit)
    full = outcome(whole, scored, costs, request.final_k)
    found, promised, goal = _chosen(request, scored, costs, full.cost, progress)
    with open_task(progress, "frontier", 1, "frontiers") as task:
        frontier = pareto_frontier(
            scored, costs, kinds=request.kinds, final_k=request.final_k, metric=request.metric, last=request.last
        )
        task.advance()
    rows = stage_rows(found, scored, costs, ranker.rates)
    report = PlanReport(
        found,
        promised,
        ranker.rates,
        rows,
        outcome(found, scored, costs, request.final_k),
        full,
        frontier,
        goal,
        tuple(_beside(found, whole, rows, each, scored) for each in known if each.unit != costs.unit),
        len(scored.sizes),
        len(scored.query),
        int((scored.relevant_by_query > 0).sum()),
        request.final_k,
        (files[0], files[1], files[2]),
        warnings,
        new.shares,
    )
    _write(report, request, scored)
    return report


def score_table(
    ranker: Ranker,
    table: CandidateTable,
    relevant: float = 1.0,
    progress: Progress | None = None,
    watch: Callable[[pl.DataFrame], None] | None = None,
) -> Scored:
    """Every rate's score for every candidate; the features are held a batch at a time. watch: is shown each batch."""
    scorer = RankerScorer(ranker, where=described(table.paths))
    parts = []
    with open_task(progress, "scoring", table.rows, "candidates") as task:
        for frame in table.batches():
            if watch is not None:
                watch(frame)
            parts.append(score_all(scorer, frame).frame)
            task.advance(len(frame))
    everything = pl.concat(parts)
    scores = np.stack([everything[f"score_{stage}"].to_numpy() for stage in range(len(ranker.rates))])
    qids, docids, labels = (everything[name].to_numpy() for name in ("qid", "docid", "label"))
    return Scored(qids, docids, labels, scores, relevant)


def check_fresh(seen: Seen, hashes: NDArray[np.int64], request: PlanRequest) -> tuple[str, ...]:
    """What there is to say of planning queries that the model was made with.

    seen: by the model. hashes: of the table's queries.

    Raises:
        CascadeError: for training queries where a recall is to be promised.
    """
    trained, validated = seen.trained_on(hashes), seen.validated_on(hashes)
    told = f"{trained} queries compared in {request.table} are ones that the model was trained on"
    if trained.known and request.confidence is not None:
        raise CascadeError(
            f"a promise needs queries that the model was not trained on, {told}; plan on a table of other queries"
        )
    if trained.known:
        return (f"{told}; of fresh queries expect less, or plan on a table of other queries",)
    if validated.known and request.confidence is not None:
        return (
            f"{validated} queries compared in {request.table} are ones that the model's epoch was chosen by, and the "
            "promise takes them for independent of the model; a table of other queries has no such tie",
        )
    return ()


def outcome(planned: Plan, scored: Scored, costs: StageCosts, final_k: int | None) -> Outcome:
    """Recall (NaN for none relevant) and nDCG of a plan, and its cost, as means over queries."""
    by_query, cost = evaluate_plan(replace(planned, metric="recall"), scored, costs, final_k)
    gains, _ = evaluate_plan(replace(planned, metric="ndcg"), scored, costs, final_k)
    return Outcome(float(np.nanmean(by_query)), float(np.nanmean(gains)), float(cost.mean()))


def stage_rows(planned: Plan, scored: Scored, costs: StageCosts, rates: Sequence[float]) -> tuple[StageRow, ...]:
    """The plan stage by stage, counted by the engine that will run it."""
    frame = pl.DataFrame({"qid": scored.qids, "docid": scored.docids})
    frame = frame.with_columns(pl.Series(f"s{stage}", scored.scores[stage]) for stage in planned.stages)
    infos = [StageInfo(rates[stage], 0, 0.0) for stage in planned.stages]
    scorer = CallableScorer([partial(_column, f"s{stage}") for stage in planned.stages], infos)
    result = Cascade(scorer, planned.rules).run(frame)
    queries = len(scored.sizes)
    return tuple(
        StageRow(rates[stage], rule, run.candidates_in / queries, each)
        for stage, rule, run, each in zip(
            planned.stages, planned.rules, result.stages, costs.path(planned.stages), strict=True
        )
    )


def _beside(found: Plan, whole: Plan, rows: Sequence[StageRow], costs: StageCosts, scored: Scored) -> Beside:
    spent = sum(row.candidates * each for row, each in zip(rows, costs.path(found.stages), strict=True))
    return Beside(costs.unit, spent, costs.path(whole.stages)[0] * len(scored.query) / len(scored.sizes))


def _column(name: str, frame: pl.DataFrame) -> NDArray[np.float64]:
    return frame[name].to_numpy()


def cost_of(text: str, full: float) -> float:
    """A cost per query: a number, or a share of the full network's, such as "25%".

    Raises:
        CascadeError: when it is neither.
    """
    share = text.strip().endswith("%")
    try:
        value = float(text.strip().rstrip("%"))
    except ValueError:
        raise CascadeError(
            f"--cost must be a number, or a share of the full network's such as 25%, got {text!r}; mend it"
        ) from None
    return value / 100 * full if share else value


def _chosen(
    request: PlanRequest, scored: Scored, costs: StageCosts, full: float, progress: Progress | None
) -> tuple[Plan, Promise | None, str]:
    """The plan, its promise, and the goal in words."""
    with open_task(progress, "planning", 1, "plans") as task:
        search = partial(plan, scored, costs, kinds=request.kinds, final_k=request.final_k, last=request.last)
        promised = None
        if request.recall is None:
            assert request.cost is not None
            budget = cost_of(request.cost, full)
            found = search(budget=budget, metric=request.metric)
            goal = f"best {METRICS[request.metric]} with cost <= {budget:.6g} {costs.unit} per query"
        elif request.confidence is None:
            found = search(at_least=request.recall)
            goal = f"recall >= {request.recall:g}"
        else:
            promised = promise(
                scored,
                costs,
                request.recall,
                request.confidence,
                kinds=request.kinds,
                final_k=request.final_k,
                seed=request.seed,
            )
            found, goal = promised.plan, f"recall >= {request.recall:g} with confidence {request.confidence:g}"
        task.advance()
    return found, promised, goal


def _write(report: PlanReport, request: PlanRequest, scored: Scored) -> None:
    """The frontier first, the cascade file last: where it is, everything is."""
    frame = report.frontier.frame().with_columns(
        rates=pl.Series([" ".join(f"{report.rates[stage]:g}" for stage in each.stages) for each in report.frontier])
    )
    columns = [name for name in frame.columns if name not in ("stages", "cutoffs", "rates")]
    with atomic_path(report.files[1]) as temporary:
        frame.select(*columns, "rates", "cutoffs").write_csv(temporary)
    with atomic_path(report.files[2]) as temporary:
        temporary.write_bytes(frontier_png(report))
    model = model_file(request.model).resolve()
    relative = os.path.relpath(model, report.files[0].parent.resolve()).replace(os.sep, "/")
    promised = report.promise
    made = Planned(
        goal=report.goal,
        cost=report.cascade.cost,
        unit=report.plan.unit,
        recall=report.cascade.recall,
        ndcg=report.cascade.ndcg,
        promised=None if promised is None else promised.recall,
        confidence=None if promised is None else promised.confidence,
        theorem=None if promised is None else promised.theorem,
        fingerprint=scored.fingerprint(),
    )
    stages = tuple(
        StageConfig(report.rates[stage], rule)
        for stage, rule in zip(report.plan.stages, report.plan.rules, strict=True)
    )
    write_config(report.files[0], CascadeConfig(relative, stages, made))

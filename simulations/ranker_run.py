"""`slicerank run`: a cascade file over a candidate table of any length, in bounded memory."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from cascade import (
    Cascade,
    CascadeConfig,
    CascadeError,
    CascadeResult,
    KeepRule,
    RankedRule,
    SubsetScorer,
    TopK,
    TopKColumn,
    feature_costs,
    read_config,
    within_budget,
)
from cascade.keep import check_cutoffs
from cascade.pipeline import DEFAULT_BATCH
from data import CandidateTable, DataError, write_run
from data.candidates import BATCH_ROWS
from data.files import no_room
from simulations.new_ids import NewIds
from simulations.ranker_costs import path_flops
from simulations.ranker_files import TREC_SUFFIXES, load_ranker, model_file, open_for
from simulations.run_cost import RunCost
from simulations.run_parts import Parts, file_fingerprint, table_fingerprint
from simulations.tables import RankerScorer
from slicing import Ranker
from slicing.files import atomic_path, check_writable, refuse_overwriting
from slicing.progress import Progress, open_task


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        cascade: the cascade file, which names the model. table: the candidates, labels not looked at.
        out: .parquet, or .trec or .run for a TREC run.
        columns: stage's rate -> column of the table, of whole numbers or nulls, whose value in a query replaces the
            stage's top k there. It may be a feature besides.
        budget: such a column, the most multiply-adds that a query may cost; the cutoffs before the last are scaled to
            it (see `cascade.budget`). None keeps to the file, as null does for a query. What is computed once per
            query is charged once.
        resume: go on from the parts that an interrupted run left beside `out`.
        rows: of the table held at a time (whole queries), at least 1; a part of the output each.
        only_kept: write what the last stage keeps alone.
    """

    cascade: Path
    table: Path
    out: Path
    columns: Mapping[float, str] = field(default_factory=dict)
    budget: str | None = None
    resume: bool = False
    rows: int = BATCH_ROWS
    only_kept: bool = False


@dataclass
class StageTotal:
    """The account of one stage: candidates in and out, multiply-adds and seconds in the scorer, over all parts."""

    rate: float
    rule: KeepRule
    candidates_in: int = 0
    candidates_out: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    feature_cost: float = 0.0  # per candidate, of what no earlier stage has read


@dataclass(frozen=True)
class RunReport:
    """A finished run.

    Attributes:
        out: what was written. candidates, queries: of the table. stages: their accounts.
        cost: of all stages together; a Parquet ranking holds it too, in its metadata.
        seconds: of this call; resumed: candidates that an earlier call had done.
        new_ids: the share of each column's ids that the model has not seen in training, where there are any.
    """

    out: Path
    candidates: int
    queries: int
    stages: tuple[StageTotal, ...]
    cost: RunCost
    seconds: float
    resumed: int
    new_ids: Mapping[str, float]


def run_cascade(request: RunRequest, progress: Progress | None = None) -> RunReport:
    """Run a cascade over a table and write the ranking, whole or not at all.

    Parquet columns: qid, docid, rank (1-based in the query), score (of the last stage that scored it), stage (that
    stage, from 0), score_RATE for each stage (null where not reached), kept (in the final cut); by qid, then rank.
    A TREC run holds every candidate, with scores that fall with the rank. With `only_kept` either holds the final cut,
    and the Parquet file neither stage nor kept, which say nothing then.

    The same input gives the same file, whatever the order of the table's rows.

    Resuming takes a table to be unchanged when its size, time of change and first and last MiB are: a change in the
    middle that keeps all of these is not noticed.

    Raises:
        CascadeError: for a damaged cascade file, one that doesn't fit the model, another input than the one resumed.
        DataError: for a table that can't be read, or lacks a column.
        SlicingError: for a model that can't be read, or an output that is an input.
    """
    began = perf_counter()
    trec = request.out.suffix.lower() in TREC_SUFFIXES
    if not trec and request.out.suffix.lower() != ".parquet":
        raise CascadeError(f"the output must end in .parquet, .trec or .run, got {request.out}; rename it")
    refuse_overwriting([request.out], (request.table, request.cascade))
    check_writable(request.out)
    config = read_config(request.cascade)
    model = model_file(request.cascade.parent / config.model)
    refuse_overwriting([request.out], [model])
    ranker = load_ranker(model)
    cascade = cascade_of(config, ranker, request.columns, request.budget, request.table)
    table = open_for(ranker, request.table, "ignored", columns_read(cascade.rules), config.rates[-1])
    identity = {
        "table": table_fingerprint(request.table),
        "model": file_fingerprint(model),
        "cascade": f"{file_fingerprint(request.cascade)} {sorted(request.columns.items())} {request.budget!r}",
        "rows at a time": str(request.rows),
        "candidates written": "kept" if request.only_kept else "all",
    }
    parts = Parts(request.out, identity, request.out.suffix.lower() if trec else ".arrow")
    parts.begin(request.resume)
    rates = config.rates
    fetched = feature_costs(cascade.scorer.stages)
    stages = tuple(
        StageTotal(rate, rule, feature_cost=each)
        for rate, rule, each in zip(rates, cascade.rules, fetched, strict=True)
    )
    new = NewIds(ranker)
    try:
        count, resumed = _run_parts(request, cascade, table, parts, stages, trec, progress, new)
        cost = _cost(ranker, table, stages)
        with atomic_path(request.out) as temporary:
            _join(parts, count, temporary, None if trec else cost)
    except ValueError as error:
        if error.__cause__ is None or no_room(error.__cause__) is None:
            parts.discard()  # the input must change, so its parts are of no use
        raise
    parts.discard()
    return RunReport(request.out, table.rows, table.queries, stages, cost, perf_counter() - began, resumed, new.shares)


def cascade_of(
    config: CascadeConfig,
    ranker: Ranker,
    columns: Mapping[float, str],
    budget: str | None = None,
    where: object = "the table",
) -> Cascade:
    """The cascade that a file describes, with some stages' cutoffs, or each query's budget, read from the table.

    Where a query's cutoff is null, a stage whose rule is a top k keeps to it; any other refuses nulls. The budget is in
    multiply-adds. where: the table's name, for errors.

    Raises:
        CascadeError: for a rate that the ranker, or the file, does not have; a cutoff that a budget can't scale.
    """
    unknown = [rate for rate in config.rates if rate not in ranker.rates]
    if unknown:
        raise CascadeError(f"the cascade uses rate {unknown[0]:g}, the model has {list(ranker.rates)}; plan again")
    strange = [rate for rate in columns if rate not in config.rates]
    if strange:
        raise CascadeError(f"no stage has rate {strange[0]:g}, the cascade's are {list(config.rates)}; name one")
    check_cutoffs(config.rules)
    rules = [_overridden(stage.rule, columns.get(stage.rate)) for stage in config.stages]
    stages = [ranker.rates.index(rate) for rate in config.rates]
    if budget is not None:
        each, once = path_flops(ranker, stages)
        rules = within_budget(rules, each, budget, once)
    return Cascade(SubsetScorer(RankerScorer(ranker, where=where), stages), rules)


def columns_read(rules: tuple[KeepRule, ...]) -> tuple[str, ...]:
    """The columns of the table that cutoffs come from."""
    return tuple(dict.fromkeys(name for rule in rules if isinstance(rule, RankedRule) for name in rule.columns))


def score_column(rate: float) -> str:
    """The output's column of a stage's scores."""
    return f"score_{rate:.12g}"


def _overridden(rule: KeepRule, column: str | None) -> KeepRule:
    if column is None:
        return rule
    return TopKColumn(column, rule.k if isinstance(rule, TopK) else None)


def _run_parts(
    request: RunRequest,
    cascade: Cascade,
    table: CandidateTable,
    parts: Parts,
    stages: tuple[StageTotal, ...],
    trec: bool,
    progress: Progress | None,
    new: NewIds,
) -> tuple[int, int]:
    """Make every part that is not there yet; how many there are, and candidates in those that were."""
    number = resumed = 0
    fresh = False
    with open_task(progress, "cascade", table.rows, "candidates") as task:
        for number, frame in enumerate(table.batches(request.rows, folder=parts.folder), start=1):
            new.count(frame)
            account = None if fresh else parts.account(number)
            if account is None:
                fresh = True
                result = cascade.run(frame, batch=DEFAULT_BATCH, only_kept=request.only_kept)
                ranked = _ranked(result, stages, request.only_kept)
                with atomic_path(parts.path(number)) as temporary:
                    if trec:
                        write_run(ranked, temporary, by_rank=True)
                    else:
                        ranked.write_ipc(temporary, compression="lz4")
                account = _account(result)
                parts.finish(number, account)
            else:
                resumed += len(frame)
            for stage, (came, left, flops, seconds) in zip(stages, account, strict=True):
                stage.candidates_in += came
                stage.candidates_out += left
                stage.flops += flops
                stage.seconds += seconds
            task.advance(len(frame))
    return number, resumed


def _ranked(result: CascadeResult, stages: tuple[StageTotal, ...], only_kept: bool) -> pl.DataFrame:
    """The result with the scores under their rates' names, in the 32 bits that the network gave them in."""
    scores = [pl.col(f"score_{i}").cast(pl.Float32).alias(score_column(each.rate)) for i, each in enumerate(stages)]
    stage, kept = ([], []) if only_kept else (["stage"], ["kept"])
    return result.frame.select("qid", "docid", "rank", pl.col("score").cast(pl.Float32), *stage, *scores, *kept)


def _account(result: CascadeResult) -> list[list[Any]]:
    return [
        [run.candidates_in, run.candidates_out, (run.flops or 0.0) * run.candidates_in, run.seconds]
        for run in result.stages
    ]


def _cost(ranker: Ranker, table: CandidateTable, stages: Sequence[StageTotal]) -> RunCost:
    (each,), (once,) = path_flops(ranker, [len(ranker.rates) - 1])
    return RunCost(
        queries=table.queries,
        flops=sum(stage.flops for stage in stages),
        full_flops=each * table.rows + once * table.queries,
        feature_cost=sum(stage.feature_cost * stage.candidates_in for stage in stages),
        full_feature_cost=ranker.feature_costs[-1] * table.rows,
    )


def _join(parts: Parts, count: int, path: Path, cost: RunCost | None) -> None:
    """The parts behind one another: as Parquet with the cost in its metadata, or with none as a TREC run."""
    pieces = [parts.path(number) for number in range(1, count + 1)]
    if not pieces:
        raise DataError("the table holds no candidate: at least one row is wanted")
    if cost is not None:
        whole_run = pl.scan_ipc(pieces, glob=False)
        whole_run.sink_parquet(path, engine="streaming", maintain_order=True, metadata=cost.note())
        return
    with path.open("wb") as whole:
        for piece in pieces:
            with piece.open("rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)

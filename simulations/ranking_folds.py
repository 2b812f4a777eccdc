"""Runs of several seeds and folds as one: each query is in one fold's test part, scored by that fold's models."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from cascade import AllScores, CascadeResult, StageInfo, StageRun


def of_run(frame: pl.DataFrame, run: str) -> pl.DataFrame:
    """The frame with query ids that say the run, such as ``seed/fold``, so that no two runs share one."""
    return frame.with_columns(qid=pl.format("{}/{}", pl.lit(run), pl.col("qid")))


def mean_over_seeds(per_query: pl.DataFrame) -> pl.DataFrame:
    """A row per ``fold/qid`` from one per ``seed/fold/qid``: each column's mean over the seeds."""
    return _grouped(per_query.with_columns(pl.col("qid").str.replace("^[^/]*/", "")))


def mean_by_seed(per_query: pl.DataFrame) -> pl.DataFrame:
    """A row per seed, in the column ``seed``, from one per ``seed/fold/qid``: each column's mean over its queries."""
    return _grouped(per_query.with_columns(pl.col("qid").str.extract("^([^/]*)/"))).rename({"qid": "seed"})


def _grouped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("qid", maintain_order=True).mean()


def joined_results(results: Sequence[CascadeResult]) -> CascadeResult:
    """Frames below each other, candidates and seconds summed; sizes and costs per candidate are means."""
    stages = [_joined([result.stages[k] for result in results]) for k in range(len(results[0].stages))]
    return CascadeResult(
        frame=pl.concat([result.frame for result in results]).sort("qid", "rank"),
        stages=tuple(stages),
        seconds=sum(result.seconds for result in results),
        params_held=round(sum(result.params_held for result in results) / len(results)),
    )


def joined_scores(scores: Sequence[AllScores]) -> AllScores:
    """Frames below each other, in their canonical order."""
    infos = [_mean_info([each.stages[k] for each in scores]) for k in range(len(scores[0].stages))]
    return AllScores(pl.concat([each.frame for each in scores]).sort("qid", "docid"), tuple(infos))


def _joined(runs: Sequence[StageRun]) -> StageRun:
    into = sum(run.candidates_in for run in runs)
    spent = sum((run.flops or 0.0) * run.candidates_in for run in runs)
    return replace(
        runs[0],
        info=_mean_info([run.info for run in runs]),
        candidates_in=into,
        candidates_out=sum(run.candidates_out for run in runs),
        flops=spent / into if into else None,
        seconds=sum(run.seconds for run in runs),
    )


def _mean_info(infos: Sequence[StageInfo]) -> StageInfo:
    count = len(infos)
    return StageInfo(
        infos[0].rate,
        round(sum(info.params for info in infos) / count),
        sum(info.flops for info in infos) / count,
        infos[0].features,  # of the columns, which every fold shares
    )

"""Candidate tables for rankers: a frame's columns as arrays, and rankers as stage scorers of the cascade engine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from cascade import Rows, StageInfo, StageScores
from slicing import IncrementalScorer, Ranker, RankerSession, RefusedValue, SlicingError, parameter_count
from slicing.reuse import Reuse


def columns_of(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Columns as (N,) arrays; a numeric null becomes NaN, which a ranker reads as missing.

    Raises:
        CascadeError: when a column is missing.
    """
    Rows(frame).require(names)
    return {name: _array(frame[name]) for name in names}


def _array(column: pl.Series) -> NDArray[np.generic]:
    if column.dtype.is_integer() and not column.null_count():
        return column.to_numpy()
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        return column.cast(pl.Float32).to_numpy()  # nulls become NaN
    return column.to_numpy()


def named(error: RefusedValue, candidates: pl.DataFrame, where: object) -> SlicingError:
    """The refusal with the table, the query and the candidate in place of the row."""
    if error.row is None or not {"qid", "docid"} <= set(candidates.columns):
        return SlicingError(f"{where}: {error}")
    qid, docid = candidates.select("qid", "docid").row(error.row)
    return SlicingError(f"{where}: {error.at(f'query {qid!r}, candidate {docid!r}')}")


def stage_infos(ranker: Ranker) -> tuple[StageInfo, ...]:
    """What each rate of a ranker costs from scratch."""
    return tuple(
        StageInfo(rate, parameter_count(ranker.network, rate), ranker.flops(rate), features)
        for rate, features in zip(ranker.rates, ranker.feature_costs, strict=True)
    )


class RankerScorer:
    """A sliced ranker, a stage per rate; a later stage widens what an earlier one has computed.

    A stage reads the columns of its tier for its candidates alone, and what is constant within a query goes through
    the network once per query.

    Args:
        ranker: in eval mode.
        reuse: as :class:`slicing.IncrementalScorer` takes it; ``always`` approximates on a dense network.
        where: the table's name, for errors.
    """

    def __init__(self, ranker: Ranker, reuse: Reuse = "auto", where: object = "the table") -> None:
        self.stages = stage_infos(ranker)
        self.params_held = self.stages[-1].params
        self.ranker, self._where = ranker, where
        self._scorer = IncrementalScorer(ranker.network, reuse=reuse)

    def start(self, candidates: pl.DataFrame) -> "_RankerSession":
        """A session over the candidates' columns."""
        return self.start_rows(Rows(candidates))

    def start_rows(self, rows: Rows) -> "_RankerSession":
        """The same over candidates whose columns are yet to be gathered."""

        def read(names: Sequence[str], positions: NDArray[np.int64] | None) -> dict[str, NDArray[np.generic]]:
            return columns_of(rows.read(names, positions), names)

        queries = None
        if self.ranker.query:
            queries = rows.read(["qid"])["qid"].rank("dense").cast(pl.Int64).to_numpy() - 1
        session = RankerSession(self.ranker, self._scorer, read, len(rows), queries)
        return _RankerSession(session, self.ranker.rates, rows, self._where)


class _RankerSession:
    def __init__(self, session: RankerSession, rates: Sequence[float], rows: Rows, where: object) -> None:
        self._session, self._rates, self._rows, self._where = session, rates, rows, where

    def score(self, stage: int) -> StageScores:
        try:
            values = self._session.widen(self._rates[stage])
        except RefusedValue as error:
            raise named(error, self._rows.read(("qid", "docid")), self._where) from error
        return StageScores(values.float().numpy(), self._session.session.flops, self._session.session.mode)

    def keep(self, survivors: NDArray[np.int64]) -> None:
        self._session.select(survivors)


class SeparateRankers:
    """One ranker of its own per stage, over the same features: the usual cascade.

    Args:
        rankers: cheapest first, each run at its full width, each reading what the one before reads, or more.
        rates: of the sliced network whose widths they have, for the report.
        features: what each one's features cost a candidate.
    """

    def __init__(self, rankers: Sequence[Ranker], rates: Sequence[float], features: Sequence[float]) -> None:
        infos = [stage_infos(ranker)[-1] for ranker in rankers]
        self.stages = tuple(
            replace(info, rate=rate, features=cost) for rate, info, cost in zip(rates, infos, features, strict=True)
        )
        self.params_held = sum(info.params for info in infos)
        self.rankers = tuple(rankers)
        self._scorers = [IncrementalScorer(ranker.network, reuse="never") for ranker in rankers]

    def start(self, candidates: pl.DataFrame) -> "_SeparateSession":
        """A session over the candidates' features, transformed once where every ranker reads the same."""
        return _SeparateSession(self, self._scorers, candidates)


class _SeparateSession:
    def __init__(self, owner: SeparateRankers, scorers: Sequence[IncrementalScorer], candidates: pl.DataFrame) -> None:
        self._owner, self._scorers, self._candidates = owner, scorers, candidates
        self._columns: tuple[str, ...] = ()  # that the inputs were made of
        self._inputs: tuple[Tensor, ...] = ()

    def score(self, stage: int) -> StageScores:
        ranker = self._owner.rankers[stage]
        if ranker.columns != self._columns:
            self._columns, self._inputs = ranker.columns, ranker.inputs(columns_of(self._candidates, ranker.columns))
        values = self._scorers[stage].start(*self._inputs).widen(1.0)
        return StageScores(values[:, 0].float().numpy(), self._owner.stages[stage].flops, "fresh")

    def keep(self, survivors: NDArray[np.int64]) -> None:
        rows = torch.from_numpy(survivors)
        self._inputs = tuple(x[rows] for x in self._inputs)
        self._candidates = self._candidates[survivors]


Labelled = tuple[Mapping[str, NDArray[Any]], NDArray[Any], NDArray[Any]]


def ranker_arrays(frame: pl.DataFrame, names: Sequence[str]) -> Labelled:
    """Features, labels and query ids of a labelled table, as :func:`slicing.fit_ranker` takes them."""
    return columns_of(frame, names), frame["label"].to_numpy(), frame["qid"].to_numpy()

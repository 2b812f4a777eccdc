"""What a run of a cascade cost, kept in the ranking's own file, so that whoever measures the ranking can show it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

_KEY = "slicerank.cost"


@dataclass(frozen=True)
class RunCost:
    """The cost of all queries together.

    Attributes:
        queries: at least 1.
        flops: multiply-adds that were spent. full_flops: of the full network on every candidate, which passes what is
            constant within a query once per query, too.
        feature_cost: of the features that were fetched, in the unit of the ranker's tiers, 0 without tiers that cost.
            full_feature_cost: of every feature of every candidate.
    """

    queries: int
    flops: float
    full_flops: float
    feature_cost: float
    full_feature_cost: float

    def note(self) -> dict[str, str]:
        """As a Parquet file's metadata."""
        return {_KEY: json.dumps(asdict(self))}


def read_cost(path: Path) -> RunCost | None:
    """The cost that `run` noted in a Parquet ranking; None for any other file."""
    if path.suffix.lower() != ".parquet":
        return None
    noted = pl.read_parquet_metadata(path).get(_KEY)
    try:
        return None if noted is None else RunCost(**json.loads(noted))
    except (TypeError, ValueError):  # of another version
        return None


def _number(value: float) -> str:
    """With thousands separated; below 100, four digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def per_query(cost: RunCost) -> dict[str, str]:
    """FLOPs, and where features cost something what they cost, with the share of the full network's on everything."""
    shown = {"FLOPs per query": (cost.flops, cost.full_flops)}
    if cost.full_feature_cost:
        shown["feature cost per query"] = cost.feature_cost, cost.full_feature_cost
    return {
        name: _number(spent / cost.queries) + (f" ({spent / full:.1%})" if full else "")
        for name, (spent, full) in shown.items()
    }

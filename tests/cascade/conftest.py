from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from cascade.callables import CallableScorer
from cascade.scorer import StageInfo


@pytest.fixture(scope="session")
def column_scorer() -> Callable[..., CallableScorer]:
    """A scorer that reads stage k's scores from the k-th column: a list column gives scores per class."""

    def make(columns: Sequence[str], *, order_free: bool = False) -> CallableScorer:
        def read(frame: pl.DataFrame, name: str) -> np.ndarray:
            return np.array(frame[name].to_list(), dtype=float)

        infos = [StageInfo(None, 10 ** (s + 1), float(2 * 10**s)) for s in range(len(columns))]
        functions = [lambda f, name=name: read(f, name) for name in columns]
        return CallableScorer(functions, infos, order_free=order_free)

    return make

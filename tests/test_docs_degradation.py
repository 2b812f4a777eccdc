"""The code in docs/degradation.md runs as it stands."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from cascade import Anytime, Batcher, CallableScorer, StageInfo, measure_latency

TEXT = Path(__file__).parent.parent / "docs" / "degradation.md"


def test_both_ways_to_serve() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT.read_text(encoding="utf-8"), re.DOTALL)
    scorer = CallableScorer(
        [lambda candidates: candidates["docid"].to_numpy().astype(float)] * 2, [StageInfo(None, 0, 0.0)] * 2
    )
    names: dict[str, Any] = {
        "pl": pl,
        "scorer": scorer,
        "candidates": pl.DataFrame({"docid": range(100)}),
        "ThreadPoolExecutor": ThreadPoolExecutor,
        "Anytime": Anytime,
        "Batcher": Batcher,
        "measure_latency": measure_latency,
    }
    assert len(blocks) == 2
    exec(blocks[0], names)
    assert names["answer"].values.tolist() == [3, 5]
    exec(blocks[1], names)
    assert names["answer"].result().values.tolist() == [3, 5]

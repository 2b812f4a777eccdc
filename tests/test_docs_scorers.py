"""The code in docs/scorers.md runs as it stands."""

import re
from pathlib import Path
from typing import Any

import polars as pl

TEXT = Path(__file__).parent.parent / "docs" / "scorers.md"


def test_the_page_runs_from_top_to_bottom() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, Any] = {}
    exec(blocks[0], names)
    frame = names["result"].frame
    assert frame.height == 4000
    assert frame.filter("kept").height == 200
    exec(blocks[1], names)
    kept = frame.filter("kept")
    assert names["best"].equals(kept)
    exec(blocks[2], names)
    logged = names["logged"]
    through = logged.filter(pl.col("old").rank("ordinal", descending=True).over("qid") <= 50)
    expected = through.sort("qid", "new", descending=[False, True]).group_by("qid", maintain_order=True).head(10)
    assert names["best"]["docid"].to_list() == expected["docid"].to_list()
    exec(blocks[3], names)
    assert [stage.mode for stage in names["result"].stages] == ["fresh", "reuse"]
    exec(blocks[4], names)

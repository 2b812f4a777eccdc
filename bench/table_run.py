"""`slicerank run` over a long table: a planned cascade against the full network on every candidate."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from bench.timing import side_by_side
from cascade import CascadeConfig, KeepRule, StageConfig, TopK, TopShare, write_config
from data import synthetic, synthetic_batches, write_candidates
from simulations.ranker_run import RunReport, RunRequest, run_cascade
from slicing import FeatureTransform, Ranker, SlicedNetwork, convert
from slicing.models.ranker import ranker_module
from slicing.ranker import stacked

QUERIES, PER_QUERY, FEATURES = 1_000, 1_000, 46
RATES = (0.125, 0.5, 1.0)
HIDDEN = (512, 512)
KEEPS: tuple[KeepRule, ...] = (TopShare(0.3), TopShare(0.1), TopK(10))


def untrained_ranker(features: int = FEATURES) -> Ranker:
    """A nested ranker of random weights, which takes as long as a trained one, with the default transform."""
    names = [f"f{index + 1}" for index in range(features)]
    columns = {name: values.to_numpy() for name, values in synthetic(50, 100, features).select(names).to_dict().items()}
    numeric = dict.fromkeys(names, 1)
    transform = FeatureTransform.fit(stacked(columns, numeric), names=names)
    torch.manual_seed(0)
    spec = convert(ranker_module(features, hidden=HIDDEN), RATES, "dense", input_shape=(features,)).spec
    return Ranker(SlicedNetwork(spec, RATES, "nested").eval(), transform, numeric, {})


def run_1m(repeats: int) -> dict[str, Any]:
    """1,000,000 candidates of 46 features from Parquet to Parquet, both sides with the same streaming run.

    Ours: rates 0.125, 0.5, 1.0 on 100%, 30%, 10% of the candidates. Rival: the same network at rate 1.0 on everything.
    `network_ratio` is of the time in the scorers alone; `ratio` has reading, the features' transform, ranking and
    writing in both sides.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_candidates(synthetic_batches(QUERIES, PER_QUERY, FEATURES), folder / "table.parquet")
        untrained_ranker().save(folder / "model.safetensors")
        stages = tuple(StageConfig(rate, rule) for rate, rule in zip(RATES, KEEPS, strict=True))
        write_config(folder / "ours.toml", CascadeConfig("model.safetensors", stages))
        write_config(folder / "rival.toml", CascadeConfig("model.safetensors", (StageConfig(1.0, TopK(10)),)))
        reports: dict[str, list[RunReport]] = {"ours": [], "rival": []}

        def side(which: str) -> None:
            request = RunRequest(folder / f"{which}.toml", folder / "table.parquet", folder / f"{which}.parquet")
            reports[which].append(run_cascade(request))

        spent = {}
        entry = side_by_side("run-1m", lambda: side("ours"), lambda: side("rival"), None, repeats)
        for which, found in reports.items():
            spent[which] = sum(stage.flops for stage in found[-1].stages)
            seconds = sorted(sum(stage.seconds for stage in report.stages) for report in found[1:])
            entry[f"{which}_network_seconds"] = seconds[len(seconds) // 2]
        entry["flops_ratio"] = spent["ours"] / spent["rival"]
        entry["network_ratio"] = entry["ours_network_seconds"] / entry["rival_network_seconds"]
        return entry

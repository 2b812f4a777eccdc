"""A small labelled table and an untrained nested ranker for it, as files."""

from pathlib import Path

import polars as pl
import pytest
import torch

from data import synthetic, write_candidates
from slicing import FeatureTransform, Ranker, SlicedNetwork, convert
from slicing.models.ranker import ranker_module
from slicing.ranker import stacked

RATES = (0.25, 0.5, 1.0)
FEATURES = 6


@pytest.fixture
def labelled() -> pl.DataFrame:
    """30 queries of 20 candidates, label 0 to 3."""
    return synthetic(30, 20, FEATURES, seed=1)


@pytest.fixture
def table(tmp_path: Path, labelled: pl.DataFrame) -> Path:
    """The labelled table as a file."""
    path = tmp_path / "table.parquet"
    write_candidates(labelled, path)
    return path


@pytest.fixture
def model(tmp_path: Path, labelled: pl.DataFrame, request: pytest.FixtureRequest) -> Path:
    """A ranker of random weights in a folder, as training leaves it: nested, or of the connectivity asked for."""
    names = [f"f{index + 1}" for index in range(FEATURES)]
    columns = {name: labelled[name].to_numpy() for name in names}
    transform = FeatureTransform.fit(stacked(columns, dict.fromkeys(names, 1)), names=names)
    torch.manual_seed(3)
    spec = convert(ranker_module(FEATURES, hidden=(32, 32)), RATES, "dense", input_shape=(FEATURES,)).spec
    folder = tmp_path / "model"
    folder.mkdir()
    network = SlicedNetwork(spec, RATES, getattr(request, "param", "nested")).eval()
    Ranker(network, transform, dict.fromkeys(names, 1), {}).save(folder / "model.safetensors")
    return folder

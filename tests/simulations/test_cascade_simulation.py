"""The cascade simulation against arithmetic done by hand on the networks it trained."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import slicing
from cascade import check_scorer
from data import load_images, normalise
from simulations.cascade import paper_candidates, retrieval_candidates, simulate_cascade
from simulations.image_models import separate_network, sliced_network, template
from simulations.scorers import SLICE, Images, SeparateScorer, SlicedScorer
from simulations.settings import CascadeSettings, Model
from slicing import SlicingError

RATES = (0.5, 1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[CascadeSettings, dict]:
    settings = CascadeSettings(
        out=tmp_path_factory.mktemp("run"),
        width=0.25,
        rates=RATES,
        epochs=2,
        connectivity=("nested", "dense", "mixed@1.0,0=trunk"),
    )
    simulate_cascade(settings, "slicerank simulate cascade")
    return settings, json.loads((settings.out / "report.json").read_text())


def test_candidates_of_both_protocols() -> None:
    labels = np.array([1, 0, 1])
    assert paper_candidates(labels).select("qid", "docid", "target", "label").rows() == [
        (1, 0, 1, 1),
        (0, 1, 0, 1),
        (1, 2, 1, 1),
    ]
    assert retrieval_candidates(labels, 2).select("qid", "docid", "target", "label").rows() == [
        (0, 0, 0, 0),
        (0, 1, 0, 1),
        (0, 2, 0, 0),
        (1, 0, 1, 1),
        (1, 1, 1, 0),
        (1, 2, 1, 1),
    ]


def test_report_equals_counting_predictions_by_hand(run: tuple[CascadeSettings, dict]) -> None:
    settings, report = run
    data = load_images("digits", seed=settings.seed)
    network = slicing.load(settings.out / "networks" / "sliced-nested.safetensors")
    x = normalise(data.test.images, data.mean, data.std)
    with torch.no_grad():
        right = torch.stack([network(x, rate=rate).argmax(1) == data.test.labels for rate in RATES])
    system = report["protocols"]["paper"]["systems"][0]
    assert system["name"] == "sliced-nested"
    assert [stage["precision"] for stage in system["stages"]] == [float(r.double().mean()) for r in right]
    both = (right[0] & right[1]).double().mean()
    assert [stage["aggregate_recall"] for stage in system["stages"]] == [float(right[0].double().mean()), float(both)]
    wrong = ~right
    assert system["inclusion"]["matrix"][0][1] == pytest.approx(int((wrong[0] & wrong[1]).sum()) / int(wrong[1].sum()))


def test_flops_of_a_kept_item_are_the_sum_of_the_increments(run: tuple[CascadeSettings, dict]) -> None:
    settings, report = run
    network = slicing.load(settings.out / "networks" / "sliced-nested.safetensors")
    nested, dense, reused, _, separate = report["protocols"]["paper"]["systems"]
    shape = (1, 8, 8)
    assert nested["flops_per_kept_item"] == slicing.flops(network, shape)
    assert [s["flops_increment"] for s in nested["stages"]] == [
        slicing.flops(network, shape, 0.5),
        slicing.flops(network, shape, 1.0, 0.5),
    ]
    assert separate["flops_per_kept_item"] == sum(stage["flops"] for stage in separate["stages"])
    assert [stage["mode"] for stage in reused["stages"]] == ["fresh", "reuse"]
    assert [stage["mode"] for stage in dense["stages"]] == ["fresh", "recompute"]
    assert report["full_pass_flops"] == separate["stages"][-1]["flops"]


def test_retrieval_spends_less_than_every_item_at_every_stage(run: tuple[CascadeSettings, dict]) -> None:
    _, report = run
    for system in report["protocols"]["retrieval"]["systems"]:
        stages = system["stages"]
        assert stages[1]["candidates_in"] == stages[0]["candidates_out"] < stages[0]["candidates_in"] == 3600
        assert system["flops_total"] == sum(s["flops_increment"] * s["candidates_in"] for s in stages)


def test_approximate_reuse_reports_its_score_error(run: tuple[CascadeSettings, dict]) -> None:
    _, report = run
    reused = report["protocols"]["paper"]["systems"][2]
    assert reused["name"] == "sliced-dense-reuse"
    narrow, wide = reused["reuse_error"]
    assert narrow["mean"] == pytest.approx(0, abs=1e-5)
    assert wide["mean"] > 1e-3


@pytest.fixture(scope="module")
def images() -> Images:
    data = load_images("digits")
    return Images(replace(data.test, images=data.test.images[:40], labels=data.test.labels[:40]), data.mean, data.std)


def test_images_are_normalised_slice_by_slice_in_the_order_asked_for() -> None:
    data = load_images("digits")
    asked = torch.arange(2 * SLICE + 5).flip(0) % len(data.test)
    found = Images(data.test, data.mean, data.std).of(pl.DataFrame({"docid": asked.numpy()}))
    assert torch.equal(found, normalise(data.test.images[asked], data.mean, data.std))


@pytest.mark.parametrize("reuse", ["auto", "always", "never"])
def test_the_sliced_network_conforms_to_the_scorer_protocol(images: Images, reuse: str) -> None:
    settings = CascadeSettings(out=Path("unused"), width=0.25, rates=RATES)
    network = sliced_network(settings, load_images("digits"), "nested").eval()
    check_scorer(lambda: SlicedScorer(network, images, reuse), paper_candidates(images.split.labels.numpy()))


def test_separate_networks_conform_to_the_scorer_protocol(images: Images) -> None:
    settings = CascadeSettings(out=Path("unused"), width=0.25, rates=RATES)
    data = load_images("digits")
    networks = [separate_network(settings, data, rate).eval() for rate in RATES]
    infos = SlicedScorer(sliced_network(settings, data, "dense"), images).stages
    frame = paper_candidates(images.split.labels.numpy())
    check_scorer(lambda: SeparateScorer(networks, infos, images, 16), frame)


def test_separate_networks_have_the_widths_and_costs_of_the_dense_r_net() -> None:
    settings = CascadeSettings(out=Path("unused"), rates=RATES)
    data = load_images("digits")
    dense = sliced_network(settings, data, "dense")
    narrow = separate_network(settings, data, 0.5)
    assert sum(p.numel() for p in narrow.parameters()) == slicing.parameter_count(dense, 0.5)
    assert not any(type(module).__module__.startswith("slicing") for module in narrow.modules())
    whole = separate_network(settings, data, 1.0)
    assert {k: v.shape for k, v in whole.state_dict().items()} == {
        k: v.shape for k, v in template(settings, data).state_dict().items()
    }


def test_every_model_has_the_channels_that_its_name_says():
    """Parameters in millions (Table 1); VGG-16's are printed for 1000 classes, so here only its depth."""
    data = load_images("digits")
    image = replace(data.train.take(torch.tensor([0])), images=data.train.images.new_zeros(1, 3, 32, 32))
    tall = replace(data, train=image)
    expected = {"vgg13": 9.42, "resnet-164-1": 1.72, "resnet-56-2": 2.35, "wrn-28-10": 36.49}
    found = {}
    for model in get_args(Model):
        with torch.device("meta"):
            module = template(CascadeSettings(out=Path(), model=model), tall)
        found[model] = round(sum(parameter.numel() for parameter in module.parameters()) / 1e6, 2)
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        assert model != "vgg16" or len(layers) == 16
    assert expected.items() <= found.items()


@pytest.mark.parametrize("model", ["vgg13", "vgg16"])
def test_images_too_small_for_five_poolings_are_refused(model):
    with pytest.raises(SlicingError, match=f"{model} pools five times .* got 8x8; choose --model small-cnn"):
        template(CascadeSettings(out=Path(), model=model), load_images("digits"))


def test_mixed_rates_and_a_trunk_are_a_system_named_by_their_connectivity(run: tuple[CascadeSettings, dict]) -> None:
    settings, report = run
    network = slicing.load(settings.out / "networks" / "sliced-mixed@1,0=trunk.safetensors")
    system = report["protocols"]["paper"]["systems"][3]
    assert system["name"] == f"sliced-{network.connectivity}" == "sliced-mixed@1,0=trunk"
    assert system["cache_bytes"] == [slicing.cache_bytes(network, (1, 8, 8), rate) for rate in RATES]


def test_a_stage_where_a_segment_begins_costs_a_whole_pass_but_for_the_trunk() -> None:
    settings = CascadeSettings(Path(), width=0.5, rates=(0.25, 0.5, 1.0))
    data = load_images("digits")
    network = sliced_network(settings, data, "mixed@1,0=trunk,3=trunk").eval()
    images = Images(data.test, data.mean, data.std)
    session = SlicedScorer(network, images).start(pl.DataFrame({"docid": [0, 1]}))
    first, second, last = (session.score(stage) for stage in range(3))
    shape, trunk = (1, 8, 8), (9 * 32 + 32 * 9 * 32) * 64
    assert (first.flops, first.mode) == (slicing.flops(network, shape, 0.25), "fresh")
    assert (second.flops, second.mode) == (slicing.flops(network, shape, 0.5) - first.flops, "reuse")
    assert (last.flops, last.mode) == (slicing.flops(network, shape) - trunk, "reuse")

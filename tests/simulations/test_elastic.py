"""The experiments on elastic image networks, tiny, against what their networks and checkpoints say by themselves."""

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from simulations import elastic_settings, paper_images
from simulations.baselines import multiply_adds
from simulations.cascade import load_data
from simulations.elastic import SIXTEENTHS, Workbench
from simulations.elastic_settings import ElasticSettings, ImageScale, Residual
from simulations.epoch_records import EpochRecords
from simulations.image_models import sliced_network
from simulations.learning_curves import simulate_learning_curves
from simulations.lower_bound import LOWER_BOUNDS, simulate_lower_bound
from simulations.scaling_factors import simulate_scaling_factors
from simulations.schedules import SCHEMES, simulate_schedules
from simulations.settings import CascadeSettings
from simulations.tradeoff import simulate_tradeoff
from slicing import Plain, Sampled, SlicingError
from slicing.train_config import TrainConfig

RESNET = Residual("resnet", 20, 1, shallower=(11,))
TINY = ImageScale("digits", "small-cnn", 0.25, (RESNET,), 60, 2, 30, 0.05, 1e-2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(elastic_settings.SCALES, "smoke", TINY)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_network_sliced_anew_is_the_same_where_the_rates_are(tmp_path):
    bench = Workbench(ElasticSettings(tmp_path), None)
    network = bench.sliced(bench.chain(), [0.5, 0.75, 1.0])
    bench.fit("one", network, Sampled())
    own = {point.label: point for point in bench.points(network)}
    anew = bench.points(bench.resliced(network, SIXTEENTHS))
    assert [point.label for point in anew] == [f"{rate:g}" for rate in SIXTEENTHS]
    assert {point.label: point for point in anew if point.label in own} == own
    image = torch.zeros(1, *bench.shape)
    assert anew[-1].flops == multiply_adds(lambda: network(image))
    assert anew[-1].params == sum(parameter.numel() for parameter in network.parameters())


def test_a_separate_network_has_the_sliced_ones_widths_and_cost(tmp_path):
    bench = Workbench(ElasticSettings(tmp_path), None)
    sliced = bench.points(bench.sliced(bench.chain(), [0.375, 1.0]).eval())[0]
    (alone,) = bench.points(bench.separate(bench.chain(), 0.375).eval())
    assert (alone.flops, alone.params) == (sliced.flops, sliced.params)


def test_lower_bound(tmp_path):
    report = simulate_lower_bound(ElasticSettings(tmp_path), "slicerank simulate lower-bound")
    cells = rows_of(tmp_path / "lower_bound.csv")
    assert len(cells) == len(LOWER_BOUNDS) * len(SIXTEENTHS)
    table = report["protocols"]["lower bound"]["tables"][0]
    at = {(cell["lower_bound"], cell["rate"]): float(cell["accuracy"]) for cell in cells}
    shown = {row[0]: row[1:] for row in table["rows"]}
    assert shown["0.375"][1] == f"{100 * (1 - at['0.375', '0.375']):.2f}"
    assert shown["0.5"][-3:] == ["78.63", "7.44", "6.614"]  # the paper's Table 3
    resumed = simulate_lower_bound(ElasticSettings(tmp_path, resume=True), "again")
    assert resumed["protocols"] == report["protocols"]


def test_schedules(tmp_path):
    report = simulate_schedules(ElasticSettings(tmp_path), "slicerank simulate schedules")
    schemes = [row[0] for row in report["protocols"]["schedules"]["tables"][0]["rows"]]
    assert schemes == [*SCHEMES, "nested-joint", "separate networks"]
    epochs = {history["name"]: len(history["history"]) for history in report["training"]}
    assert epochs.pop("progressive-static") == 6 * 2  # each of its six rates as long as any other network
    assert set(epochs.values()) == {2}
    assert (tmp_path / "schedules.csv").exists()


def test_learning_curves_end_where_the_last_epoch_did(tmp_path):
    report = simulate_learning_curves(ElasticSettings(tmp_path), "slicerank simulate learning-curves")
    error, loss = report["protocols"]["learning curves"]["curves"]
    sliced = [f"sliced, rate {rate}" for rate in ("0.375", "0.5", "0.75", "1")]
    assert [series["name"] for series in error["series"]] == [*sliced, "full fixed"]
    bench = Workbench(ElasticSettings(tmp_path, resume=True), None)
    plain = bench.sliced(bench.chain(), [1.0])
    result = bench.fit("full-fixed", plain, Plain())
    epoch = result.best_epoch  # the network ends with the weights of that epoch
    assert error["series"][-1]["y"][epoch] == pytest.approx(1 - bench.points(plain)[0].accuracy, abs=1e-12)
    assert all(y > 0 for series in loss["series"] for y in series["y"])


def test_scaling_factors_are_the_networks(tmp_path):
    report = simulate_scaling_factors(ElasticSettings(tmp_path), "slicerank simulate scaling-factors")
    assert {path.name for path in tmp_path.glob("scales-*.png")} == {"scales-1.png", "scales-8.png"}
    every = json.loads((tmp_path / "checkpoints" / "sliced.epochs.json").read_text())
    scales = torch.tensor(every["1"]["8"]).abs()
    by_group = scales.reshape(16, -1).mean(1)
    column = [float(row[2]) for row in report["protocols"]["scaling factors"]["tables"][0]["rows"][:16]]
    assert column == pytest.approx(by_group.tolist(), abs=1e-3)


def test_tradeoff(tmp_path):
    report = simulate_tradeoff(ElasticSettings(tmp_path, epochs=1), "slicerank simulate tradeoff")
    cells = rows_of(tmp_path / "tradeoff.csv")
    systems = {cell["system"] for cell in cells}
    assert systems == {series["name"] for series in report["protocols"]["tradeoff"]["curves"][0]["series"]}
    assert {"resnet depths", "multi-classifiers", "network slimming", "msdnet", "skipnet"} < systems
    cost = {(cell["system"], cell["point"]): float(cell["flops"]) for cell in cells}
    whole = cost["resnet widths", "1"]
    assert cost["resnet sliced", "1"] == cost["resnet lb 1.0", "1"] == cost["resnet depths", "20 layers"] == whole
    assert cost["multi-classifiers", "exit 3"] == whole
    assert cost["network slimming", "50% pruned"] < cost["small-cnn widths", "1"]
    (skipping,) = [flops for (name, label), flops in cost.items() if name == "skipnet" and "price 0.1," in label]
    assert skipping <= 1.01 * whole  # what ran, and the gates
    table, beside = report["protocols"]["tradeoff"]["tables"]
    assert len(table["rows"]) == len(cells)
    flops, paper, *_ = beside["rows"]
    assert [float(x) for x in flops[1:]] == pytest.approx([float(x) for x in paper[1:]], abs=0.8)
    by_rate = {series["name"]: series for series in report["protocols"]["tradeoff"]["curves"][1]["series"]}
    for name, series in by_rate.items():
        right = [float(cell["accuracy"]) for cell in cells if cell["system"] == name]
        assert series["y"] == pytest.approx([1 - accuracy for accuracy in right])
    assert len(by_rate["small-cnn sliced"]["x"]) == 13


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_a_scale_without_its_data_is_refused(tmp_path, scale):
    with pytest.raises(SlicingError, match=f"scale {scale} needs cifar10; pass --data-dir"):
        simulate_lower_bound(ElasticSettings(tmp_path, scale=scale), "")


def test_the_papers_table_3_is_whole():
    errors = (*paper_images.ERROR.values(), *paper_images.IMAGENET_ERROR.values())
    assert {len(row) for row in (*errors, paper_images.COMPUTATION)} == {len(paper_images.RATES)} == {13}
    top1, top5 = (dict(zip(paper_images.RATES, row, strict=True)) for row in paper_images.IMAGENET_ERROR.values())
    assert all(top5[rate] < top1[rate] for rate in paper_images.RATES)
    assert (top1[0.375], top5[0.375]) == (39.89, 16.71)  # as section 5.3.3 says in its text
    for rate, computation in zip(paper_images.RATES, paper_images.COMPUTATION, strict=True):
        assert computation == pytest.approx(100 * rate**2, abs=0.01)


def test_epoch_records_survive_an_interrupt_and_name_what_is_missing(tmp_path):
    path, network = tmp_path / "epochs.json", nn.Linear(1, 1)
    records = EpochRecords(path, lambda module: [module.weight.item()], resume=False)
    records(0, network)
    first = network.weight.item()
    again = EpochRecords(path, lambda module: [module.weight.item()], resume=True)
    with torch.no_grad():
        network.weight += 1
    again(1, network)
    again(1, network)
    assert again.of(2) == [[first], [network.weight.item()]]
    with pytest.raises(SlicingError, match=r"lacks epochs \[3\] of its checkpoint; run without --resume"):
        again.of(3)
    with pytest.raises(SlicingError, match=r"lacks epochs \[1\]"):
        EpochRecords(path, lambda module: 0, resume=False).of(1)
    path.write_text("{")
    with pytest.raises(SlicingError, match=r"can't be read .*; run without --resume"):
        EpochRecords(path, lambda module: 0, resume=True)


def test_the_budget_is_the_scales(tmp_path):
    bench = Workbench(ElasticSettings(tmp_path, epochs=1, precision="bf16", seed=3), None)
    assert isinstance(bench.config, TrainConfig)
    config = bench.config
    assert (config.epochs, config.batch_size, config.precision, config.seed) == (1, 30, "bf16", 3)


def test_a_network_may_have_epochs_of_its_own_unless_the_run_says_how_many(tmp_path):
    bench = Workbench(ElasticSettings(tmp_path), None)
    for name, epochs, trained in (("own", 1, 1), ("scales", None, TINY.epochs)):
        network = bench.sliced(bench.chain(), [1.0])
        assert len(bench.fit(name, network, Plain(), epochs=epochs).history) == trained
    own = {each.name: each.epochs for each in ElasticSettings(tmp_path, "paper").sizes.residual}
    assert own == {"resnet": None, "resnet-56-2": None, "wrn-28-10": 200}  # section 5.3.2
    asked = ElasticSettings(tmp_path, "paper", epochs=3).sizes
    assert (asked.epochs, {each.epochs for each in asked.residual}) == (3, {None})


def test_a_small_training_split_is_validated_on_a_fifth_as_many_images(tmp_path):
    few = Workbench(ElasticSettings(tmp_path), None).data
    assert (len(few.train), len(few.validation)) == (60, 12)
    whole = load_data(CascadeSettings(out=tmp_path, data="digits", train_limit=60), None).validation
    assert len(whole) == 144
    assert bool((few.validation.images == whole.images[:12]).all())


def test_tradeoff_trains_in_bf16(tmp_path):
    settings = ElasticSettings(tmp_path, epochs=1, precision="bf16")
    report = simulate_tradeoff(settings, "slicerank simulate tradeoff --precision bf16")
    assert report["settings"]["precision"] == "bf16"


@pytest.mark.parametrize(("connectivity", "starts_at_zero"), [("dense", True), ("nested", False), ("mixed@1", False)])
def test_only_dense_sliced_networks_start_with_equal_scores(tmp_path, connectivity, starts_at_zero):
    bench = Workbench(ElasticSettings(tmp_path), None)
    images = bench.data.test.images[:2].float()
    for network in (
        bench.sliced(bench.chain(), [0.5, 1.0], connectivity),
        sliced_network(CascadeSettings(out=tmp_path, data="digits", rates=(0.5, 1.0)), bench.data, connectivity),
    ):
        assert bool((network(images) == 0).all()) == starts_at_zero
    assert bool(bench.separate(bench.chain(), 0.5)(images).any())

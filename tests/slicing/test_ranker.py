"""The ranker: fitting it, its file, and what it refuses."""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slicing.errors import SlicingError
from slicing.files import load_tensors, save_tensors
from slicing.incremental import IncrementalScorer
from slicing.ndcg import ndcg
from slicing.ranker import Ranker
from slicing.ranker_settings import RankerSettings
from slicing.ranker_training import fit_ranker
from slicing.ranking_losses import ListDistillation, ListwiseSoftmax, PointwiseMSE
from slicing.schemes import Joint, Sampled, Sandwich
from slicing.training import TrainResult

Split = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]
SETTINGS = RankerSettings(
    rates=(0.25, 0.5, 1.0), hidden=(16, 16), categorical=("shop",), embedding=4, batch_rows=60, epochs=3, dropout=0.1
)


def table(seed: int, queries: int = 24) -> Split:
    rng = np.random.default_rng(seed)
    n = queries * 10
    x = rng.normal(size=(n, 3))
    shop = rng.choice(["a", "b", "c"], n)
    price = np.where(rng.random(n) < 0.2, np.nan, x[:, 0])
    labels = np.clip(np.round(x[:, 1] + (shop == "b") + 0.3 * rng.normal(size=n)), 0, 2)
    qids = rng.permutation(np.repeat(np.arange(queries), 10)).astype(str)
    return {"vector": x[:, 1:].astype(np.float32), "price": price, "shop": shop}, labels, qids


TRAIN, VALID = table(0), table(1, 12)


def fit(settings: RankerSettings = SETTINGS, **options: Any) -> tuple[Ranker, TrainResult]:
    return fit_ranker(*TRAIN, VALID, settings, **options)


def renamed(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"shops" if name == "shop" else name: values for name, values in columns.items()}


@pytest.fixture(scope="module")
def fitted() -> tuple[Ranker, TrainResult]:
    return fit()


def quality(ranker: Ranker, split: Split) -> list[float]:
    _, queries = np.unique(split[2], return_inverse=True)
    scores = torch.from_numpy(ranker.scores(split[0]))
    return [float(ndcg(s, torch.from_numpy(split[1]), torch.from_numpy(queries)).mean()) for s in scores]


class TestFit:
    @pytest.mark.parametrize(
        "change",
        [
            {},
            {"loss": "lambda"},
            {"loss": "bce"},
            {"loss": "mse"},
            {"distill": 0.5},
            {"survival": 0.5, "keep": (0.5, 4, 2)},
            {"connectivity": "dense"},
            {"connectivity": "dense", "scheme": "sampled"},
            {"connectivity": "dense", "scheme": "sandwich"},
            {"connectivity": "mixed@1"},
            {"own": 0.0},
            {"precision": "bf16"},
            {"transform": "standard"},
        ],
        ids=str,
    )
    def test_it_learns_at_every_rate(self, change: dict[str, Any]) -> None:
        settings = dataclasses.replace(SETTINGS, hidden=(64, 64), epochs=10, learning_rate=1e-2, **change)
        ranker, result = fit(settings)
        assert min(result.best.validation) > 0.85  # a random order: about 0.55
        if settings.precision == "fp32":
            assert quality(ranker, VALID) == pytest.approx(result.best.validation, abs=1e-6)

    def test_the_seed_decides_everything(self, fitted: tuple[Ranker, TrainResult]) -> None:
        again, _ = fit()
        other, _ = fit(dataclasses.replace(SETTINGS, seed=1))
        scores = fitted[0].scores(VALID[0])
        assert np.array_equal(again.scores(VALID[0]), scores)
        assert not np.array_equal(other.scores(VALID[0]), scores)

    def test_the_seed_decides_the_initial_weights(self) -> None:
        still = dataclasses.replace(SETTINGS, epochs=1, learning_rate=1e-12)
        first, same, other = (fit(dataclasses.replace(still, seed=seed))[0].scores(VALID[0]) for seed in (0, 0, 1))
        assert np.array_equal(first, same)
        assert np.abs(first - other).max() > 0.1

    def test_the_schemes_are_those_of_images_with_the_rankers_losses(self) -> None:
        made = {
            name: dataclasses.replace(SETTINGS, scheme=name).training_scheme()  # type: ignore[arg-type]
            for name in ("sampled", "sandwich", "joint")
        }
        third = (1 / 3,) * 3
        assert made == {
            "sampled": Sampled(criterion=ListwiseSoftmax()),
            "sandwich": Sandwich(criterion=ListwiseSoftmax(), distillation=ListDistillation()),
            "joint": Joint(third, criterion=ListwiseSoftmax(), distillation=ListDistillation(), own=0.9),
        }
        for connectivity in ("dense", "mixed@1"):  # whose scores are no sums over blocks
            scheme = dataclasses.replace(SETTINGS, connectivity=connectivity).training_scheme()
            assert scheme == Joint(third, criterion=ListwiseSoftmax(), distillation=ListDistillation())
        recipe = dataclasses.replace(SETTINGS, weights=(2, 1, 1), distill=0.25, own=0.5, loss="mse").training_scheme()
        assert recipe == Joint((0.5, 0.25, 0.25), 0.25, PointwiseMSE(), ListDistillation(), 0.5)

    def test_a_resumed_run_ends_with_the_same_bits(
        self, fitted: tuple[Ranker, TrainResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "state"
        saves: list[int] = []

        def interrupted(*arguments: Any) -> None:
            original(*arguments)
            saves.append(1)
            if len(saves) == 2:
                raise KeyboardInterrupt

        from slicing import training

        original = training.save_state
        with monkeypatch.context() as patch:
            patch.setattr(training, "save_state", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fit(checkpoint=file)
        ranker, result = fit(checkpoint=file, resume=True)
        assert np.array_equal(ranker.scores(VALID[0]), fitted[0].scores(VALID[0]))
        assert [r.validation for r in result.history] == [r.validation for r in fitted[1].history]
        with pytest.raises(SlicingError, match="belongs to another run: learning_rate"):
            fit(dataclasses.replace(SETTINGS, learning_rate=0.5), checkpoint=file, resume=True)

    def test_features_alone_and_ids_alone(self) -> None:
        plain = dataclasses.replace(SETTINGS, categorical=())
        numbers = {"vector": TRAIN[0]["vector"]}, {"vector": VALID[0]["vector"]}
        ranker, _ = fit_ranker(numbers[0], *TRAIN[1:], (numbers[1], *VALID[1:]), plain)
        assert ranker.columns == ("vector",)
        assert ranker.scores(VALID[0]).shape == (3, 120)
        ids = {"shop": TRAIN[0]["shop"]}, {"shop": VALID[0]["shop"]}
        ranker, _ = fit_ranker(ids[0], *TRAIN[1:], (ids[1], *VALID[1:]), SETTINGS)
        assert ranker.transform is None
        assert ranker.scores(VALID[0]).shape == (3, 120)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda s: ({}, *s[1:]), "has no columns"),
            (lambda s: (s[0], s[1][:-1], s[2]), "same length"),
            (lambda s: (s[0], s[1] * 0, s[2]), "no label above 0"),
            (lambda s: (s[0], s[1] - 1, s[2]), "must be finite, at least 0, got -1"),
            (lambda s: (s[0], s[1] + math.nan, s[2]), "must be finite, at least 0, got nan"),
            (lambda s: (s[0], s[1] + 31, s[2]), "must be at most 31, .* in loss 'listwise'"),
            (lambda s: (s[0], s[1].astype(str), s[2]), "must be numbers, got dtype"),
            (lambda s: (s[0], s[1][:, None], s[2]), r"shape \(N,\)"),
            (
                lambda s: ({**{n: x for n, x in s[0].items() if n != "shop"}, "shops": s[0]["shop"]}, *s[1:]),
                "'shop'.*did you mean 'shops'",
            ),
        ],
    )
    def test_bad_splits_are_refused(self, change: Any, message: str) -> None:
        with pytest.raises(SlicingError, match=message):
            fit_ranker(*change(TRAIN), VALID, SETTINGS)
        with pytest.raises(SlicingError, match=message):
            fit_ranker(*TRAIN, change(VALID), SETTINGS)

    def test_bad_settings_are_refused(self) -> None:
        for change, message in (
            ({"loss": "rank"}, "loss must be one of"),
            ({"scheme": "some"}, "scheme must be one of"),
            ({"scheme": "sampled", "distill": 0.5}, "distill is a setting of joint training, got 0.5 with the scheme"),
            ({"scheme": "sandwich", "weights": (1, 1, 1)}, "leave it out, or take the scheme 'joint'"),
            ({"connectivity": "dense", "own": 0.5}, "own=0.5 needs scores that are sums over blocks"),
            ({"survival": 1.0}, "needs keep"),
            ({"keep": (1, 1, 1)}, "has a meaning with survival above 0"),
            ({"categorical": ()}, "'shop' must hold numbers"),
        ):
            with pytest.raises(SlicingError, match=message):
                fit(dataclasses.replace(SETTINGS, **change))  # type: ignore[arg-type]


class TestScores:
    def test_inputs_are_what_the_scorer_takes(self, fitted: tuple[Ranker, TrainResult]) -> None:
        ranker = fitted[0]
        session = IncrementalScorer(ranker.network).start(*ranker.inputs(VALID[0]))
        scores = ranker.scores(VALID[0])
        for k, rate in enumerate(ranker.rates):
            np.testing.assert_allclose(session.widen(rate)[:, 0].numpy(), scores[k], atol=1e-5)

    def test_flops_are_the_networks(self, fitted: tuple[Ranker, TrainResult]) -> None:
        # 3 features and an indicator, an embedding of 4; widths 4, 8, 16
        narrow = 4 * (4 + 1) + 4 * 4 + 4
        assert fitted[0].flops(0.25) == narrow
        assert fitted[0].flops(0.5, 0.25) == 4 * (4 + 2) + 4 * 8 + 4

    def test_unknown_ids_and_missing_values_are_scored(self, fitted: tuple[Ranker, TrainResult]) -> None:
        row = {"vector": np.zeros((1, 2)), "price": np.array([np.nan]), "shop": np.array(["nobody knows"])}
        assert np.isfinite(fitted[0].scores(row)).all()

    def test_no_candidates(self, fitted: tuple[Ranker, TrainResult]) -> None:
        empty = {name: values[:0] for name, values in VALID[0].items()}
        assert fitted[0].scores(empty).shape == (3, 0)

    def test_bad_columns_are_refused(self, fitted: tuple[Ranker, TrainResult]) -> None:
        good = VALID[0]
        for change, message in (
            ({"vector": good["vector"][:, :1]}, "'vector' must hold 2 features a row"),
            ({"price": good["price"][:3]}, "same length"),
            ({"shop": good["shop"][:3]}, "same length"),
            ({"price": good["shop"]}, "'price' must hold numbers"),
            ({"price": np.full(120, np.inf)}, "'price' is inf in row 0"),
            ({"vector": np.full((120, 2), np.nan)}, r"'vector\[0\]' is missing in row 0; it never was"),
        ):
            with pytest.raises(SlicingError, match=message):
                fitted[0].scores({**good, **change})
        with pytest.raises(SlicingError, match="reads the column 'price', which is missing; did you mean 'prize'"):
            fitted[0].scores({"vector": good["vector"], "shop": good["shop"], "prize": good["price"]})


class TestFile:
    def test_a_loaded_ranker_gives_the_same_bits(self, fitted: tuple[Ranker, TrainResult], tmp_path: Path) -> None:
        fitted[0].save(tmp_path / "r", {"seed": 0})
        again = Ranker.load(tmp_path / "r")
        assert np.array_equal(again.scores(VALID[0]), fitted[0].scores(VALID[0]))
        assert (again.columns, again.rates, again.flops()) == (
            fitted[0].columns,
            fitted[0].rates,
            fitted[0].flops(),
        )
        assert [path.name for path in tmp_path.iterdir()] == ["r"]

    def test_damaged_and_foreign_files_are_refused(self, fitted: tuple[Ranker, TrainResult], tmp_path: Path) -> None:
        file = tmp_path / "r"
        with pytest.raises(SlicingError, match="no such file"):
            Ranker.load(file)
        fitted[0].save(file)
        whole = file.read_bytes()
        for bad in (whole[:-5], whole[:-5] + bytes(5), b"", b"{}"):
            file.write_bytes(bad)
            with pytest.raises(SlicingError, match="damaged"):
                Ranker.load(file)
        save_tensors(file, {}, {}, "sliced network")
        with pytest.raises(SlicingError, match="not a ranker but 'sliced network'"):
            Ranker.load(file)

    def test_parts_that_do_not_belong_together_are_refused(
        self, fitted: tuple[Ranker, TrainResult], tmp_path: Path
    ) -> None:
        file = tmp_path / "r"
        fitted[0].save(file)
        tensors, facts = load_tensors(file, "ranker")
        numeric = tensors["transform.table"]
        for tensor_change, fact_change in (
            ({}, {"network": None}),
            ({}, {"numeric": [["vector", 2]]}),
            ({}, {"numeric": []}),
            ({}, {"numeric": [["vector"]]}),
            ({}, {"categorical": []}),
            ({}, {"categorical": ["shop", "brand"]}),
            ({}, {"transform": {"kind": "log", "names": []}}),
            ({"transform.table": numeric[:, :2].clone()}, {}),
            ({"transform.missing": torch.ones(3, dtype=torch.bool)}, {}),
            ({"vocabulary.0.ends": torch.tensor([1, 3]), "vocabulary.0.text": tensors["vocabulary.0.text"]}, {}),
        ):
            save_tensors(file, {**tensors, **tensor_change}, {**facts, **fact_change}, "ranker")
            with pytest.raises(SlicingError, match=str(file)):
                Ranker.load(file)


@pytest.mark.slow
def test_mq2008_fold_1_is_ranked_well() -> None:
    folder = Path(os.environ.get("SLICERANK_DATA", "/nowhere")) / "mq2008"
    if not folder.is_dir():
        pytest.skip("SLICERANK_DATA names no folder with mq2008")
    from sklearn.datasets import load_svmlight_file

    def part(*names: str) -> Split:
        loaded = [load_svmlight_file(folder / f"{name}.txt", query_id=True, n_features=46) for name in names]
        x, y, q = (np.concatenate(each) for each in zip(*((a.toarray(), b, c) for a, b, c in loaded), strict=True))
        return {"features": x}, y, q

    ranker, _ = fit_ranker(*part("S1", "S2", "S3"), part("S4"))
    assert min(quality(ranker, part("S5"))) > 0.66

"""The trainer: determinism, resume to the bit, refusals, and what reaches the disk."""

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slicing.convert import convert
from slicing.errors import SlicingError
from slicing.files import load_tensors, save_tensors
from slicing.losses import CrossEntropy
from slicing.progress import LineProgress
from slicing.schedules import Uniform
from slicing.schemes import Joint, Plain, Sampled, Sandwich, Scheme
from slicing.train_config import TrainConfig, learning_rate_at, make_optimizer
from slicing.train_state import EpochRecord, TrainState
from slicing.training import TrainResult, train

RATES = (0.25, 0.5, 1.0)
CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=0.1, seed=5)
KIND = "training checkpoint"

X = torch.randn(44, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def network(connectivity: str = "nested", hidden: int = 8) -> nn.Module:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # conversion says which weights nesting drops; these are random
        torch.manual_seed(0)
        layers = (nn.Linear(5, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, 3))
        return convert(nn.Sequential(*layers), RATES, connectivity)  # type: ignore[arg-type]


def plain() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def batches(epoch: int) -> list[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(epoch))
    return [(X[part], Y[part]) for part in order.split(16)]  # 16, 16, 12


def validate(model: nn.Module) -> list[float]:
    rates = getattr(model, "rates", None)
    scores = [model(X)] if rates is None else [model(X, rate=rate) for rate in rates]
    return [(s.argmax(1) == Y).double().mean().item() for s in scores]


def run(model: nn.Module, scheme: Scheme, config: TrainConfig = CONFIG, **options: Any) -> TrainResult:
    return train(model, scheme, **{"batches": batches, "validate": validate, "config": config, **options})


def bits(model: nn.Module) -> dict[str, list[int]]:
    return {name: t.reshape(-1).view(torch.uint8).tolist() for name, t in model.state_dict().items()}


def untimed(result: TrainResult) -> list[EpochRecord]:
    return [dataclasses.replace(record, seconds=0, validation_seconds=0) for record in result.history]


def broken_off(epoch: int, step: int, error: type[BaseException]) -> Callable[[int], Iterator[Any]]:
    def interrupted(asked: int) -> Iterator[Any]:
        for at, batch in enumerate(batches(asked)):
            if (asked, at) == (epoch, step):
                raise error
            yield batch

    return interrupted


CASES = [
    pytest.param(lambda: network("nested"), Joint(distill=0.5), id="nested joint"),
    pytest.param(lambda: network("nested"), Joint(distill=0.5, own=0.5), id="nested joint, own shares"),
    pytest.param(lambda: network("dense"), Sampled(), id="dense sampled"),
    pytest.param(lambda: network("dense"), Sandwich(middles=1), id="dense sandwich"),
    pytest.param(plain, Plain(CrossEntropy(0.1)), id="plain with batch norm"),
]


@pytest.mark.parametrize(("make", "scheme"), CASES)
class TestReproduction:
    def test_the_seed_decides_everything(self, make: Callable[[], nn.Module], scheme: Scheme) -> None:
        first, second, other = make(), make(), make()
        result = run(first, scheme)
        torch.rand(7)  # the state of torch's own generator must not matter
        assert untimed(run(second, scheme)) == untimed(result)
        assert bits(first) == bits(second)
        if not isinstance(scheme, Plain):  # nothing is random in the plain case
            run(other, scheme, dataclasses.replace(CONFIG, seed=6))
            assert bits(first) != bits(other)

    @pytest.mark.parametrize("at", [(1, 0), (2, 1)])
    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_a_resumed_run_ends_with_the_same_bits(
        self, make: Callable[[], nn.Module], scheme: Scheme, at: tuple[int, int], error: Any, tmp_path: Path
    ) -> None:
        whole, resumed, file = make(), make(), tmp_path / "state"
        expected = run(whole, scheme)
        with pytest.raises(error):
            run(make(), scheme, batches=broken_off(*at, error), steps_per_epoch=3, checkpoint=file)
        assert [path.name for path in tmp_path.iterdir()] == ["state"]
        seen: list[int] = []

        def watched(epoch: int) -> list[tuple[Tensor, Tensor]]:
            seen.append(epoch)
            return batches(epoch)

        found = run(resumed, scheme, batches=watched, steps_per_epoch=3, checkpoint=file, resume=True)
        assert seen == list(range(at[0], 3))
        assert untimed(found) == untimed(expected)
        assert bits(resumed) == bits(whole)


class TestResult:
    def test_it_learns_at_every_rate(self) -> None:
        config = dataclasses.replace(CONFIG, epochs=25)
        result = run(network(hidden=32), Joint(), config)
        assert min(result.best.validation) > 0.8
        assert result.history[-1].loss < result.history[0].loss / 2

    def test_the_model_ends_with_the_best_epochs_weights(self) -> None:
        figures = iter([[0.1, 0.2, 0.9], [0.5, 0.5, 0.5], [0.5, 0.4, 0.6], [0.0, 0.0, 1.0]])
        seen: list[dict[str, list[int]]] = []

        def scripted(model: nn.Module) -> Sequence[float]:
            seen.append(bits(model))
            return next(figures)

        model = network()
        result = run(model, Joint(), dataclasses.replace(CONFIG, epochs=4), validate=scripted)
        assert result.best_epoch == 1  # the mean 0.5 comes first in epoch 1, and again in epoch 2
        assert result.best is result.history[1]
        assert bits(model) == seen[1] != seen[3]
        assert not model.training

    def test_history_and_time(self) -> None:
        result = run(network(), Joint())
        assert [record.items for record in result.history] == [44, 44, 44]
        times = [record.seconds + record.validation_seconds for record in result.history]
        assert result.seconds == pytest.approx(sum(times))
        assert all(len(record.validation) == 3 for record in result.history)

    def test_the_loss_is_the_mean_over_items(self) -> None:
        model = plain()
        config = dataclasses.replace(CONFIG, epochs=1, learning_rate=1e-12, weight_decay=0.0, warmup=0.0)
        result = run(model, Plain(), config)
        model.train()
        with torch.no_grad():
            sums = [CrossEntropy()(model(x), y).item() * len(x) for x, y in batches(0)]
        assert result.history[0].loss == pytest.approx(sum(sums) / 44, rel=1e-6)

    def test_validation_runs_in_eval_mode_without_gradients(self) -> None:
        def watched(model: nn.Module) -> list[float]:
            assert not model.training
            assert not torch.is_grad_enabled()
            return validate(model)

        run(network(), Joint(), validate=watched)

    def test_torchs_generator_is_given_back_as_it_was(self) -> None:
        torch.rand(1)  # the state that another run left here would hide a leak
        before = torch.get_rng_state()
        run(network(), Joint())
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_schemes_draws_differ_between_epochs_and_seeds(self) -> None:
        class Recorded(Plain):
            def loss(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
                drawn.append(torch.rand((), generator=generator).item())
                return super().loss(model, x, y, generator)

        drawn: list[float] = []
        for seed in (5, 6):
            run(plain(), Recorded(), dataclasses.replace(CONFIG, seed=seed))
        assert len(set(drawn)) == len(drawn) == 2 * 9

    def test_batches_may_draw_from_torchs_generator(self) -> None:
        def noisy(epoch: int) -> list[tuple[Tensor, Tensor]]:
            return [(x + torch.randn_like(x), y) for x, y in batches(epoch)]

        first, second = network(), network()
        run(first, Joint(), batches=noisy)
        torch.rand(3)
        before = torch.get_rng_state()
        run(second, Joint(), batches=noisy)
        assert bits(first) == bits(second)
        assert torch.equal(torch.get_rng_state(), before)

    def test_bf16_is_autocast_over_fp32_weights(self) -> None:
        dtypes = set()

        class Watched(nn.Linear):
            def forward(self, input: Tensor) -> Tensor:
                scores = super().forward(input)
                dtypes.add(scores.dtype)
                return scores

        model = nn.Sequential(Watched(5, 3))
        result = run(model, Plain(), dataclasses.replace(CONFIG, precision="bf16"))
        assert dtypes == {torch.bfloat16}
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        assert math.isfinite(result.history[-1].loss)

    def test_progress_shows_loss_validation_and_pace(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(network(), Joint(), progress=LineProgress(every=0))
        shown = capsys.readouterr().err.splitlines()
        assert shown[0].startswith("training: 16/144 items (11%)")
        assert "epoch 1/3, loss" in shown[0]
        assert "items/s, ETA 0:00:0" in shown[0]
        assert shown[-1].startswith("training: 132/132 items (100%)")  # batches of 16, 16 and 12
        assert "epoch 3/3, loss" in shown[-1]
        assert "at rate 0.25" in shown[-1]
        assert "at rate 1" in shown[-1]

    def test_silence(self, capsys: pytest.CaptureFixture[str]) -> None:
        run(network(), Joint())
        captured = capsys.readouterr()
        assert captured.out + captured.err == ""


class TestCheckpoint:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        run(network(), Joint(), checkpoint=tmp_path / "state")
        return tmp_path / "state"

    def resume(self, file: Path, **options: Any) -> TrainResult:
        model, scheme = options.pop("model", None) or network(), options.pop("scheme", None) or Joint()
        return run(model, scheme, **{"checkpoint": file, "resume": True, **options})

    def test_a_finished_run_returns_at_once(self, file: Path) -> None:
        whole, again = network(), network()
        expected = run(whole, Joint())
        found = self.resume(file, model=again, batches=broken_off(0, 0, AssertionError), steps_per_epoch=3)
        assert untimed(found) == untimed(expected)
        assert bits(again) == bits(whole)
        assert not again.training

    def test_a_missing_file_starts_anew(self, tmp_path: Path) -> None:
        whole, fresh = network(), network()
        run(whole, Joint())
        self.resume(tmp_path / "state", model=fresh)
        assert bits(fresh) == bits(whole)
        assert (tmp_path / "state").is_file()

    def test_without_resume_the_file_is_replaced(self, file: Path) -> None:
        other = dataclasses.replace(CONFIG, seed=1)
        run(network(), Joint(), other, checkpoint=file)
        self.resume(file, config=other)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (
                {"config": dataclasses.replace(CONFIG, learning_rate=0.05)},
                "learning_rate was 0.1, now it is 0.05",
            ),
            ({"config": dataclasses.replace(CONFIG, epochs=4)}, "epochs was 3, now it is 4"),
            ({"scheme": Joint(distill=0.5)}, "scheme.distill was 0.0, now it is 0.5"),
            ({"scheme": Joint(criterion=CrossEntropy(0.1))}, "scheme.criterion.label_smoothing was 0.0"),
            ({"scheme": Joint(criterion=nn.functional.cross_entropy)}, "scheme.criterion was"),
            ({"scheme": Sampled(Uniform())}, "scheme was"),
            ({"batches": lambda epoch: batches(epoch)[:2]}, "steps_per_epoch was 3, now it is 2"),
            ({"model": network("dense"), "scheme": Joint()}, "model.connectivity was 'nested'"),
            ({"model": network(hidden=16)}, "model.spec.nodes was"),
            ({"model": plain(), "scheme": Joint()}, "model.type was 'SlicedNetwork', now it is 'Sequential'"),
        ],
    )
    def test_another_run_is_refused(self, file: Path, change: dict[str, Any], named: str) -> None:
        before = file.read_bytes()
        with pytest.raises(SlicingError, match="belongs to another run") as caught:
            self.resume(file, **change)
        assert named in str(caught.value)
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == before

    def test_another_plain_architecture_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "state"
        run(plain(), Plain(), checkpoint=file)
        other = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 3))
        before = bits(other)
        with pytest.raises(SlicingError, match=r"another architecture: its tensor '0\.bias' is \(8,\)"):
            self.resume(file, model=other, scheme=Plain())
        assert bits(other) == before

    def test_damage_is_refused(self, file: Path) -> None:
        whole = file.read_bytes()
        for damaged in (whole[:-5], whole[:40], b"", whole[:-5] + b"\x00\x01\x02\x03\x04"):
            file.write_bytes(damaged)
            with pytest.raises(SlicingError, match=str(file)):
                self.resume(file)

    @pytest.mark.parametrize(
        "forge",
        [
            lambda tensors, metadata: metadata.pop("history"),
            lambda tensors, metadata: metadata.update(history=[]),
            lambda tensors, metadata: metadata.update(history=metadata["history"] * 2),
            lambda tensors, metadata: metadata.update(history=[{"loss": 1}]),
            lambda tensors, metadata: metadata["history"][0].update(items="many"),
            lambda tensors, metadata: metadata["history"][0].update(validation=[]),
            lambda tensors, metadata: metadata["history"][0].update(validation=["a", "b", "c"]),
            lambda tensors, metadata: metadata.update(identity=3),
            lambda tensors, metadata: metadata["history"][0].update(validation=["nan", 0.5, 0.5]),
            lambda tensors, metadata: tensors.pop("model.layers.0.weight"),
            lambda tensors, metadata: tensors.pop("best.layers.0.weight"),
            lambda tensors, metadata: tensors.update({"momentum.other": torch.zeros(1)}),
        ],
    )
    def test_a_file_that_was_tampered_with_is_refused(self, file: Path, forge: Callable[..., Any]) -> None:
        tensors, metadata = load_tensors(file, KIND)
        forge(tensors, metadata)
        save_tensors(file, tensors, metadata, KIND)
        with pytest.raises(SlicingError, match=str(file)):
            self.resume(file)

    def test_it_is_one_file_without_pickle(self, file: Path) -> None:
        tensors, metadata = load_tensors(file, KIND)
        assert {name.split(".")[0] for name in tensors} == {"model", "best", "momentum"}
        assert len(metadata["history"]) == 3
        json.dumps(metadata)

    def test_resume_without_a_file_to_resume_from(self) -> None:
        with pytest.raises(SlicingError, match="resume needs a checkpoint"):
            run(network(), Joint(), resume=True)

    def test_an_unwritable_place_is_told_before_training(self, tmp_path: Path) -> None:
        options = {"batches": broken_off(0, 0, AssertionError), "steps_per_epoch": 3}
        with pytest.raises(SlicingError, match="there is no folder"):
            run(network(), Joint(), checkpoint=tmp_path / "missing" / "state", **options)

    def test_the_device_is_no_part_of_a_runs_identity(self, file: Path) -> None:
        _, metadata = load_tensors(file, KIND)
        assert "device" not in metadata["identity"]


class TestTrouble:
    def test_a_nan_loss_names_epoch_step_and_remedy(self, tmp_path: Path) -> None:
        def poisoned(epoch: int) -> list[tuple[Tensor, Tensor]]:
            return [(x * math.nan if (epoch, step) == (1, 2) else x, y) for step, (x, y) in enumerate(batches(epoch))]

        with pytest.raises(SlicingError, match=r"loss became nan in epoch 2, step 3: .* lower the learning rate"):
            run(network(), Joint(), batches=poisoned, checkpoint=tmp_path / "state")
        _, metadata = load_tensors(tmp_path / "state", KIND)
        assert len(metadata["history"]) == 1

    def test_weights_lost_in_the_last_step_never_reach_the_checkpoint(self, tmp_path: Path) -> None:
        class Steep(nn.Module):
            """A finite loss whose gradient is not: the square root at 0."""

            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(5, 3))

            def forward(self, x: Tensor) -> Tensor:
                return x @ self.weight.abs().sqrt()

        config = dataclasses.replace(CONFIG, epochs=1)
        with pytest.raises(SlicingError, match="weights became NaN or infinite in epoch 1, step 1"):
            run(
                Steep(),
                Plain(),
                config,
                batches=lambda epoch: batches(epoch)[:1],
                checkpoint=tmp_path / "state",
            )
        assert not (tmp_path / "state").exists()

    def test_batches_that_do_not_keep_their_promise(self) -> None:
        with pytest.raises(SlicingError, match="expected 3, epoch 2 gave 2"):
            run(network(), Joint(), batches=lambda epoch: batches(epoch)[: 3 - epoch])
        with pytest.raises(SlicingError, match="expected 3, epoch 2 gave more"):
            run(network(), Joint(), batches=lambda epoch: batches(epoch) * (1 + epoch))
        with pytest.raises(SlicingError, match="without a length; pass steps_per_epoch"):
            run(network(), Joint(), batches=lambda epoch: iter(batches(epoch)))
        with pytest.raises(SlicingError, match="at least one batch"):
            run(network(), Joint(), batches=lambda epoch: [])
        with pytest.raises(SlicingError, match="at most batch_size=8 items, got 16 in epoch 1, step 1"):
            run(network(), Joint(), dataclasses.replace(CONFIG, batch_size=8))

    @pytest.mark.parametrize("figures", [[], [0.5], [0.5, 0.5, math.nan]])
    def test_validation_that_does_not_keep_its_promise(self, figures: list[float]) -> None:
        with pytest.raises(SlicingError, match="one finite figure per rate, 3 in all"):
            run(network(), Joint(), validate=lambda model: figures)

    def test_nothing_to_train(self) -> None:
        with pytest.raises(SlicingError, match="nothing to train"):
            run(plain().requires_grad_(False), Plain())


class TestConfig:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("epochs", value) for value in (0, -1, 1.5, True)),
            *(("batch_size", value) for value in (0, 2.0)),
            *(("learning_rate", value) for value in (0.0, -0.1, math.nan, math.inf)),
            *(("momentum", value) for value in (-0.1, 1.0, math.nan)),
            *(("weight_decay", value) for value in (-1e-4, math.inf)),
            *(("warmup", value) for value in (-0.1, 1.0)),
            ("schedule", "linear"),
            ("precision", "fp16"),
            ("device", "tpu"),
            ("seed", -1),
        ],
    )
    def test_a_bad_setting_is_named_with_its_value(self, field: str, value: Any) -> None:
        with pytest.raises(SlicingError, match=rf"^{field} must be") as caught:
            dataclasses.replace(CONFIG, **{field: value})
        assert str(value) in str(caught.value)

    def test_cuda_where_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SlicingError, match="no CUDA device; use device 'cpu', or install"):
            dataclasses.replace(CONFIG, device="cuda")

    def test_cosine_with_warm_up(self) -> None:
        config = dataclasses.replace(CONFIG, learning_rate=0.8, warmup=0.2)
        rates = [learning_rate_at(config, step, 20) for step in range(20)]
        assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])
        assert rates[12] == pytest.approx(0.4)  # half way from step 4 to step 20
        assert rates[16] == pytest.approx(0.8 * (1 + math.cos(math.pi * 12 / 16)) / 2)
        assert all(a > b for a, b in pairwise(rates[4:]))

    def test_steps_divide_by_10_after_half_and_three_quarters(self) -> None:
        config = dataclasses.replace(CONFIG, schedule="step", warmup=0.0)
        rates = [learning_rate_at(config, step, 16) for step in range(16)]
        assert rates == pytest.approx([0.1] * 8 + [0.01] * 4 + [0.001] * 4)

    def test_the_curve_spans_the_whole_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[int, int]] = []

        def watched(config: TrainConfig, step: int, total_steps: int, plateaus: int) -> float:
            asked.append((step, total_steps))
            return learning_rate_at(config, step, total_steps, plateaus)

        monkeypatch.setattr("slicing.training.learning_rate_at", watched)
        run(plain(), Plain())
        assert asked == [(step, 9) for step in range(9)]

    def test_biases_and_normalisation_scales_do_not_decay(self) -> None:
        model = plain()
        decays = {
            id(parameter): group["weight_decay"]
            for group in make_optimizer(model, CONFIG).param_groups
            for parameter in group["params"]
        }
        found = {name: decays[id(parameter)] for name, parameter in model.named_parameters()}
        assert found == {
            "0.weight": 5e-4,
            "0.bias": 0.0,
            "1.weight": 0.0,
            "1.bias": 0.0,
            "3.weight": 5e-4,
            "3.bias": 0.0,
        }

    def test_plain_sgd_without_momentum(self) -> None:
        assert run(plain(), Plain(), dataclasses.replace(CONFIG, momentum=0.0)).best_epoch >= 0

    def test_a_step_is_nesterovs(self) -> None:
        """One step from rest: w - lr (1 + momentum) (gradient + decay w)."""
        model = nn.Linear(5, 3, bias=False)
        start, (x, y) = model.weight.detach().clone(), batches(0)[0]
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), model.weight)
        config = dataclasses.replace(CONFIG, epochs=1, warmup=0.0, weight_decay=0.01)
        run(model, Plain(), config, batches=lambda epoch: [(x, y)])
        expected = start - 0.1 * (1 + 0.9) * (gradient + 0.01 * start)
        assert torch.allclose(model.weight, expected, atol=1e-6)


def test_of_equal_epochs_the_first_is_best() -> None:
    history = [EpochRecord(1.0, figures, 1, 0.0, 0.0) for figures in ((0.2, 0.4), (0.1, 0.8), (0.8, 0.1))]
    assert TrainState(history, {}).best_epoch == 1


class Pair(nn.Module):
    """A module of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 3), nn.Linear(2, 3)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.left(x) + self.right(z)


def test_a_network_of_several_inputs_takes_a_tuple() -> None:
    whole, parts = nn.Linear(5, 3), Pair()
    with torch.no_grad():
        parts.left.weight.copy_(whole.weight[:, :3])
        parts.right.weight.copy_(whole.weight[:, 3:])
        parts.left.bias.copy_(whole.bias)
        parts.right.bias.zero_()
    config = dataclasses.replace(CONFIG, epochs=1, momentum=0.0, weight_decay=0.0, learning_rate=1e-3)

    def split(epoch: int) -> list[Any]:
        return [((x[:, :3], x[:, 3:]), y) for x, y in batches(epoch)]

    expected = run(whole, Plain(), config)
    found = run(parts, Plain(), config, batches=split, validate=lambda model: [0.0])
    assert found.history[0].items == expected.history[0].items == 44
    torch.testing.assert_close(parts.left.weight, whole.weight[:, :3])
    torch.testing.assert_close(parts.right.weight, whole.weight[:, 3:])
    with pytest.raises(SlicingError, match="at most batch_size=8 items, got 16"):
        run(Pair(), Plain(), dataclasses.replace(config, batch_size=8), batches=split, validate=lambda model: [0.0])


def figures_of(means: Sequence[float]) -> Callable[[nn.Module], list[float]]:
    left = iter(means)
    return lambda model: [next(left)] * 3


class TestPatience:
    MEANS = (0.5, 0.6, 0.6, 0.55, 0.9, 0.9)
    CONFIG = dataclasses.replace(CONFIG, epochs=6)

    @pytest.mark.parametrize(("patience", "epochs"), [(1, 3), (2, 4), (3, 6), (None, 6)])
    def test_training_stops_after_that_many_epochs_without_a_better_one(
        self, patience: int | None, epochs: int
    ) -> None:
        config = dataclasses.replace(self.CONFIG, patience=patience)
        result = run(network(), Joint(), config, validate=figures_of(self.MEANS))
        assert len(result.history) == epochs
        assert result.best_epoch == (4 if epochs == 6 else 1)

    def test_a_stopped_run_resumes_to_itself(self, tmp_path: Path) -> None:
        config = dataclasses.replace(self.CONFIG, patience=2)
        stopped, again = network(), network()
        first = run(stopped, Joint(), config, validate=figures_of(self.MEANS), checkpoint=tmp_path / "s")
        second = run(again, Joint(), config, validate=figures_of(()), checkpoint=tmp_path / "s", resume=True)
        assert second.history == first.history
        assert bits(again) == bits(stopped)

    @pytest.mark.parametrize("patience", [0, -1, 1.5, True])
    def test_a_bad_patience_is_refused(self, patience: Any) -> None:
        with pytest.raises(SlicingError, match="patience must be a whole number of at least 1"):
            dataclasses.replace(CONFIG, patience=patience)


class TestAdamW:
    CONFIG = dataclasses.replace(CONFIG, optimizer="adamw", learning_rate=0.01)

    def test_a_resumed_run_ends_with_the_same_bits(self, tmp_path: Path) -> None:
        whole, resumed, file = network(), network(), tmp_path / "state"
        run(whole, Joint(), self.CONFIG)
        interrupted = broken_off(1, 1, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            run(network(), Joint(), self.CONFIG, batches=interrupted, steps_per_epoch=3, checkpoint=file)
        run(resumed, Joint(), self.CONFIG, steps_per_epoch=3, checkpoint=file, resume=True)
        assert bits(resumed) == bits(whole)

    def test_it_is_torchs(self) -> None:
        model, same = nn.Linear(5, 3), nn.Linear(5, 3)
        same.load_state_dict(model.state_dict())
        config = dataclasses.replace(self.CONFIG, epochs=1, warmup=0.0)
        run(model, Plain(), config)
        groups: list[dict[str, Any]] = [
            {"params": [same.weight], "weight_decay": 5e-4},
            {"params": [same.bias], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.999))
        for step, (x, y) in enumerate(batches(0)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(config, step, 3)
            optimizer.zero_grad()
            nn.functional.cross_entropy(same(x), y).backward()
            optimizer.step()
        for ours, theirs in zip(model.parameters(), same.parameters(), strict=True):
            # Not to the bit: how torch sums so small a product depends on where its memory lies.
            assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-7)

    def test_another_optimizer_does_not_resume_it(self, tmp_path: Path) -> None:
        run(network(), Joint(), self.CONFIG, checkpoint=tmp_path / "s")
        with pytest.raises(SlicingError, match="belongs to another run"):
            run(network(), Joint(), CONFIG, checkpoint=tmp_path / "s", resume=True)

    def test_an_unknown_one_is_refused(self) -> None:
        with pytest.raises(SlicingError, match="optimizer must be one of"):
            dataclasses.replace(CONFIG, optimizer="rmsprop")


def test_a_checkpoint_from_before_the_later_settings_is_resumed(tmp_path: Path) -> None:
    run(network(), Joint(), checkpoint=tmp_path / "s")
    _, metadata = load_tensors(tmp_path / "s", KIND)
    assert not {"optimizer", "patience"} & metadata["identity"].keys()

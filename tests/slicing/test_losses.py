"""Criteria against arithmetic written out, and schemes on a network whose scores are a table."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.losses import CrossEntropy, Distillation
from slicing.schedules import Normal, Uniform, rate_probabilities
from slicing.schemes import Joint, Plain, Sampled, Sandwich

RATES = (0.25, 0.5, 0.75, 1.0)


class Table(nn.Module):
    """A network whose scores are its parameter, (K, N, C); it remembers which rates were run."""

    def __init__(self, rates: tuple[float, ...] = RATES, connectivity: str = "dense") -> None:
        super().__init__()
        self.rates, self.connectivity = rates, connectivity
        generator = torch.Generator().manual_seed(1)
        self.scores = nn.Parameter(torch.randn(len(rates), 6, 3, generator=generator))
        self.run: list[float | str] = []

    def forward(self, x: Tensor, rate: float | None = None) -> Tensor:
        self.run.append(1.0 if rate is None else rate)
        return self.scores[-1 if rate is None else self.rates.index(rate)]

    def forward_all(self, x: Tensor, positions: Sequence[int] | None = None) -> Tensor:
        self.run += ["all"] if positions is None else [self.rates[k] for k in positions]
        return self.scores if positions is None else self.scores[list(positions)]


X = torch.zeros(6, 1)
Y = torch.tensor([0, 1, 2, 0, 1, 2])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def labels_loss(scores: Tensor) -> float:
    return float(-log_softmax(scores.detach().double().numpy())[np.arange(6), Y].mean())


def teacher_loss(scores: Tensor, teacher: Tensor) -> float:
    student, target = (log_softmax(side.detach().double().numpy()) for side in (scores, teacher))
    return float(-(np.exp(target) * student).sum(axis=1).mean())


class TestCriteria:
    def test_cross_entropy(self) -> None:
        scores = Table().scores[0]
        assert CrossEntropy()(scores, Y).item() == pytest.approx(labels_loss(scores), rel=1e-6)

    def test_label_smoothing_spreads_a_share_of_each_label(self) -> None:
        scores = Table().scores[0]
        log = log_softmax(scores.detach().double().numpy())
        expected = 0.9 * labels_loss(scores) + 0.1 * -log.mean(axis=1).mean()
        assert CrossEntropy(label_smoothing=0.1)(scores, Y).item() == pytest.approx(expected, rel=1e-6)

    def test_criteria_compute_in_fp32(self) -> None:
        scores = Table().scores[0].detach().bfloat16()
        assert CrossEntropy()(scores, Y).dtype == torch.float32
        assert Distillation()(scores, scores).dtype == torch.float32

    def test_distillation_is_the_divergence_from_the_teacher_but_for_its_entropy(self) -> None:
        student, teacher = Table().scores[:2].detach()
        for temperature in (1.0, 2.5):
            soft = (teacher / temperature).softmax(1)
            divergence = nn.functional.kl_div((student / temperature).log_softmax(1), soft, reduction="batchmean")
            entropy = -(soft * soft.log()).sum(1).mean()
            expected = temperature**2 * (divergence + entropy)
            assert Distillation(temperature)(student, teacher).item() == pytest.approx(expected.item(), rel=1e-5)

    def test_no_gradient_reaches_the_teacher(self) -> None:
        scores = nn.Parameter(torch.randn(2, 4, 3))
        Distillation()(scores[0], scores[1]).backward()
        assert scores.grad is not None
        assert scores.grad[0].abs().sum() > 0
        assert scores.grad[1].abs().sum() == 0

    def test_distillation_of_a_single_score_is_refused(self) -> None:
        with pytest.raises(SlicingError, match="at least 2 scores a row"):
            Distillation()(torch.zeros(4, 1), torch.zeros(4, 1))

    @pytest.mark.parametrize("value", [-0.1, 1.0, math.nan])
    def test_a_bad_label_smoothing_is_refused(self, value: float) -> None:
        with pytest.raises(SlicingError, match="label_smoothing must lie in"):
            CrossEntropy(value)

    @pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
    def test_a_bad_temperature_is_refused(self, value: float) -> None:
        with pytest.raises(SlicingError, match="temperature must be"):
            Distillation(value)


class TestPlain:
    def test_it_trains_any_module(self) -> None:
        module = nn.Linear(4, 3)
        x = torch.randn(6, 4)
        assert Plain().loss(module, x, Y, generator()).item() == pytest.approx(labels_loss(module(x)), rel=1e-6)

    def test_on_a_sliced_network_it_trains_the_whole(self) -> None:
        table = Table()
        Plain().loss(table, X, Y, generator())
        assert table.run == [1.0]


class TestJoint:
    def test_it_is_the_weighted_sum_over_all_rates_in_one_pass(self) -> None:
        table = Table()
        losses = [labels_loss(scores) for scores in table.scores]
        expected = (0.3 * losses[0] + 0.15 * losses[1] + 0.15 * losses[2] + 1.0 * losses[3]) / 1.6
        assert Joint().loss(table, X, Y, generator()).item() == pytest.approx(expected, rel=1e-6)
        assert table.run == ["all"]

    def test_weights_of_ones_own(self) -> None:
        table = Table()
        losses = [labels_loss(scores) for scores in table.scores]
        expected = 1 * losses[0] + 0 * losses[1] + 2 * losses[2] + 5 * losses[3]
        found = Joint(weights=[1, 0, 2, 5]).loss(table, X, Y, generator())
        assert found.item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(("count", "expected"), [(1, (1.0,)), (2, (0.3, 1.0)), (3, (0.3, 0.15, 1.0))])
    def test_default_weights_of_few_rates(self, count: int, expected: tuple[float, ...]) -> None:
        assert Joint().weights_of(count) == pytest.approx([weight / sum(expected) for weight in expected])

    @pytest.mark.parametrize("share", [0.5, 1.0])
    def test_distilled_rates_learn_from_labels_and_the_widest(self, share: float) -> None:
        table = Table()
        widest = table.scores[3]
        narrow = [
            (1 - share) * labels_loss(scores) + share * teacher_loss(scores, widest) for scores in table.scores[:3]
        ]
        expected = sum(narrow) + labels_loss(widest)
        loss = Joint(weights=(1, 1, 1, 1), distill=share).loss(table, X, Y, generator())
        assert loss.item() == pytest.approx(expected, rel=1e-6)

    def test_distilling_sends_no_gradient_to_the_widest(self) -> None:
        plain, distilled = Table(), Table()
        Joint(weights=(1, 1, 1, 1)).loss(plain, X, Y, generator()).backward()
        Joint(weights=(1, 1, 1, 1), distill=1.0).loss(distilled, X, Y, generator()).backward()
        assert plain.scores.grad is not None
        assert distilled.scores.grad is not None
        assert torch.allclose(plain.scores.grad[3], distilled.scores.grad[3])
        assert not torch.allclose(plain.scores.grad[0], distilled.scores.grad[0])

    def test_no_gradient_reaches_the_widest_whatever_the_distillation(self) -> None:
        table = Table()
        scheme = Joint(weights=(1, 1, 1, 0), distill=1.0, distillation=lambda s, target: (s - target).pow(2).mean())
        scheme.loss(table, X, Y, generator()).backward()
        assert table.scores.grad is not None
        assert table.scores.grad[3].abs().sum() == 0

    def test_other_criteria_plug_in(self) -> None:
        table = Table()
        expected = 4 * table.scores.pow(2).mean().item()
        found = Joint(weights=(1, 1, 1, 1), criterion=lambda scores, y: scores.pow(2).mean())
        assert found.loss(table, X, Y, generator()).item() == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize("distill", [0.0, 0.5, 1.0])
    def test_own_is_a_share_of_each_wider_rates_loss(self, distill: float) -> None:
        table = Table(connectivity="nested")
        widest, expected = table.scores[3], 0.0
        for k, weight in enumerate((1.0, 0.5, 0.0, 2.0)):
            scores = table.scores[k]
            loss = labels_loss(scores)
            if k < 3:
                loss = (1 - distill) * loss + distill * teacher_loss(scores, widest)
            if k > 0:
                loss = 0.7 * loss + 0.3 * labels_loss(scores - table.scores[k - 1])
            expected += weight * loss
        found = Joint(weights=(1.0, 0.5, 0.0, 2.0), distill=distill, own=0.3).loss(table, X, Y, generator())
        assert found.item() == pytest.approx(expected, rel=1e-6)
        assert table.run == ["all"]

    def test_own_has_nothing_to_add_to_a_single_rate(self) -> None:
        table = Table((1.0,), "nested")
        found = Joint(own=0.5).loss(table, X, Y, generator())
        assert found.item() == pytest.approx(labels_loss(table.scores[0]), rel=1e-6)

    def test_own_needs_scores_that_are_sums_over_blocks(self) -> None:
        with pytest.raises(SlicingError, match=r"own=0.5 needs scores that are sums over blocks"):
            Joint(own=0.5).loss(Table(connectivity="dense"), X, Y, generator())
        for bad in (-0.1, 1.0, math.inf, math.nan):
            with pytest.raises(SlicingError, match="own must lie in"):
                Joint(own=bad)

    def test_bad_weights_are_refused(self) -> None:
        for weights in ([], [0, 0], [-1, 1], [math.nan, 1]):
            with pytest.raises(SlicingError, match="weights must be finite"):
                Joint(weights=weights)
        with pytest.raises(SlicingError, match="4 in all, got 2"):
            Joint(weights=[1, 1]).loss(Table(), X, Y, generator())
        with pytest.raises(SlicingError, match="distill must lie"):
            Joint(distill=1.5)


class TestSampled:
    def test_rates_are_run_as_often_as_equation_10_says(self) -> None:
        table, draws = Table(), generator()
        scheme = Sampled(Uniform(span=0.1))
        for _ in range(2000):
            scheme.loss(table, X, Y, draws)
        counts = Counter(table.run)
        expected = rate_probabilities(RATES, Uniform(span=0.1))
        for rate, chance in zip(RATES, expected, strict=True):
            assert counts[rate] / 2000 == pytest.approx(chance, abs=0.04)

    def test_the_loss_is_the_drawn_rates_own(self) -> None:
        table = Table()
        loss = Sampled(Normal(mean=0.5, std=1e-6)).loss(table, X, Y, generator())
        assert table.run == [0.5]
        assert loss.item() == pytest.approx(labels_loss(table.scores[1]), rel=1e-6)


class TestSandwich:
    def test_the_widest_learns_from_labels_and_the_others_from_it(self) -> None:
        table = Table()
        widest = table.scores[3]
        expected = [labels_loss(widest), *(teacher_loss(scores, widest) for scores in table.scores[:3])]
        loss = Sandwich(middles=9).loss(table, X, Y, generator())
        assert loss.item() == pytest.approx(sum(expected) / 4, rel=1e-6)
        assert table.run == list(RATES)

    def test_no_gradient_reaches_the_widest_through_its_students(self) -> None:
        table, alone = Table(), Table()
        Sandwich(middles=2).loss(table, X, Y, generator()).backward()
        CrossEntropy()(alone(X), Y).backward()
        assert table.scores.grad is not None
        assert alone.scores.grad is not None
        assert torch.allclose(table.scores.grad[3], alone.scores.grad[3] / 4)

    def test_the_ends_run_in_every_step_and_middles_are_drawn_evenly(self) -> None:
        table, draws = Table((0.2, 0.4, 0.6, 0.8, 1.0)), generator()
        for _ in range(600):
            Sandwich(middles=2).loss(table, X, Y, draws)
        counts = Counter(table.run)
        assert counts[0.2] == counts[1.0] == 600
        assert sum(counts.values()) == 4 * 600
        assert all(counts[rate] / 600 == pytest.approx(2 / 3, abs=0.07) for rate in (0.4, 0.6, 0.8))

    def test_no_gradient_reaches_the_widest_whatever_the_distillation(self) -> None:
        table = Table()
        scheme = Sandwich(
            criterion=lambda scores, y: scores.sum() * 0,
            distillation=lambda s, target: (s - target).pow(2).mean(),
        )
        scheme.loss(table, X, Y, generator()).backward()
        assert table.scores.grad is not None
        assert table.scores.grad[3].abs().sum() == 0

    def test_middles_come_from_the_generator_alone(self) -> None:
        def drawn(seed: int) -> list[float | str]:
            table, draws = Table((0.2, 0.4, 0.6, 0.8, 1.0)), generator(seed)
            for _ in range(20):
                Sandwich(middles=1).loss(table, X, Y, draws)
            return table.run

        assert drawn(0) == drawn(0) != drawn(1)

    def test_few_rates(self) -> None:
        one, two = Table((1.0,)), Table((0.5, 1.0))
        assert Sandwich().loss(one, X, Y, generator()).item() == pytest.approx(labels_loss(one.scores[0]), rel=1e-6)
        Sandwich().loss(two, X, Y, generator())
        assert two.run == [0.5, 1.0]
        none = Table()
        Sandwich(middles=0).loss(none, X, Y, generator())
        assert none.run == [0.25, 1.0]

    @pytest.mark.parametrize("middles", [-1, 1.5, True])
    def test_a_bad_number_of_middles_is_refused(self, middles: int) -> None:
        with pytest.raises(SlicingError, match="middles must be a whole number"):
            Sandwich(middles=middles)


@pytest.mark.parametrize("scheme", [Joint(), Sampled(), Sandwich()])
def test_schemes_over_rates_refuse_a_plain_module(scheme: Joint | Sampled | Sandwich) -> None:
    with pytest.raises(SlicingError, match="without rates; use Plain"):
        scheme.loss(nn.Linear(1, 3), X, Y, generator())

"""Progressive schedules: which rates a step takes when, and what stays as it is."""

import warnings
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from slicing import (
    ConversionWarning,
    ProgressiveDynamic,
    ProgressiveStatic,
    Sampled,
    SlicedNetwork,
    SlicingError,
    TrainConfig,
    Uniform,
    convert,
    train,
)
from slicing.models import small_cnn
from slicing.progressive import Fixed, parameters_of, phase_of
from slicing.train_config import learning_rate_at, plateaus

RATES = (0.25, 0.5, 1.0)
X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.recurrent, self.head = nn.Embedding(7, 8), nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.recurrent(self.table(ids))[0][:, -1])


def sliced(module: nn.Module, connectivity: str) -> SlicedNetwork:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(module, RATES, connectivity)


def mlp(connectivity: str = "dense") -> SlicedNetwork:
    torch.manual_seed(0)
    return sliced(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), connectivity)


def fit(network: nn.Module, scheme: object, epochs: int, seen: list | None = None) -> None:
    config = TrainConfig(epochs=epochs, batch_size=8, learning_rate=0.1)

    def validate(model: nn.Module) -> list[float]:
        if seen is not None:
            seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return [float(len(seen or []))] * len(RATES)  # the last epoch is best

    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 24, 8)]
    train(network, scheme, lambda _: batches, validate=validate, config=config)


@pytest.mark.parametrize("connectivity", ["dense", "nested"])
def test_progressive_static_trains_rate_after_rate_and_never_touches_the_narrower_ones(connectivity):
    """Momentum and weight decay are on, and would move what a step does not."""
    network, seen = mlp(connectivity), []
    fit(network, ProgressiveStatic(), 6, seen)
    scores = []
    for state in seen:
        network.load_state_dict(state)
        with torch.no_grad():
            scores.append([network(X, rate=rate) for rate in RATES])
    for k in range(len(RATES)):
        for epoch in range(2 * k + 1, 5):  # its own epochs are over
            assert torch.equal(scores[epoch][k], scores[epoch + 1][k])
        for epoch in range(max(2 * k - 1, 0), 2 * k + 1):  # its own epochs
            assert not torch.equal(scores[epoch][k], scores[epoch + 1][k])


@pytest.mark.parametrize("make", [lambda: Tagger(), lambda: small_cnn(3, 0.5), lambda: mlp()])
def test_a_subnets_parameters_are_all_that_its_scores_hang_on(make):
    module = make()
    network = module if isinstance(module, SlicedNetwork) else sliced(module, "dense")
    shape = {"Tagger": torch.randint(0, 7, (3, 4)), "Sequential": torch.randn(3, 1, 8, 8)}
    x = shape.get(type(module).__name__, X[:3])
    for rate in RATES:
        before = network(x, rate=rate).detach()
        fixed = Fixed(network, rate)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        assert not torch.allclose(network(x, rate=rate).detach(), before)
        fixed.restore()
        assert torch.equal(network(x, rate=rate).detach(), before)
    assert sum(part.numel() for part in parameters_of(network, 1.0)) == sum(p.numel() for p in network.parameters())


@given(epochs=st.integers(1, 30), share=st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_progressive_dynamic_is_the_whole_network_and_then_sampled(epochs, share):
    network, scheme = mlp(), ProgressiveDynamic(share, Uniform(0.1))
    for epoch in range(epochs):
        phase = phase_of(scheme, epoch, epochs, network)
        assert (phase.first, phase.stop, phase.fixed) == (0, epochs, None)
        if epoch < round(share * epochs):
            assert getattr(phase.scheme, "rate", None) == 1.0
        else:
            assert phase.scheme == Sampled(Uniform(0.1))


@given(epochs=st.integers(3, 40))
@settings(max_examples=20, deadline=None)
def test_progressive_static_gives_every_rate_its_epochs_in_turn(epochs):
    network = mlp()
    phases = [phase_of(ProgressiveStatic(), epoch, epochs, network) for epoch in range(epochs)]
    rates = [phase.scheme.rate for phase in phases]
    assert rates == sorted(rates)
    counts = Counter(rates)
    assert set(counts) == set(RATES)
    assert max(counts.values()) - min(counts.values()) <= 1
    for epoch, phase in enumerate(phases):
        assert phase.first <= epoch < phase.stop
        assert phase.stop - phase.first == counts[phase.scheme.rate]
        assert phase.fixed == {0.25: None, 0.5: 0.25, 1.0: 0.5}[phase.scheme.rate]


def test_wrong_schedules_are_refused():
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(SlicingError, match="share must lie in"):
            ProgressiveDynamic(share)
    with pytest.raises(SlicingError, match="an epoch for each of 3 rates"):
        fit(mlp(), ProgressiveStatic(), 2)
    for scheme in (ProgressiveStatic(), ProgressiveDynamic()):
        with pytest.raises(SlicingError, match="trains sliced networks"):
            fit(nn.Linear(5, 2), scheme, 3)


@given(means=st.lists(st.floats(-5, 5), max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_learning_rate_is_quartered_after_each_epoch_that_does_not_improve(means):
    rate, best, config = 20.0, float("-inf"), TrainConfig(9, 4, 20.0, warmup=0.0, schedule="plateau")
    for number, mean in enumerate(means):
        if number and mean <= best:
            rate /= 4
        best = max(best, mean)
    assert learning_rate_at(config, 50, 100, plateaus(means)) == rate


def test_gradients_are_clipped_to_their_norm_together():
    moved = {}
    for clip in (None, 1e-3):
        network = mlp()
        before = [p.detach().clone() for p in network.parameters()]
        config = TrainConfig(1, 24, 1.0, momentum=0.0, weight_decay=0.0, warmup=0.0, schedule="plateau", clip=clip)
        train(network, Sampled(), lambda _: [(X, Y)], validate=lambda _: [0.0] * 3, config=config)
        steps = [a - b for a, b in zip(before, network.parameters(), strict=True)]
        moved[clip] = float(torch.cat([step.detach().flatten() for step in steps]).norm())
    assert moved[1e-3] == pytest.approx(1e-3, rel=1e-2)
    assert moved[None] > 0.01
    with pytest.raises(SlicingError, match="clip must be positive"):
        TrainConfig(1, 24, 1.0, clip=0.0)

"""The language model, and training it piece by piece."""

import warnings

import pytest
import torch
from torch import nn

from slicing import (
    ConversionWarning,
    Joint,
    Plain,
    Sampled,
    Sandwich,
    SlicingError,
    TrainConfig,
    Truncated,
    convert,
    parameter_count,
    train,
)
from slicing.models import LanguageModel

RATES = (0.25, 0.5, 1.0)


def network(connectivity: str = "dense", dropout: float = 0.0):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(LanguageModel(11, 6, 8, dropout=dropout), RATES, connectivity, whole=["embedding"])


def test_the_papers_model_has_the_sizes_it_says():
    with torch.device("meta"):
        model = LanguageModel(10_000)
    layer = 4 * 640 * (640 + 2)
    wanted = 10_000 * 650 + (layer + 4 * 640 * 650) + (layer + 4 * 640 * 640) + 10_000 * 641
    assert sum(parameter.numel() for parameter in model.parameters()) == wanted
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    assert model.recurrent.dropout == 0.5  # between the two layers: three in all
    assert model(torch.zeros(2, 35, dtype=torch.long, device="meta")).shape == (2, 35, 10_000)


def test_its_embedding_stays_whole_and_the_rest_is_sliced():
    sliced = network()
    units, embedding, words = 2, 6, 11
    first, second = 4 * units * (embedding + units + 2), 4 * units * (units + units + 2)
    assert parameter_count(sliced, 0.25) == words * embedding + first + second + words * (units + 1)


@pytest.mark.parametrize("bad", [{"vocabulary": 1}, {"units": 0}, {"layers": 0}, {"embedding": -1}, {"dropout": 1.0}])
def test_wrong_sizes_are_refused(bad):
    with pytest.raises(SlicingError, match=next(iter(bad))):
        LanguageModel(**{"vocabulary": 5, **bad})


@pytest.mark.parametrize("connectivity", ["dense", "nested"])
def test_pieces_go_on_where_the_last_one_ended_and_a_text_begins_anew(connectivity, close):
    model = Truncated(network(connectivity).eval())
    words = torch.randint(0, 11, (3, 12))
    pieces = [(words[:, i : i + 4], torch.tensor(i // 4)) for i in (0, 4, 8)]
    for _ in range(2):
        for rate in RATES:
            found = torch.cat([model(*piece, rate=rate) for piece in pieces], 1)
            assert close(found.detach(), model.network(words, rate=rate).detach(), 1e-5)
    every = torch.cat([model.forward_all(*piece) for piece in pieces], 2)
    whole = model.network.forward_all(words)
    assert close(every[-1].detach(), whole[-1].detach(), 1e-5)
    if connectivity == "nested":
        assert close(every.detach(), whole.detach(), 1e-5)


def test_calls_of_one_step_begin_alike_and_the_widest_goes_on(close):
    model = Truncated(network().eval())
    words = torch.randint(0, 11, (2, 8))
    first, second = (words[:, :4], torch.tensor(0)), (words[:, 4:], torch.tensor(1))
    for rate in (1.0, 0.25, 0.5):
        model(*first, rate=rate)
    model(*second, rate=0.25)
    assert close(model(*second).detach(), model.network(words)[:, 4:].detach(), 1e-5)


def test_gradients_end_where_a_piece_begins():
    model = Truncated(network())
    first = model(torch.randint(0, 11, (2, 4)), torch.tensor(0))
    second = model(torch.randint(0, 11, (2, 4)), torch.tensor(1))
    first.sum().backward()
    second.sum().backward()  # would fail if it went back through the freed first piece


def test_a_piece_out_of_turn_is_refused():
    model = Truncated(network())
    with pytest.raises(SlicingError, match="piece 1 must follow piece 0"):
        model(torch.zeros(2, 4, dtype=torch.long), torch.tensor(1))


@pytest.mark.parametrize("scheme", [Plain(), Sampled(), Joint(), Sandwich(1)])
@pytest.mark.parametrize("connectivity", ["dense", "nested"])
def test_every_scheme_learns_a_text_that_repeats(scheme, connectivity):
    model = Truncated(network(connectivity))
    text = torch.arange(11).repeat(20)[:200].view(4, 50)

    def batches(epoch: int):
        for number, at in enumerate(range(0, 49, 7)):
            yield (text[:, at : at + 7], torch.tensor(number)), text[:, at + 1 : at + 8]

    config = TrainConfig(5, 4, 0.03, weight_decay=0.0, warmup=0.0, schedule="step", optimizer="adamw")
    result = train(model, scheme, batches, validate=lambda _: [0.0, 0.0, 1.0], config=config, steps_per_epoch=7)
    assert result.history[-1].loss < result.history[0].loss - 0.1

"""The ranker's network: FLOPs written out, slices, embeddings."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from slicing.convert import ConversionWarning, convert
from slicing.errors import SlicingError
from slicing.extract import extract
from slicing.flops import flops
from slicing.incremental import IncrementalScorer
from slicing.models import input_shapes, ranker_module
from slicing.network import SlicedNetwork
from slicing.trace import trace

RATES = (0.125, 0.25, 0.5, 1.0)


def sliced(numeric: int, vocabularies: tuple[int, ...] = (), **options: Any) -> SlicedNetwork:
    shapes = input_shapes(numeric, len(vocabularies))
    spec, _ = trace(ranker_module(numeric, vocabularies, **options), shapes if len(shapes) > 1 else shapes[0])
    return SlicedNetwork(spec, RATES).eval()


def candidates(numeric: int, vocabularies: tuple[int, ...]) -> tuple[Tensor, ...]:
    features = (torch.randn(9, numeric),) if numeric else ()
    return (*features, *(torch.randint(0, rows, (9,)) for rows in vocabularies))


@pytest.mark.parametrize("ids", [0, 2])
def test_flops_of_46_features_and_two_layers_of_512(ids: int) -> None:
    network = sliced(46, (10,) * ids)
    shapes = input_shapes(46, ids)
    units, columns = (64, 128, 256, 512), (2, 4, 8, 16)
    first = second = 0
    before = 0
    totals = []
    for wide, embedded in zip(units, columns, strict=True):
        first += (wide - before) * (46 + ids * embedded)
        second += (wide - before) * wide
        before = wide
        totals.append(first + second + wide)
    for rate, total in zip(RATES, totals, strict=True):
        assert flops(network, shapes if ids else shapes[0], rate) == total
    for (narrow, less), (wider, more) in pairwise(zip(RATES, totals, strict=True)):
        assert flops(network, shapes if ids else shapes[0], wider, narrow) == more - less
    if not ids:
        assert totals == [7104, 18304, 57088, 200192]


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("numeric", "vocabularies"), [(5, ()), (5, (4,)), (3, (4, 7)), (0, (4,)), (0, (4, 7))])
def test_one_shot_widening_training_and_extraction_agree(
    numeric: int, vocabularies: tuple[int, ...], residual: bool
) -> None:
    network = sliced(numeric, vocabularies, embedding=8, hidden=(16, 16, 8), residual=residual, dropout=0.5)
    x = candidates(numeric, vocabularies)
    session = IncrementalScorer(network, reuse="always").start(*x)
    with torch.no_grad():
        every = network.forward_all(*x)
        for k, rate in enumerate(RATES):
            once = network(*x, rate=rate)
            assert once.shape == (9, 1)
            torch.testing.assert_close(every[k], once, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(session.widen(rate), once, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(extract(network, rate)(*x), once, atol=1e-5, rtol=1e-5)


def test_it_can_be_converted_and_full_width_dense_is_the_module() -> None:
    module = ranker_module(5, (4,), embedding=4, hidden=(8, 8)).eval()
    x = candidates(5, (4,))
    dense = convert(module, (0.5, 1.0), "dense", input_shape=input_shapes(5, 1))
    torch.testing.assert_close(dense(*x), module(*x))
    with pytest.warns(ConversionWarning, match="nested"):
        assert convert(module, (0.5, 1.0), input_shape=input_shapes(5, 1)).connectivity == "nested"


def test_a_residual_layer_adds_what_it_read() -> None:
    module = ranker_module(3, hidden=(4, 4, 2), residual=True).eval()
    x = torch.randn(6, 3)
    layers = dict(module.named_modules())
    first = layers["dense_0"](x).relu()
    second = first + layers["dense_1"](first).relu()
    third = layers["dense_2"](second).relu()  # another width: nothing to add
    torch.testing.assert_close(module(x), layers["score"](third))
    plain = ranker_module(3, hidden=(4, 4, 2), residual=False).eval()
    plain.load_state_dict(module.state_dict())
    second = layers["dense_1"](first).relu()
    torch.testing.assert_close(plain(x), layers["score"](layers["dense_2"](second).relu()))


def test_the_unknown_row_starts_at_zero() -> None:
    table = ranker_module(0, (5,)).get_submodule("embedding_0").weight
    assert isinstance(table, Tensor)
    assert table[0].abs().max() == 0
    assert table[1:].abs().min() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"numeric": 0}, "features or ids"),
        ({"numeric": -1}, "numeric must be"),
        ({"numeric": 2, "hidden": ()}, "at least one hidden layer"),
        ({"numeric": 2, "hidden": (4, 0)}, r"hidden\[1\] must be"),
        ({"numeric": 2, "vocabularies": (0,)}, r"vocabularies\[0\] must be"),
        ({"numeric": 2, "embedding": 1.5}, "embedding must be"),
        ({"numeric": 2, "dropout": 1.0}, r"dropout must lie in \[0, 1\)"),
    ],
)
def test_bad_sizes_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SlicingError, match=message):
        ranker_module(**arguments)

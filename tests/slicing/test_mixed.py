"""Networks whose rates lie in segments, by layer where drawn so: the invariants over random segmentations."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from slicing import (
    IncrementalScorer,
    SlicedNetwork,
    SlicingError,
    cache_bytes,
    convert,
    cost,
    extract,
    flops,
    load,
    parameter_count,
    save,
)
from slicing.models import mlp

RANDOM = settings(max_examples=15, deadline=None)
RATES = (0.25, 0.5, 0.75, 1.0)


def counted(call) -> float:
    """Multiply-adds by torch's counter, told of ``addmm_``, which it knows as ``addmm`` only."""

    def addmm(y: list[int], x: list[int], weight: list[int], **_: object) -> int:
        return 2 * x[0] * x[1] * weight[1]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm}) as counter:
        call()
    return counter.get_total_flops() / 2


def mixed(data, cases, **options):
    case = data.draw(cases(**options))
    return case, case.connectivity(data.draw)


@given(data=st.data())
@RANDOM
def test_every_rate_is_the_plain_module_with_the_rest_silenced(cases, close, data):
    case, connectivity = mixed(data, cases)
    network = case.sliced(connectivity, rescale=False)
    x = case.inputs(2)
    with torch.no_grad():
        for k, rate in enumerate(network.rates):
            assert close(network(*x, rate=rate), case.reference(k, connectivity)(*x))


@given(data=st.data())
@RANDOM
def test_all_rates_at_once_are_the_rates_one_by_one_and_so_is_the_gradient(cases, close, data):
    case, connectivity = mixed(data, cases)
    network = case.sliced(connectivity, rescale=data.draw(st.booleans()))
    x = case.inputs(3)
    every = range(len(network.rates))
    positions = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(every), min_size=1, unique=True).map(sorted)))
    together = network.forward_all(*x, positions=positions)
    weights = torch.randn(together.shape, dtype=together.dtype, generator=torch.Generator().manual_seed(1))
    (together * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    assert len(together) == len(every if positions is None else positions)
    for scores, weight, k in zip(together, weights, every if positions is None else positions, strict=True):
        alone = network(*x, rate=network.rates[k])
        assert close(scores.detach(), alone.detach())
        (alone * weight).sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.grad is not None:
            assert close(gradients[name], parameter.grad), name


@given(data=st.data())
@RANDOM
def test_inside_a_segment_a_narrow_result_is_the_prefix_of_a_wider_one(cases, close, data):
    case, connectivity = mixed(data, cases)
    network = case.sliced(connectivity)
    seen: list[dict[str, torch.Tensor]] = []
    with torch.no_grad():
        for k in range(len(network.rates)):
            seen.append({})
            network.advance(case.inputs(2), -1, k, record=lambda name, y, seen=seen: seen[-1].update({name: y.clone()}))
    for k, (narrow, wide) in enumerate(pairwise(seen)):
        for step in network.steps:
            layout, value = network.layouts[step.name], narrow[step.name]
            if layout.sliced and step.firsts[k + 1] <= k:
                axis = -1 if value.dim() == 2 else layout.axis
                assert close(wide[step.name].narrow(axis, 0, value.shape[axis]), value), step.name


@pytest.mark.parametrize("copying", [0, 64])
@given(data=st.data())
@RANDOM
def test_scores_with_reuse_are_the_one_shot_scores_and_cost_what_is_counted(cases, close, copying, data):
    """With copies for free everything that is exact is taken over."""
    case, connectivity = mixed(data, cases, dtype=torch.float32)
    network = case.sliced(connectivity, rescale=data.draw(st.booleans())).eval()
    count = data.draw(st.integers(1, 5))
    inputs, kept, before = case.inputs(count), list(range(count)), None
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr("slicing.incremental.MULTIPLY_ADDS_PER_COPY", copying)
        lanes = data.draw(st.sampled_from([1, 16]))  # joined blocks do more than is counted: see test_joined
        session = IncrementalScorer(network, chunk=data.draw(st.sampled_from([None, 2])), lanes=lanes).start(*inputs)
        for rate in data.draw(st.lists(st.sampled_from(network.rates), min_size=1, unique=True).map(sorted)):
            if data.draw(st.booleans()):
                chosen = data.draw(st.lists(st.sampled_from(range(len(kept))), min_size=1, unique=True).map(sorted))
                session.select(torch.tensor(chosen))
                kept = [kept[position] for position in chosen]
            scores: list[torch.Tensor] = []
            spent = counted(lambda rate=rate, scores=scores: scores.append(session.widen(rate)))
            assert close(scores[0], network(*(x[kept] for x in inputs), rate=rate), 1e-4)
            assert spent == len(kept) * session.flops or lanes > 1
            if before is None:
                assert session.mode == "fresh"
            elif session.mode == "reuse" or not copying:
                assert session.flops == flops(network, case.shape, rate, before)
            assert (session.mode == "reuse") == (session.flops < flops(network, case.shape, rate))
            before = rate


@given(data=st.data())
@RANDOM
def test_an_exact_step_costs_the_difference_inside_a_segment_and_a_whole_pass_over_its_border(cases, data):
    case = data.draw(cases())
    connectivity = case.connectivity(data.draw).split(",")[0]
    costs = cost(case.sliced(connectivity), case.shape)
    for to in range(len(case.rates)):
        for start in range(to):
            same = case.segment_begin("", connectivity, to) <= start
            assert costs.flops(to, start) == costs.flops(to) - (costs.flops(start) if same else 0)


@given(data=st.data())
@RANDOM
def test_cache_bytes_are_the_bytes_that_the_chunks_hold(cases, data):
    case, connectivity = mixed(data, cases)
    network = case.sliced(connectivity).eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slicing.incremental.MULTIPLY_ADDS_PER_COPY", 0)
        session = IncrementalScorer(network, chunk=2).start(*case.inputs(3))
        for rate in network.rates:
            session.widen(rate)
            held = 0
            for chunk in session._chunks:
                held += sum(part.nbytes for prefix in chunk.prefixes.values() for part in prefix.parts())
                held += sum(total.nbytes for total in chunk.sums.values())
            assert held == 3 * cache_bytes(network, case.shape, rate)


@given(data=st.data())
@RANDOM
def test_every_rate_is_the_extracted_network_and_uses_the_parameters_counted(cases, close, data):
    case, connectivity = mixed(data, cases)
    network = case.sliced(connectivity, rescale=data.draw(st.booleans()))
    x = case.inputs(3)
    with torch.no_grad():
        for rate in network.rates:
            assert close(extract(network, rate)(*x), network(*x, rate=rate))
        for _, layer in network.layer_modules():
            for parameter in layer.parameters():
                parameter.fill_(1.0)
    for rate in network.rates:
        assert parameter_count(network, rate) == sum(int((p != 0).sum()) for p in extract(network, rate).parameters())


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_training_never_fills_the_weights_that_no_rate_uses(cases, data):
    case, connectivity = mixed(data, cases, kinds=("image", "dense"))
    network = case.sliced(connectivity).train()
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=0.1)
    for rate in (None, *network.rates):
        scores = network.forward_all(*case.inputs(3)) if rate is None else network(*case.inputs(3), rate=rate)
        optimizer.zero_grad()
        scores.tanh().mean().backward()  # bounded: a random network must not diverge to NaN
        optimizer.step()
    for _, layer in network.layer_modules():
        if getattr(layer, "mask", None) is not None:
            assert not (layer.weight * (1 - layer.mask)).any()


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_network_comes_back_from_its_file(cases, tmp_path_factory, data):
    case, connectivity = mixed(data, cases)
    network = case.sliced(connectivity).eval()
    path = tmp_path_factory.mktemp("networks") / "network.safetensors"
    save(network, path)
    again = load(path)
    assert (again.connectivity, again.rescale) == (network.connectivity, network.rescale)
    with torch.no_grad():
        for rate in network.rates:
            assert torch.equal(again(*case.inputs(2), rate=rate), network(*case.inputs(2), rate=rate))


@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_a_border_at_every_rate_is_dense_bit_for_bit(cases, data):
    case = data.draw(cases())
    dense = case.sliced("dense")
    borders = "+".join(map(repr, case.rates[1:]))
    every = case.sliced(f"mixed@{borders}" if borders else "dense")
    for rate in case.rates:
        assert torch.equal(dense(*case.inputs(2), rate=rate), every(*case.inputs(2), rate=rate))
        assert parameter_count(dense, rate) == parameter_count(every, rate)
        assert flops(dense, case.shape, rate) == flops(every, case.shape, rate)
    assert torch.equal(dense.forward_all(*case.inputs(2)), every.forward_all(*case.inputs(2)))


class Upon(nn.Module):
    """A trunk, and the rest upon it."""

    def __init__(self, trunk: nn.Module, rest: nn.Module) -> None:
        super().__init__()
        self.trunk, self.rest = trunk, rest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rest(self.trunk(x))


@given(data=st.data())
@RANDOM
def test_a_trunk_is_a_plain_module_in_front_computed_once(cases, close, data):
    case = data.draw(cases(kinds=("image", "dense"), dtype=torch.float32))
    connectivity = case.connectivity(data.draw)
    rest = case.sliced(connectivity).eval()
    units = case.shapes[0][0]
    if len(case.shapes[0]) == 1:
        shape, trunk = (3,), nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, units), nn.ReLU())
        price = 3 * 4 + 4 * units
    else:
        shape = (2, *case.shapes[0][1:])
        trunk = nn.Sequential(nn.Conv2d(2, units, 3, padding=1), nn.GroupNorm(1, units), nn.ReLU())
        price = 2 * units * 9 * shape[1] * shape[2]
    case.module = Upon(trunk, case.module)
    first, *others = connectivity.split(",")
    text = ",".join([first, "trunk=trunk", *(f"rest.{other}" for other in others)])
    case.shapes = [shape]
    network = case.sliced(text).eval()
    x = case.inputs(4)[0]
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("slicing.incremental.MULTIPLY_ADDS_PER_COPY", 0)
        session = IncrementalScorer(network, chunk=data.draw(st.sampled_from([None, 3])), lanes=1).start(x)
        for k, rate in enumerate(network.rates):
            expected = rest(trunk(x), rate=rate)
            assert close(network(x, rate=rate), expected, 1e-4)
            assert close(extract(network, rate)(x), expected, 1e-4)
            scores: list[torch.Tensor] = []
            spent = counted(lambda rate=rate, scores=scores: scores.append(session.widen(rate)))
            assert close(scores[0], expected, 1e-4)
            before = network.rates[k - 1] if k else None
            step = flops(rest, tuple(trunk(x).shape[1:]), rate, before)
            assert spent == len(x) * session.flops == len(x) * (step + (0 if k else price))
            assert session.mode == ("reuse" if k else "fresh")
            x = x[1:]
            session.select(torch.arange(1, len(x) + 1))
        trained = network.forward_all(case.inputs(2)[0])
        assert close(trained, rest.forward_all(trunk(case.inputs(2)[0])), 1e-4)
    own = sum(parameter.numel() for parameter in trunk.parameters())
    assert all(parameter_count(network, rate) == own + parameter_count(rest, rate) for rate in network.rates)


def test_a_dense_tail_is_recomputed_upon_nested_layers_that_are_not():
    spec = convert(mlp([3, 8, 8, 8, 2]), RATES, "dense").spec
    network = SlicedNetwork(spec, RATES, "nested,4=dense")
    costs = cost(network, (3,))
    # layers 0 and 2 add a block of 2 units; the tail reads and computes 4 units anew, and so does the head
    assert costs.flops(1, 0) == 3 * 2 + 2 * 4 + 4 * 4 + 4 * 2
    # behind the tail all is recomputed, nested or not
    behind = SlicedNetwork(spec, RATES, "nested,2=dense")
    assert cost(behind, (3,)).flops(1, 0) == 3 * 2 + 4 * 4 + (2 * 2 + 2 * 4) + 4 * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixed@0.6", "rate 0.6 is not one of this network's rates"),
        ("mixed@0.25", "the first rate 0.25 begins the first segment anyway"),
        ("nested,9=dense", "'9', which is none of the layers it could hold for: 0, 2;"),
        ("nested,4=dense", "'4', which is none of the layers"),
        ("nested,2=trunk", "2: a trunk layer is computed once"),
    ],
)
def test_what_a_network_cannot_have_is_refused(text, message):
    with pytest.raises(SlicingError, match=message):
        convert(mlp([3, 8, 8, 2]), RATES, text)

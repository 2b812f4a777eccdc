"""Sliced recurrent layers against torch's own, at every rate, in one pass and widened, whole and packed."""

import copy
import warnings
from dataclasses import dataclass
from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

from slicing import (
    Carried,
    ConversionWarning,
    IncrementalScorer,
    Layout,
    SlicedGRU,
    SlicedLSTM,
    SlicedNetwork,
    SlicedRNN,
    SlicingError,
    cache_bytes,
    convert,
    extract,
    flops,
    load,
    parameter_count,
    save,
)
from slicing.recurrent import SlicedRecurrent, State

RANDOM = settings(max_examples=20, deadline=None)
BOTH = pytest.mark.parametrize("connectivity", ["nested", "dense", "mixed@1"])
CELLS = ["tanh", "relu", "lstm", "gru"]


@dataclass
class Layer:
    """A sliced layer in double precision, sequences for it, and its rates' widths."""

    sliced: SlicedRecurrent
    x: Tensor
    state: State
    inputs: tuple[int, ...]
    units: tuple[int, ...]
    cell: str

    def torchs_own(self, to: int) -> nn.RNNBase:
        """Torch's layer of the r-net's widths, filled by loops over gates and units: no slicing code in it."""
        sizes = (self.inputs[to], self.units[to])
        options = {"bias": self.sliced.bias_ih is not None, "batch_first": True}
        if self.cell in ("tanh", "relu"):
            plain: nn.RNNBase = nn.RNN(*sizes, nonlinearity=self.cell, **options)
        else:
            plain = {"lstm": nn.LSTM, "gru": nn.GRU}[self.cell](*sizes, **options)
        plain.double()
        full, narrow = self.units[-1], self.units[to]
        firsts = self.sliced.firsts
        with torch.no_grad():
            for gate in range(self.sliced.gates):
                for unit in range(narrow):
                    mine, theirs = gate * full + unit, gate * narrow + unit
                    block = next(k for k, units in enumerate(self.units) if unit < units)
                    at, whole = max(block, firsts[to]), max(block, firsts[-1])
                    for heard, ours, plains in (
                        (self.inputs, self.sliced.weight_ih, plain.weight_ih_l0),
                        (self.units, self.sliced.weight_hh, plain.weight_hh_l0),
                    ):
                        plains[theirs] = 0.0
                        scale = heard[whole] / heard[at] if self.sliced.rescale else 1.0
                        plains[theirs, : heard[at]] = ours[mine, : heard[at]] * scale
                    for name in ("bias_ih", "bias_hh"):
                        bias = getattr(self.sliced, name)
                        if bias is not None:
                            getattr(plain, f"{name}_l0")[theirs] = bias[mine]
        return plain

    def begin(self, to: int) -> Tensor | tuple[Tensor, ...]:
        parts = tuple(part[None, :, : self.units[to]].contiguous() for part in self.state)
        return parts if len(parts) > 1 else parts[0]


@st.composite
def layers(draw, connectivity: str | None = None) -> Layer:
    rates = draw(st.integers(1, 4))
    begins = {"nested": [], "dense": range(rates), None: draw(st.sets(st.integers(1, 3)))}[connectivity]
    firsts = tuple(max([0, *(begin for begin in begins if begin <= k)]) for k in range(rates))
    blocks = st.lists(st.integers(1, 3), min_size=rates, max_size=rates)
    units = tuple(accumulate(draw(blocks)))
    inputs = tuple(accumulate(draw(blocks))) if draw(st.booleans()) else (draw(st.integers(1, 5)),) * rates
    reads = Layout.of(inputs, -1) if inputs[0] != inputs[-1] else Layout.fixed(inputs[0], rates, -1)
    cell = draw(st.sampled_from(CELLS))
    torch.manual_seed(draw(st.integers(0, 1000)))
    settings_ = (reads, Layout.of(units, -1), draw(st.booleans()), firsts, draw(st.booleans()))
    sliced = {"lstm": SlicedLSTM, "gru": SlicedGRU}.get(cell, SlicedRNN)(
        *settings_, **({"nonlinearity": cell} if cell in ("tanh", "relu") else {})
    )
    n, steps = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    state = tuple(torch.randn(n, units[-1]).double() for _ in range(sliced.states))
    return Layer(sliced.double(), torch.randn(n, steps, inputs[-1]).double(), state, inputs, units, cell)


@given(layer=layers())
@RANDOM
@torch.no_grad()
def test_every_rate_is_torchs_own_layer_of_its_widths(layer, close):
    for to, inputs in enumerate(layer.inputs):
        y, end = layer.sliced(layer.x[..., :inputs], -1, to, None, layer.state)
        wanted, last = layer.torchs_own(to)(layer.x[..., :inputs], layer.begin(to))
        assert close(y, wanted, 1e-10)
        for ours, theirs in zip(end, last if isinstance(last, tuple) else (last,), strict=True):
            assert close(ours, theirs[0], 1e-10)


@given(layer=layers(connectivity="nested"))
@RANDOM
@torch.no_grad()
def test_a_nested_layers_narrow_states_are_the_prefix_of_the_wide_ones_and_widening_gives_the_rest(layer, close):
    wide, ends = layer.sliced(layer.x, -1, len(layer.units) - 1, None, layer.state)
    known, end = layer.sliced(layer.x[..., : layer.inputs[0]], -1, 0, None, layer.state)
    for to in range(len(layer.units)):
        if to:
            new, more = layer.sliced(layer.x[..., : layer.inputs[to]], to - 1, to, known, layer.state)
            known = torch.cat([known, new], -1)
            end = tuple(torch.cat(pair, 1) for pair in zip(end, more, strict=True))
        assert close(known, wide[..., : layer.units[to]], 1e-10)
        for narrow, whole in zip(end, ends, strict=True):
            assert close(narrow, whole[:, : layer.units[to]], 1e-10)


@given(layer=layers(connectivity="dense"), data=st.data())
@RANDOM
@torch.no_grad()
def test_widening_a_dense_layer_by_a_loop_over_steps(layer, close, data):
    """Section 3.4: narrow outputs stay as they are, new units read them and themselves, one step late."""
    to = len(layer.units) - 1
    start = data.draw(st.integers(0, to))
    known, _ = layer.sliced(layer.x[..., : layer.inputs[start]], -1, start, None, layer.state)
    if start == to:
        return
    new, _ = layer.sliced(layer.x, start, to, known, layer.state)
    cell = _cell_of(layer, to)
    a, state = layer.units[start], [part.clone() for part in layer.state]
    for t in range(layer.x.shape[1]):
        given_ = tuple(state) if len(state) > 1 else state[0]
        found = cell(layer.x[:, t], given_)
        found = list(found) if isinstance(found, tuple) else [found]
        assert close(new[:, t], found[0][:, a:], 1e-10)
        state = [torch.cat([known[:, t], found[0][:, a:]], 1), *found[1:]]


def _cell_of(layer: Layer, to: int) -> nn.RNNCellBase:
    plain = layer.torchs_own(to)
    sizes, bias = (layer.inputs[to], layer.units[to]), layer.sliced.bias_ih is not None
    if layer.cell in ("tanh", "relu"):
        cell: nn.RNNCellBase = nn.RNNCell(*sizes, bias=bias, nonlinearity=layer.cell)
    else:
        cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[layer.cell](*sizes, bias=bias)
    cell.double().load_state_dict({name.removesuffix("_l0"): value for name, value in plain.state_dict().items()})
    return cell


@given(layer=layers(), data=st.data())
@RANDOM
@torch.no_grad()
def test_packed_sequences_in_one_pass_and_widened(layer, close, data):
    count, steps = layer.x.shape[:2]
    lengths = torch.tensor(data.draw(st.lists(st.integers(1, steps), min_size=count, max_size=count)))
    known: PackedSequence | None = None
    for to, inputs in enumerate(layer.inputs):
        packed = pack_padded_sequence(layer.x[..., :inputs], lengths, batch_first=True, enforce_sorted=False)
        y, end = layer.sliced(packed, -1, to, None, layer.state)
        wanted, last = layer.torchs_own(to)(packed, layer.begin(to))
        assert close(y.data, wanted.data, 1e-10)
        for ours, theirs in zip(end, last if isinstance(last, tuple) else (last,), strict=True):
            assert close(ours, theirs[0], 1e-10)
        if not any(layer.sliced.firsts):
            if known is not None:
                new, _ = layer.sliced(packed, to - 1, to, known, layer.state)
                y = new._replace(data=torch.cat([known.data, new.data], -1))
                assert close(y.data, wanted.data, 1e-10)
            known = y


@given(layer=layers())
@settings(max_examples=8, deadline=None)
@torch.no_grad()
def test_multiply_adds_of_a_step_are_those_torch_counts_gate_by_gate(layer):
    for to in range(len(layer.units)):
        plain, blocks = layer.torchs_own(to), layer.sliced.blocks(-1, to)
        with FlopCounterMode(display=False) as counter:
            for a, b, m, _, _ in blocks:
                for gate in range(layer.sliced.gates):
                    rows = slice(gate * layer.units[to] + a, gate * layer.units[to] + b)
                    nn.functional.linear(layer.x[:, 0, :m], plain.weight_ih_l0[rows, :m])
                    nn.functional.linear(layer.state[0][:, :b], plain.weight_hh_l0[rows, :b])
        assert layer.sliced.macs(-1, to) * layer.x.shape[0] == counter.get_total_flops() // 2
        steps = [layer.sliced.macs(k - 1, k) for k in range(to + 1)]
        if not any(layer.sliced.firsts):
            assert sum(steps) == layer.sliced.macs(-1, to)


@given(layer=layers(connectivity="nested"))
@RANDOM
def test_one_masked_pass_for_training_gives_what_block_by_block_gives_and_its_gradient(layer, close):
    last = len(layer.units) - 1
    y, _ = layer.sliced(layer.x, -1, last, None, layer.state)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    found = {name: parameter.grad.clone() for name, parameter in layer.sliced.named_parameters()}
    layer.sliced.zero_grad()
    masked, _ = layer.sliced.at_once(layer.x, last, layer.state)
    assert close(masked.detach(), y.detach(), 1e-10)
    (masked * weights).sum().backward()
    for name, parameter in layer.sliced.named_parameters():
        assert close(parameter.grad, found[name], 1e-9), name
    for weight, mask in layer.sliced.masks():
        assert not weight.detach()[mask == 0].any()
        assert not weight.grad[mask == 0].any()


@given(layer=layers(), data=st.data())
@RANDOM
@torch.no_grad()
def test_a_sequence_in_two_pieces_is_the_sequence_whole(layer, close, data):
    steps = layer.x.shape[1]
    if steps < 2:
        return
    cut, to = data.draw(st.integers(1, steps - 1)), len(layer.units) - 1
    whole, end = layer.sliced(layer.x, -1, to)
    first, state = layer.sliced(layer.x[:, :cut], -1, to)
    second, last = layer.sliced(layer.x[:, cut:], -1, to, None, state)
    assert close(torch.cat([first, second], 1), whole, 1e-10)
    assert all(close(a, b, 1e-10) for a, b in zip(end, last, strict=True))


@pytest.mark.parametrize("cell", [SlicedRNN, SlicedLSTM, SlicedGRU])
def test_wrong_sequences_and_states_are_refused(cell):
    layer = cell(Layout.of((1, 3), -1), Layout.of((2, 4), -1))
    with pytest.raises(SlicingError, match=r"inputs of shape \(N, T, 1\)"):
        layer(torch.zeros(2, 5, 3), -1, 0)
    with pytest.raises(SlicingError, match="needs its outputs"):
        layer(torch.zeros(2, 5, 3), 0, 1)
    with pytest.raises(SlicingError, match=r"known outputs of shape \(N, T, 2\)"):
        layer(torch.zeros(2, 5, 3), 0, 1, torch.zeros(2, 5, 3))
    with pytest.raises(SlicingError, match="state must hold"):
        layer(torch.zeros(2, 5, 3), -1, 1, None, (torch.zeros(3, 4),))
    with pytest.raises(SlicingError, match="tanh or relu"):
        SlicedRNN(Layout.of((1, 3), -1), Layout.of((2, 4), -1), nonlinearity="gelu")


class Tagger(nn.Module):
    """Ids to scores: an embedding, stacked recurrent layers with dropout, a head on every step or on the last."""

    def __init__(self, kind: type[nn.RNNBase], levels: int, way: str) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 6)
        self.recurrent = kind(6, 8, num_layers=levels, batch_first=True, dropout=0.5 if levels > 1 else 0.0)
        self.dense = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)
        self.way = way

    def forward(self, ids: Tensor) -> Tensor:
        outputs, state = self.recurrent(self.table(ids))
        if self.way == "every step":
            chosen = outputs
        elif self.way == "last step":
            chosen = outputs[:, -1]
        else:
            chosen = (state[0] if isinstance(self.recurrent, nn.LSTM) else state)[-1]
        return self.head(torch.relu(self.dense(chosen)))


@st.composite
def taggers(draw) -> tuple[Tagger, Tensor]:
    torch.manual_seed(draw(st.integers(0, 1000)))
    kind = draw(st.sampled_from([nn.RNN, nn.LSTM, nn.GRU]))
    way = draw(st.sampled_from(["every step", "last step", "last state"]))
    module = Tagger(kind, draw(st.integers(1, 3)), way).double().eval()
    return module, torch.randint(0, 9, (draw(st.integers(1, 4)), draw(st.integers(1, 5))))


def converted(module: nn.Module, connectivity: str, **options: object) -> SlicedNetwork:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(module, [0.25, 0.5, 1.0], connectivity, **options)


@BOTH
@given(drawn=taggers(), whole=st.booleans(), rescale=st.booleans())
@settings(max_examples=10, deadline=None)
@torch.no_grad()
def test_a_converted_module_is_the_module_at_full_width_and_its_extract_at_every_rate(
    connectivity, close, drawn, whole, rescale
):
    module, ids = drawn
    network = converted(module, connectivity, rescale=rescale, whole=["table"] if whole else [])
    if connectivity == "dense":
        assert close(network(ids), module(ids), 1e-10)
    for rate in network.rates:
        narrow = extract(network, rate)
        assert close(narrow(ids), network(ids, rate=rate), 1e-10)
        assert narrow.table.weight.shape[1] == (6 if whole else round(6 * rate + 0.25))
        if connectivity == "dense" and rate == 1.0:
            assert sum(p.numel() for p in narrow.parameters()) == parameter_count(network)
    assert close(network.forward_all(ids), torch.stack([network(ids, rate=rate) for rate in network.rates]), 1e-10)


@pytest.mark.parametrize("connectivity", ["nested", "mixed@0.5", "mixed@1", "nested,recurrent=mixed@1"])
@given(drawn=taggers(), whole=st.booleans(), data=st.data())
@settings(max_examples=10, deadline=None)
@torch.no_grad()
def test_the_incremental_scorer_widens_cached_sequences_and_keeps_survivors(close, connectivity, drawn, whole, data):
    module, ids = drawn
    network = converted(module, connectivity, whole=["table"] if whole else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slicing.incremental.MULTIPLY_ADDS_PER_COPY", 0)  # so that all that is exact is taken over
        widened(network, ids, data, close)
    if connectivity != "nested":
        return
    costs = [flops(network, (5,), rate) for rate in network.rates]
    steps = [flops(network, (5,), b, from_rate=a) for a, b in pairwise(network.rates)]
    assert costs[0] + sum(steps) == costs[-1]
    assert cache_bytes(network, (5,), 0.5) > cache_bytes(network, (5,), 0.25)


def widened(network, ids, data, close):
    session = IncrementalScorer(network, chunk=data.draw(st.integers(1, 3))).start(ids)
    for rate in network.rates:
        assert close(session.widen(rate), network(ids, rate=rate), 1e-10)
        if len(ids) > 1 and data.draw(st.booleans()):
            rows = torch.arange(len(ids))[data.draw(st.integers(0, 1)) :: 2]
            session.select(rows)
            ids = ids[rows]


@BOTH
def test_carried_states_join_the_pieces_of_a_sequence_at_every_rate(connectivity, close):
    torch.manual_seed(0)
    module = Tagger(nn.LSTM, 2, "every step").double().eval()
    network = converted(module, connectivity)
    ids = torch.randint(0, 9, (3, 8))
    for rate in network.rates:
        first = Carried()
        head = network(ids[:, :5], rate=rate, carried=first)
        second = Carried(first.end)
        tail = network(ids[:, 5:], rate=rate, carried=second)
        assert close(torch.cat([head, tail], 1).detach(), network(ids, rate=rate).detach(), 1e-10)
        assert set(second.end) == {"recurrent.l0", "recurrent.l1"}
    first = Carried()
    network.forward_all(ids[:, :5], carried=first)
    if connectivity == "nested":  # the whole network's states begin with every narrower one's
        tails = network.forward_all(ids[:, 5:], carried=Carried(first.end))
        assert close(tails[0].detach(), network(ids, rate=0.25)[:, 5:].detach(), 1e-10)
    full = network(ids, carried=Carried(copy.copy(first.end)))
    assert not close(full.detach(), network(ids).detach(), 1e-3)


@BOTH
@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_saved_network_comes_back_and_one_with_foreign_weights_is_refused(connectivity, kind, tmp_path):
    network = converted(Tagger(kind, 2, "last step").eval(), connectivity, whole=["table"])
    save(network, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    ids = torch.randint(0, 9, (2, 3))
    for rate in network.rates:
        assert torch.equal(again(ids, rate=rate), network(ids, rate=rate))
    with torch.no_grad():
        network.module_of("recurrent.l1").weight_hh[0, -1] = 1.0
    save(network, tmp_path / "net.safetensors")
    if connectivity == "nested":
        with pytest.raises(SlicingError, match="above the block diagonal"):
            load(tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LSTM(4, 4), "batch_first"),
        (nn.GRU(4, 4, batch_first=True, bidirectional=True), "bidirectional"),
        (nn.LSTM(4, 4, batch_first=True, proj_size=2), "proj_size"),
    ],
)
def test_settings_that_cant_be_sliced_are_refused(layer, message):
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = layer, nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[0])

    with pytest.raises(SlicingError, match=message):
        convert(Module(), [0.5, 1.0])


@pytest.mark.parametrize("way", ["state", "cell", "twice", "first level"])
def test_uses_that_cant_be_sliced_are_refused(way):
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.LSTM(4, 4, num_layers=2, batch_first=True), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y, (h, c) = self.layer(x)
            if way == "state":
                return self.head(self.layer(x, (h, c))[0])
            if way == "twice":
                return self.head(self.layer(y)[0])
            return self.head(c[-1] if way == "cell" else h[0])

    with pytest.raises(SlicingError, match=r"can't be sliced|can be sliced"):
        convert(Module(), [0.5, 1.0])


def test_only_embeddings_can_stay_whole():
    with pytest.raises(SlicingError, match=r"whole must name embeddings.*\['table'\]"):
        convert(Tagger(nn.GRU, 1, "last step"), [0.5, 1.0], whole=["recurrent"])

"""Scores with reuse against one-shot scores, the approximation of dense networks, and how a session behaves."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from slicing import IncrementalScorer, SlicedNetwork, SlicingError, cache_bytes, convert, flops, reuse_error
from slicing.models import mlp

RANDOM = settings(max_examples=25, deadline=None)
RATES = [0.25, 0.5, 0.75, 1.0]


@pytest.fixture
def network():
    torch.manual_seed(0)
    return convert(mlp([5, 16, 16, 3]), RATES, "dense").eval()


def funnel(data, case, network, scorer):
    """Widen through some of the rates with survivors chosen in between; yields the rate, ours and the one-shot's."""
    count = data.draw(st.integers(1, 6))
    inputs = case.inputs(count)
    session = scorer.start(*inputs)
    kept = list(range(count))
    rates = data.draw(st.lists(st.sampled_from(network.rates), min_size=1, unique=True).map(sorted))
    for rate in rates:
        if data.draw(st.booleans()):
            positions = data.draw(st.lists(st.integers(0, max(len(kept) - 1, 0)), unique=True).map(sorted))
            positions = positions if kept else []
            session.select(torch.tensor(positions, dtype=torch.long))
            kept = [kept[position] for position in positions]
        assert len(session) == len(kept)
        with torch.no_grad():
            yield rate, session, session.widen(rate), network(*(x[kept] for x in inputs), rate=rate)


@pytest.mark.parametrize("reuse", ["auto", "always", "never"])
@given(data=st.data())
@RANDOM
def test_nested_scores_with_reuse_are_the_one_shot_scores(cases, close, reuse, data):
    case = data.draw(cases())
    network = case.sliced("nested", rescale=data.draw(st.booleans())).eval()
    scorer = IncrementalScorer(network, reuse=reuse, chunk=data.draw(st.sampled_from([None, 1, 2, 3])))
    for _, _, ours, theirs in funnel(data, case, network, scorer):
        assert close(ours, theirs)


@given(data=st.data())
@RANDOM
def test_dense_scores_without_reuse_are_the_one_shot_scores(cases, close, data):
    case = data.draw(cases())
    network = case.sliced("dense").eval()
    scorer = IncrementalScorer(network, reuse="never", chunk=data.draw(st.sampled_from([None, 2])))
    for _, session, ours, theirs in funnel(data, case, network, scorer):
        assert session.mode in ("fresh", "recompute")
        assert close(ours, theirs)


@given(data=st.data())
@RANDOM
def test_single_precision_stays_within_its_rounding(cases, close, data):
    case = data.draw(cases(kinds=("dense", "ids"), dtype=torch.float32))
    network = case.sliced("nested").eval()
    for _, _, ours, theirs in funnel(data, case, network, IncrementalScorer(network, reuse="always")):
        assert close(ours, theirs, 1e-4)


def test_a_dense_increment_is_equation_9_by_hand():
    """Y1 = W1 X1 stays as it was, without the B X2 that Equation 9 drops; the new rows [C D] read all of X."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    network = convert(module, [0.5, 1.0], "dense", rescale=False)
    x = torch.randn(3, 2, dtype=torch.float64)
    first, second, head = module[0], module[2], module[4]
    with torch.no_grad():
        hidden = torch.relu(x @ first.weight.T + first.bias)  # its columns do not read units: nothing to approximate
        x1 = hidden[:, :2]
        y1 = torch.relu(x1 @ second.weight[:3, :2].T + second.bias[:3])
        y2 = torch.relu(hidden @ second.weight[3:].T + second.bias[3:])
        narrow = y1 @ head.weight[:, :3].T + head.bias
        wide = torch.cat([y1, y2], 1) @ head.weight.T + head.bias
    session = IncrementalScorer(network, reuse="always").start(x)
    assert torch.allclose(session.widen(0.5), narrow, atol=1e-12)
    assert torch.allclose(session.widen(1.0), wide, atol=1e-12)
    assert session.mode == "reuse"
    with torch.no_grad():
        gap = (wide - network(x)).abs()
    error = reuse_error(network, x)
    assert [e["rate"] for e in error] == [0.5, 1.0]
    assert error[0] == {"rate": 0.5, "mean": 0.0, "max": 0.0, "disagree": 0.0}
    assert error[1]["mean"] == pytest.approx(gap.mean().item())
    assert error[1]["max"] == pytest.approx(gap.max().item())
    assert error[1]["max"] > 0.01
    assert error[1]["disagree"] == (wide.argmax(1) != network(x).argmax(1)).double().mean().item()


def test_reuse_error_is_none_when_nested_and_some_when_dense(network):
    nested = type(network)(network.spec, network.rates, "nested").double()
    x = torch.randn(50, 5)
    assert max(error["max"] for error in reuse_error(nested, x.double())) < 1e-12
    error = reuse_error(network, x)
    assert error[0]["max"] == 0.0
    assert all(e["max"] > e["mean"] > 0 for e in error[1:])
    assert max(e["disagree"] for e in error) > 0


def test_reuse_error_of_squeezed_scores():
    class Ranker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp([3, 8, 8, 1])

        def forward(self, x):
            return self.body(x).squeeze(-1)

    network = convert(Ranker(), [0.5, 1.0], "dense")
    assert network(torch.zeros(4, 3), rate=0.5).shape == (4,)
    assert [e["disagree"] for e in reuse_error(network, torch.randn(4, 3))] == [0.0, 0.0]


@pytest.mark.parametrize("connectivity", ["nested", "dense"])
def test_the_mode_says_what_happened_and_auto_recomputes_where_copying_costs_more(network, connectivity):
    network = type(network)(network.spec, network.rates, connectivity)
    x = torch.randn(7, 5)
    modes, counts = {}, {}
    for reuse in ("auto", "always", "never"):
        session = IncrementalScorer(network, reuse=reuse).start(x)
        modes[reuse], counts[reuse] = [], []
        for rate in RATES:
            scores = session.widen(rate)
            modes[reuse].append(session.mode)
            counts[reuse].append(session.flops)
            if session.mode != "reuse":
                assert torch.allclose(scores, network(x, rate=rate), atol=1e-6)
    scratch = [flops(network, (5,), rate) for rate in RATES]
    steps = [scratch[0]] + [flops(network, (5,), b, a, "always") for a, b in pairwise(RATES)]
    assert modes["always"] == ["fresh", "reuse", "reuse", "reuse"]
    assert counts["always"] == steps
    # 16 units a layer: a cached number saves fewer multiply-adds than its copy is worth
    assert modes["auto"] == modes["never"] == ["fresh", "recompute", "recompute", "recompute"]
    assert counts["auto"] == counts["never"] == scratch


@pytest.mark.parametrize(
    ("connectivity", "expected"),
    [
        ("nested", ["fresh", "reuse", "reuse", "reuse"]),
        ("mixed@0.75", ["fresh", "reuse", "recompute", "reuse"]),
        ("mixed@1", ["fresh", "reuse", "reuse", "recompute"]),
        ("dense", ["fresh", "recompute", "recompute", "recompute"]),
    ],
)
def test_auto_reuses_where_layers_are_wide_and_no_segment_begins(connectivity, expected):
    spec = convert(mlp([8, 512, 512, 1]), RATES, "dense").spec
    network = SlicedNetwork(spec, RATES, connectivity)
    x = torch.randn(3, 8)
    session = IncrementalScorer(network).start(x)
    modes = []
    for rate in RATES:
        with torch.inference_mode():
            assert torch.allclose(session.widen(rate), network(x, rate=rate), atol=1e-4)
        modes.append(session.mode)
    assert modes == expected


@pytest.mark.parametrize(
    "rows",
    [
        torch.tensor([2, 1]),
        torch.tensor([1, 1]),
        torch.tensor([0, 4]),
        torch.tensor([-1, 2]),
        torch.tensor([0.0, 1.0]),
        torch.tensor([True, False, True, True]),
        torch.tensor([[0, 1]]),
        torch.tensor(1),
    ],
    ids=str,
)
def test_positions_that_are_none_are_refused_and_nothing_changes(network, rows):
    x = torch.randn(4, 5)
    session = IncrementalScorer(network).start(x)
    session.widen(0.25)
    with pytest.raises(SlicingError, match="survivors must be"):
        session.select(rows)
    assert torch.allclose(session.widen(1.0), network(x), atol=1e-6)


@pytest.mark.parametrize("chunk", [None, 2])
def test_nobody_survives_and_nobody_starts(network, chunk):
    session = IncrementalScorer(network, reuse="always", chunk=chunk).start(torch.randn(5, 5))
    session.widen(0.25)
    session.select(torch.tensor([]))
    assert len(session) == 0
    assert session.widen(0.5).shape == (0, 3)
    session.select([])
    assert session.widen(1.0).shape == (0, 3)
    assert IncrementalScorer(network, chunk=chunk).start(torch.zeros(0, 5)).widen(0.5).shape == (0, 3)


def test_survivors_by_a_list_and_before_the_first_pass(network):
    x = torch.randn(5, 5)
    session = IncrementalScorer(network, chunk=2).start(x)
    session.select([0, 3, 4])
    assert torch.allclose(session.widen(0.5), network(x[[0, 3, 4]], rate=0.5), atol=1e-6)
    assert session.mode == "fresh"


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.3])
def test_a_rate_that_is_not_wider_is_refused(network, rate):
    x = torch.randn(2, 5)
    session = IncrementalScorer(network).start(x)
    session.widen(0.5)
    with pytest.raises(SlicingError, match="can only widen" if rate != 0.3 else "not one of"):
        session.widen(rate)
    assert torch.allclose(session.widen(0.75), network(x, rate=0.75), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((torch.zeros(2, 5), torch.zeros(2, 5)), "takes 1 inputs"),
        ((torch.zeros(2, 4),), "can't take an input of shape"),
        ((), "takes 1 inputs"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_runs(network, inputs, message):
    with pytest.raises(SlicingError, match=message):
        IncrementalScorer(network).start(*inputs)


def test_inputs_of_different_lengths_are_refused():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(2, 4), nn.Linear(3, 4), nn.Linear(4, 1)

        def forward(self, x, y):
            return self.head(self.a(x) + self.b(y))

    scorer = IncrementalScorer(convert(Two(), [0.5, 1.0], "dense"))
    with pytest.raises(SlicingError, match=r"same candidates, got \[2, 3\] rows"):
        scorer.start(torch.zeros(2, 2), torch.zeros(3, 3))


@pytest.mark.parametrize(("option", "value"), [("reuse", "sometimes"), ("chunk", 0), ("chunk", -1)])
def test_options_that_are_none_are_refused(network, option, value):
    with pytest.raises(SlicingError, match=f"{option} must be"):
        IncrementalScorer(network, **{option: value})


@pytest.mark.parametrize("connectivity", ["nested", "dense"])
@given(data=st.data())
@RANDOM
def test_cache_bytes_are_the_bytes_that_the_chunks_hold(cases, connectivity, data):
    case = data.draw(cases(dtype=data.draw(st.sampled_from([torch.float32, torch.float64]))))
    network = case.sliced(connectivity).eval()
    reuse = data.draw(st.sampled_from(["auto", "always", "never"]))
    session = IncrementalScorer(network, reuse=reuse, chunk=2).start(*case.inputs(3))
    for rate in network.rates:
        session.widen(rate)
        held = 0
        for chunk in session._chunks:
            held += sum(part.nbytes for prefix in chunk.prefixes.values() for part in prefix.parts())
            held += sum(total.nbytes for total in chunk.sums.values())
        assert held == 3 * cache_bytes(network, case.shape, rate, reuse)


def test_scores_handed_out_are_the_callers_own():
    """A head without bias hands out the very sum that it keeps; a rectifier behind it must not work in place."""
    module = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 4, bias=False), nn.ReLU(inplace=True))
    network = convert(module, [0.25, 0.5, 1.0])
    x = torch.randn(6, 3)
    session = IncrementalScorer(network, reuse="always").start(x)
    for rate in network.rates:
        scores = session.widen(rate)
        assert torch.allclose(scores, network(x, rate=rate), atol=1e-6)
        with torch.inference_mode():
            scores.fill_(100.0)


def test_a_result_that_goes_on_under_another_name_outlives_the_pass():
    """Dropout hands on what it reads; the head beside it must not have that memory given up behind the pass."""

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 8)
            self.dropout, self.heads = nn.Dropout(0.5), nn.ModuleList([nn.Linear(8, 1), nn.Linear(8, 1)])

        def forward(self, x):
            y = self.first(x)
            return self.heads[0](y) + self.heads[1](torch.relu(self.second(self.dropout(y))))

    torch.manual_seed(0)
    spec = convert(Skip(), RATES, "dense").spec
    network = SlicedNetwork(spec, RATES, "nested").eval()
    x = torch.randn(5, 4)
    session = IncrementalScorer(network, reuse="always").start(x)
    with torch.inference_mode():
        for rate in RATES:
            assert torch.allclose(session.widen(rate), network(x, rate=rate), atol=1e-5)


@pytest.mark.parametrize("connectivity", ["nested", "dense"])
def test_sessions_of_one_scorer_in_several_threads(network, connectivity):
    network = type(network)(network.spec, network.rates, connectivity).eval()
    scorer = IncrementalScorer(network, reuse="always", chunk=16)
    x = torch.randn(64, 5)

    def run(rates: tuple[float, ...]) -> list[torch.Tensor]:
        session = scorer.start(x)
        return [session.widen(rate) for rate in rates]

    ways = [(0.25, 0.5, 1.0), (0.5, 0.75), (0.25, 1.0), (0.75, 1.0)]
    fresh = IncrementalScorer(network, reuse="always", chunk=16)
    expected = {}
    for way in ways:
        session = fresh.start(x)
        expected[way] = [session.widen(rate) for rate in way]
    with ThreadPoolExecutor(4) as pool:
        for way, ours in zip(ways * 10, pool.map(run, ways * 10), strict=True):
            assert all(map(torch.equal, ours, expected[way]))

"""Tiers of inputs and query inputs against plain torch, each candidate's full row and torch's counter."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.flop_counter import FlopCounterMode

from slicing import IncrementalScorer, Session, SlicedNetwork, SlicingError, convert, cost, extract, flops
from slicing.checkpoint import load, save
from slicing.incremental import chunk_bounds
from slicing.inputs import Queries

RATES = (0.25, 0.5, 1.0)
RANDOM = settings(max_examples=5, deadline=None, phases=[Phase.generate], database=None)
BOTH = pytest.mark.parametrize("connectivity", ["nested", "dense"])


class Towers(nn.Module):
    """Features and an id of a candidate, the same of its query; each side's first dense layer, added."""

    def __init__(self, own: int, later: int, asked: int, asked_later: int) -> None:
        super().__init__()
        self.items, self.users = nn.Embedding(6, 8), nn.Embedding(5, 8)
        self.mine = nn.Linear(8 + own + later, 16)
        self.theirs = nn.Linear(8 + asked + asked_later, 16, bias=False)
        self.hidden, self.head = nn.Linear(16, 12), nn.Linear(12, 1)

    def forward(
        self, own: Tensor, later: Tensor, item: Tensor, asked: Tensor, asked_later: Tensor, user: Tensor
    ) -> Tensor:
        mine = self.mine(torch.cat([later, own, self.items(item)], 1))  # plain order, which is not block order
        theirs = self.theirs(torch.cat([self.users(user), asked_later, asked], 1))
        return self.head(torch.relu(self.hidden(torch.relu(mine + theirs))))


QUERY = ("asked", "asked_later", "user")
NAMES = ("own", "later", "item", *QUERY)


@st.composite
def towers(draw: Any) -> tuple[nn.Module, dict[str, float], list[tuple[int, ...]]]:
    """A plain module, the first rates of some inputs, and the shapes."""
    sizes = [draw(st.integers(1, 4)) for _ in range(4)]
    torch.manual_seed(draw(st.integers(0, 999)))
    free = [name for name in NAMES if name != "own"]
    later = draw(st.dictionaries(st.sampled_from(free), st.sampled_from(RATES)))
    shapes = [(sizes[0],), (sizes[1],), (), (sizes[2],), (sizes[3],), ()]
    return Towers(*sizes).double().eval(), later, shapes


def sliced(case: Any, connectivity: str, query: tuple[str, ...] = QUERY) -> SlicedNetwork:
    module, later, shapes = case
    network = convert(module, RATES, "dense", input_shape=shapes, input_rates=later, query_inputs=query).spec
    made = SlicedNetwork(network, RATES, connectivity).double().eval()  # type: ignore[arg-type]
    made.reset_parameters()
    return made


def rows_of(shapes: list[tuple[int, ...]], queries: Tensor, seed: int = 0) -> tuple[Tensor, ...]:
    """Every candidate's full row: features and ids, those of the query the same within it."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for name, shape in zip(NAMES, shapes, strict=True):
        count = 40 if name in QUERY else len(queries)
        if shape:
            x = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
        else:
            x = torch.randint(0, 5, (count,), generator=generator)
        made.append(x[queries] if name in QUERY else x)
    return tuple(made)


def blind(network: SlicedNetwork, inputs: tuple[Tensor, ...], rate: float) -> list[Tensor | None]:
    """The inputs as a narrow rate may get them: the first of a later tier missing, another one rubbish."""
    found: list[Tensor | None] = []
    for x, name in zip(inputs, NAMES, strict=True):
        if RATES[network.inputs.first[name]] <= rate:
            found.append(x)
        else:
            found.append(None if x.dtype == torch.int64 or None in found else torch.full_like(x, torch.nan))
    return found


def counted(call: Any) -> float:
    def addmm(y: list[int], x: list[int], weight: list[int], **_: object) -> int:
        return 2 * x[0] * x[1] * weight[1]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm}) as counter:
        call()
    return counter.get_total_flops() / 2


@given(case=towers())
@RANDOM
def test_full_width_is_the_plain_module(case: Any) -> None:
    module, later, shapes = case
    network = convert(module, RATES, "dense", rescale=False, input_shape=shapes, input_rates=later, query_inputs=QUERY)
    inputs = rows_of(shapes, torch.arange(9))
    with torch.no_grad():
        torch.testing.assert_close(network(*inputs), module(*inputs), atol=1e-9, rtol=1e-9)


@BOTH
@given(case=towers())
@RANDOM
def test_a_rate_ignores_what_later_tiers_hold_and_equals_the_extracted_network(connectivity: str, case: Any) -> None:
    network = sliced(case, connectivity)
    inputs = rows_of(case[2], torch.arange(7))
    for rate in RATES:
        with torch.no_grad():
            once = network(*inputs, rate=rate)
            assert torch.equal(network(*blind(network, inputs, rate), rate=rate), once)
            read = [x for x, n in zip(inputs, NAMES, strict=True) if RATES[network.inputs.first[n]] <= rate]
            alone = extract(network, rate)
            torch.testing.assert_close(alone(*read), once, atol=1e-9, rtol=1e-9)
            if connectivity == "dense":  # nested weights stand as zeros in a plain layer
                assert counted(lambda alone=alone, read=read: alone(*read)) == 7 * flops(network, case[2], rate)


@given(case=towers())
@RANDOM
def test_the_prefix_of_a_wider_pass_is_the_narrower_one(case: Any) -> None:
    network = sliced(case, "nested")
    inputs = rows_of(case[2], torch.arange(5))
    seen: dict[int, dict[str, Tensor]] = {0: {}, 1: {}, 2: {}}
    with torch.no_grad():
        for k in seen:
            network.advance(inputs, -1, k, record=lambda name, y, k=k: seen[k].update({name: y.clone()}))
        for narrow, wide in pairwise(seen):
            for name, y in seen[narrow].items():
                if network.layouts[name].sliced:
                    torch.testing.assert_close(seen[wide][name][:, : y.shape[1]], y, atol=1e-9, rtol=1e-9)
        every = network.forward_all(*inputs)
        for k, rate in enumerate(RATES):
            torch.testing.assert_close(every[k], network(*inputs, rate=rate), atol=1e-9, rtol=1e-9)


@BOTH
@given(case=towers())
@RANDOM
def test_flops_equal_torchs_counter(connectivity: str, case: Any) -> None:
    network = sliced(case, connectivity)
    inputs, costs = rows_of(case[2], torch.arange(3)), cost(network, case[2])
    for k, rate in enumerate(RATES):
        assert counted(lambda rate=rate: network(*inputs, rate=rate)) == 3 * costs.flops(k)
    session = IncrementalScorer(network, reuse="always").start(*inputs)
    for k, rate in enumerate(RATES):
        assert counted(lambda rate=rate: session.widen(rate)) == 3 * costs.flops(k, k - 1, "always")


def funnel(network: SlicedNetwork, case: Any, data: Any, scorer: IncrementalScorer) -> Any:
    """Widen with survivors chosen in between, every input given when it is first read, for survivors alone."""
    queries = torch.tensor(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=12)))
    inputs = rows_of(case[2], queries)
    kept = torch.arange(len(queries))
    session: Session | None = None
    given_by_now = -1
    for rate in data.draw(st.lists(st.sampled_from(RATES), min_size=1, unique=True).map(sorted)):
        if session is not None and len(kept):
            chosen = torch.tensor(data.draw(st.lists(st.integers(0, len(kept) - 1), unique=True).map(sorted)))
            session.select(chosen.long())
            kept = kept[chosen.long()]
        left = queries[kept].unique()
        firsts = torch.tensor([int((queries == number).nonzero()[0, 0]) for number in left], dtype=torch.long)
        k = RATES.index(rate)
        new = {
            name: x[firsts] if name in network.spec.query_inputs else x[kept]
            for name, x in zip(NAMES, inputs, strict=True)
            if given_by_now < network.inputs.first[name] <= k
        }
        if session is None:
            session = scorer.start(*(new.get(name) for name in NAMES), queries=queries)
        else:
            session.give(new)
        given_by_now = k
        with torch.no_grad():
            yield session, queries[kept], session.widen(rate), network(*(x[kept] for x in inputs), rate=rate), k


@pytest.mark.parametrize("reuse", ["auto", "always", "never"])
@given(case=towers(), data=st.data())
@RANDOM
def test_once_per_query_with_tiers_and_survivors_is_each_candidates_full_row(reuse: Any, case: Any, data: Any) -> None:
    # What only later rates read must be an addend, which it is on the query side alone.
    query = (
        QUERY
        if min(case[1].get(name, 0) for name in QUERY)
        else data.draw(st.sampled_from([QUERY, QUERY[:2], QUERY[2:], ()]))
    )
    network = sliced(case, "nested", query)
    scorer = IncrementalScorer(network, reuse=reuse, chunk=data.draw(st.sampled_from([None, 1, 3])))
    for _, _, ours, theirs, _ in funnel(network, case, data, scorer):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("connectivity", ["mixed@0.5", "mixed@1", "nested,hidden=dense", "mixed@1,theirs=mixed@0.5"])
@given(case=towers(), data=st.data())
@RANDOM
def test_tiers_and_queries_over_the_borders_of_segments(connectivity: str, case: Any, data: Any) -> None:
    network = sliced(case, connectivity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("slicing.incremental.MULTIPLY_ADDS_PER_COPY", 0)  # so that all that is exact is taken over
        scorer = IncrementalScorer(network, chunk=data.draw(st.sampled_from([None, 1, 3])))
        for _, _, ours, theirs, _ in funnel(network, case, data, scorer):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)
    inputs = rows_of(case[2], torch.arange(5))
    with torch.no_grad():
        for k, rate in enumerate(RATES):
            torch.testing.assert_close(
                network.forward_all(*inputs)[k], network(*inputs, rate=rate), atol=1e-9, rtol=1e-9
            )


@pytest.mark.parametrize("connectivity", ["nested", "dense", "mixed@0.5", "mixed@1,theirs=mixed@0.5"])
@given(case=towers(), numbers=st.lists(st.integers(0, 6), min_size=1, max_size=12))
@RANDOM
def test_every_rate_at_once_is_the_same_once_per_query(connectivity: str, case: Any, numbers: list[int]) -> None:
    network = sliced(case, connectivity)
    told = Queries.of(torch.tensor(numbers))
    inputs = rows_of(case[2], torch.tensor(numbers))
    firsts = torch.tensor([numbers.index(number) for number in told.numbers.tolist()])
    once = [x[firsts] if name in network.spec.query_inputs else x for name, x in zip(NAMES, inputs, strict=True)]
    with torch.no_grad():
        ours, theirs = network.forward_all(*once, queries=told), network.forward_all(*inputs)
    torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@BOTH
@given(case=towers(), data=st.data())
@RANDOM
def test_the_session_counts_the_query_part_once_per_query(connectivity: str, case: Any, data: Any) -> None:
    network = sliced(case, connectivity)
    costs = cost(network, case[2])
    before = -1
    for session, queries, _, _, k in funnel(network, case, data, IncrementalScorer(network, reuse="always")):
        query = costs.query_flops(k, before, "always")
        spent = (costs.flops(k, before, "always") - query) * len(queries) + query * len(queries.unique())
        assert session.flops * len(queries) == pytest.approx(spent)
        before = k


def test_torch_counts_the_query_part_once_per_query() -> None:
    torch.manual_seed(0)
    shapes: list[tuple[int, ...]] = [(3,), (2,), (), (4,), (1,), ()]
    network = sliced((Towers(3, 2, 4, 1), {}, shapes), "nested").float()
    queries = torch.arange(4).repeat_interleave(25)
    full = tuple(x.float() if x.is_floating_point() else x for x in rows_of(shapes, queries))
    by_query = [x[::25] if name in QUERY else x for name, x in zip(NAMES, full, strict=True)]
    session = IncrementalScorer(network).start(*by_query, queries=queries)
    own = flops(network, shapes) - (8 + 4 + 1) * 4 - (4 + 4 + 1) * 4 - (2 + 4 + 1) * 8  # units times columns, by block
    # The embedding has 2, 4, 8 of its columns in use, and the 5 features enter with the first block.
    query = (2 + 5) * 4 + (4 + 5) * 4 + (8 + 5) * 8
    assert cost(network, shapes).query_flops(2) == query
    own = flops(network, shapes) - query
    assert counted(lambda: session.widen(1.0)) == 100 * own + 4 * query
    assert session.flops == own + query / 25


def test_the_addition_is_part_of_the_layer_only_where_nothing_else_reads_it() -> None:
    shapes: list[tuple[int, ...]] = [(3,), (2,), (), (4,), (1,), ()]
    spec = sliced((Towers(3, 2, 4, 1), {}, shapes), "nested").spec
    assert [node.op for node in spec.nodes].count("add") == 0
    assert next(node for node in spec.nodes if node.name == "mine").inputs == ("cat", "theirs")
    spec = sliced((Towers(3, 2, 4, 1), {}, shapes), "nested", ()).spec
    assert [node.op for node in spec.nodes].count("add") == 1


def test_a_file_keeps_tiers_and_query_inputs(tmp_path: Any) -> None:
    case = (Towers(3, 2, 4, 1), {"later": 0.5, "asked_later": 1.0}, [(3,), (2,), (), (4,), (1,), ()])
    network = sliced(case, "nested")
    save(network, tmp_path / "net.safetensors")
    again = load(tmp_path / "net.safetensors")
    assert again.spec == network.spec
    inputs = rows_of(case[2], torch.arange(4))
    assert torch.equal(again(*inputs, rate=0.5), network(*inputs, rate=0.5))


@given(numbers=st.lists(st.integers(0, 9), max_size=20))
def test_queries_are_numbered_without_gaps(numbers: list[int]) -> None:
    found = Queries.of(torch.tensor(numbers, dtype=torch.long))
    assert found.numbers.tolist() == sorted(set(numbers))
    assert found.numbers[found.index].tolist() == numbers


class Own(nn.Module):
    """A dense layer of its own for the input of a later tier."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(2, 8), nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor, later: Tensor) -> Tensor:
        return self.head(torch.relu(self.a(x) + self.b(later)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_rates": {"late": 0.5}}, "'late' is not one of the network's inputs"),
        ({"query_inputs": ["late"]}, "'late' is not one of the network's inputs"),
        ({"input_rates": {"later": 0.3}}, "rate 0.3 is not one of this network's rates"),
        ({"input_rates": {"x": 0.5, "later": 1.0}}, "no input is read at the first rate 0.25"),
        ({"input_rates": {"later": 0.5}, "input_shape": None}, "so its size must be known"),
        ({"input_rates": {"later": 0.5}}, "b: reads nothing at rate 0.25"),
        ({"query_inputs": ["x", "later"]}, "so they are the same for all candidates"),
    ],
)
def test_what_can_not_be_sliced_so_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SlicingError, match=message):
        convert(Own(), RATES, "dense", **{"input_shape": [(2,), (3,)], **options})


def test_missing_inputs_and_wrong_counts_are_refused() -> None:
    shapes: list[tuple[int, ...]] = [(3,), (2,), (), (4,), (1,), ()]
    network = sliced((Towers(3, 2, 4, 1), {"later": 0.5}, shapes), "nested")
    queries = torch.tensor([0, 0, 3])
    own, later, item, asked, asked_later, user = rows_of(shapes, queries)
    with pytest.raises(SlicingError, match=r"rate 0\.5 reads the input 'later', which was not given"):
        network(own, None, item, asked, asked_later, user, rate=0.5)
    scorer = IncrementalScorer(network)
    with pytest.raises(SlicingError, match="'asked' must have a row for each of 2 queries, got 3"):
        scorer.start(own, None, item, asked, asked_later[:2], user[:2], queries=queries)
    with pytest.raises(SlicingError, match="the same candidates"):
        scorer.start(own, None, item, asked[:2], asked_later[:2], user[:2], queries=queries[:2])
    session = scorer.start(own, None, item, asked[:2], asked_later[:2], user[:2], queries=queries)
    with pytest.raises(SlicingError, match="which was not given"):
        session.widen(1.0)
    with pytest.raises(SlicingError, match="'later' must have a row for each of 3 candidates, got 2"):
        session.give({"later": later[:2]})
    with pytest.raises(SlicingError, match="'late' is not one of"):
        session.give({"late": later})
    session.give({"later": later})
    session.widen(1.0)


@given(st.lists(st.integers(1, 7), max_size=12), st.integers(1, 9))
def test_chunks_end_where_a_query_does_unless_it_is_larger(sizes: list[int], most: int) -> None:
    queries = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.long))
    bounds = chunk_bounds(len(queries), most, queries)
    assert (bounds[0], bounds[-1]) == (0, len(queries))
    parts = [queries[at:stop].tolist() for at, stop in pairwise(bounds)]
    assert all(len(part) <= most for part in parts)
    assert all(parts) or parts == [[]]
    held = [number for part in parts for number in dict.fromkeys(part)]
    for number, size in enumerate(sizes):
        assert held.count(number) == 1 or size > most
    for part, following in pairwise(parts):  # none is smaller than it need be
        first = [number for number in following if number == following[0]]
        assert len(part) + len(first) > most


def test_what_runs_once_per_query_does_so_over_chunks_and_after_survivors_are_chosen() -> None:
    torch.manual_seed(0)
    module = Towers(3, 2, 3, 2).double().eval()
    shapes = [(3,), (2,), (), (3,), (2,), ()]
    network = sliced((module, {}, shapes), "nested")
    queries = torch.arange(12).repeat_interleave(5)
    inputs = rows_of(shapes, queries)
    once = [x[::5] if name in QUERY else x for name, x in zip(NAMES, inputs, strict=True)]
    session = IncrementalScorer(network, chunk=12).start(*once, queries=queries)
    session.widen(0.25)
    costs = cost(network, shapes)
    assert session.flops == pytest.approx(costs.flops_shared(0, -1, 1 / 5))
    session.select(torch.arange(60)[torch.arange(60) % 5 != 0])  # 48 in queries of 4, three to a chunk
    scores = session.widen(1.0)
    start = 0 if session.mode == "reuse" else -1
    assert session.flops == pytest.approx(costs.flops_shared(2, start, 1 / 4))
    kept = torch.arange(60) % 5 != 0
    torch.testing.assert_close(scores, network(*(x[kept] for x in inputs)))


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(3, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0])


def test_packed_sequences_are_refused_by_a_network_and_padding_as_told_gives_the_same_scores() -> None:
    torch.manual_seed(0)
    network = convert(Tagger(), [0.5, 1.0], "dense").double().eval()
    parts = [torch.randn(length, 3).double() for length in (4, 2)]
    packed = pack_sequence(parts)
    for enter in (network, IncrementalScorer(network).start):
        with pytest.raises(SlicingError, match="got a PackedSequence as 'x'; pad it with pad_packed_sequence"):
            enter(packed)
        with pytest.raises(SlicingError, match="'x' must be a tensor, got a list"):
            enter([1.0])
    padded, _ = pad_packed_sequence(packed, batch_first=True)
    for row, part in enumerate(parts):
        assert torch.allclose(network(padded, rate=0.5)[row, : len(part)], network(part[None], rate=0.5)[0])

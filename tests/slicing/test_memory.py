"""Memory that sessions share: nothing of one session shows in another, and none grows without bound."""

from concurrent.futures import ThreadPoolExecutor

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing import IncrementalScorer, SlicedNetwork, convert
from slicing.memory import ALIGNMENT, MOST_IDLE, Memory, Pool, Space
from slicing.models import mlp

LIKE = torch.zeros(0)


@given(shapes=st.lists(st.tuples(st.integers(0, 700), st.integers(1, 700)), max_size=8))
@settings(max_examples=50, deadline=None)
def test_tensors_of_a_space_do_not_overlap_and_lie_on_cache_lines(shapes):
    space = Space()
    tensors = [space.empty(rows, columns, LIKE) for rows, columns in shapes]
    for number, tensor in enumerate(tensors):
        tensor.fill_(number)
    for number, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        assert tuple(tensor.shape) == shape
        assert bool((tensor == number).all())
        assert not tensor.numel() or tensor.data_ptr() % ALIGNMENT == 0


def test_a_space_takes_any_element_type():
    space = Space()
    space.empty(3, 5, LIKE)
    assert space.empty(2, 3, LIKE.double()).dtype == torch.float64
    assert space.empty(2, 3, LIKE.bfloat16()).dtype == torch.bfloat16


def test_a_cleared_space_holds_the_same_bytes_in_one_piece_and_needs_no_more_for_the_same_tensors():
    space = Space()
    for _ in range(5):
        space.empty(1000, 700, LIKE)
    held = space.held
    space.clear()
    assert space.held == held
    for _ in range(5):
        space.empty(1000, 700, LIKE)
    assert space.held == held


def test_releasing_to_a_mark_gives_the_same_place_again():
    space = Space()
    space.empty(10, 10, LIKE)
    mark = space.mark()
    first = space.empty(10, 10, LIKE).data_ptr()
    space.release(mark)
    assert space.empty(10, 10, LIKE).data_ptr() == first


def test_a_pool_lends_a_memory_to_one_session_at_a_time_and_keeps_a_bounded_amount():
    pool = Pool()
    first, second = pool.lend(), pool.lend()
    assert first is not second
    pool.take_back(first)
    assert pool.lend() is first
    large = Memory()
    large.space.empty(1, MOST_IDLE // 4 + 1, LIKE)
    pool.take_back(large)
    assert pool.lend() is not large


def make(seed=0):
    torch.manual_seed(seed)
    plain = convert(mlp([6, 32, 32, 16, 1]), [0.25, 0.5, 1.0], "dense")
    return SlicedNetwork(plain.spec, plain.rates, "nested").eval()


def run(scorer, x):
    session = scorer.start(x)
    results = [session.widen(0.25)]
    rows = torch.arange(0, len(x), 3)
    session.select(rows)
    results.append(session.widen(0.5))
    session.select(torch.arange(0, len(rows), 2))
    results.append(session.widen(1.0))
    return results


def test_scores_stay_as_they_were_when_their_session_is_over_and_others_run():
    scorer = IncrementalScorer(make())
    x = torch.randn(300, 6)
    results = run(scorer, x)
    copies = [scores.clone() for scores in results]
    for _ in range(3):
        run(scorer, torch.randn(500, 6))
    assert all(torch.equal(scores, copy) for scores, copy in zip(results, copies, strict=True))


def test_sessions_in_several_threads_and_interleaved_do_not_disturb_each_other():
    scorer = IncrementalScorer(make())
    inputs = [torch.randn(size, 6) for size in (50, 400, 70, 900, 30, 250)]
    expected = [run(IncrementalScorer(make()), x) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for ours, theirs in zip(pool.map(lambda x: run(scorer, x), inputs), expected, strict=True):
                assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))
    one, two = scorer.start(inputs[0]), scorer.start(inputs[1])
    assert torch.allclose(one.widen(0.25), expected[0][0], atol=1e-6)
    assert torch.allclose(two.widen(0.25), expected[1][0], atol=1e-6)
    one.select(torch.arange(0, 50, 3))
    assert torch.allclose(one.widen(0.5), expected[0][1], atol=1e-6)


def test_a_second_session_like_the_first_takes_no_more_memory():
    scorer = IncrementalScorer(make())
    x = torch.randn(4000, 6)
    held = []
    for _ in range(4):
        run(scorer, x)
        memory = scorer.pool.lend()
        held.append(memory.held)
        scorer.pool.take_back(memory)
    assert held[0] > 0
    assert held[1:] == held[1:2] * 3


def test_the_last_rate_leaves_nothing_behind():
    scorer = IncrementalScorer(make(), chunk=100)
    session = scorer.start(torch.randn(5000, 6))
    session.widen(0.5)
    before = session._memory.space.mark()
    session.widen(1.0)
    assert session._memory.space.mark() == before

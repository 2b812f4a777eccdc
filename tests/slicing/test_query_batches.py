"""Batches of whole queries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing.errors import SlicingError
from slicing.query_batches import QueryBatches


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40), st.integers(1, 50))
def test_every_epoch_holds_each_query_once_and_whole(qids: list[str], rows: int) -> None:
    x = torch.arange(len(qids))
    labels = np.arange(len(qids)) % 4
    batches = QueryBatches((x, x[:, None].float()), labels, np.array(qids), rows)
    epoch = batches(0)
    assert len(epoch) == batches.steps == len(list(epoch))
    seen: list[int] = []
    for (positions, features), target in epoch:
        assert torch.equal(features[:, 0].long(), positions)
        assert target[:, 0].tolist() == [labels[i] for i in positions.tolist()]
        index = target[:, 1].long()
        assert sorted(set(index.tolist())) == list(range(int(index.max()) + 1))
        for q in range(int(index.max()) + 1):
            found = positions[index == q].tolist()
            assert found == [i for i, qid in enumerate(qids) if qid == qids[found[0]]]
        assert len(positions) <= batches.most_rows
        seen += positions.tolist()
    assert sorted(seen) == list(range(len(qids)))


def test_torchs_seed_decides_the_order() -> None:
    qids = np.repeat(np.arange(30), 3)
    batches = QueryBatches((torch.arange(90),), np.zeros(90), qids, 30)

    def order(seed: int) -> list[int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return [i for (x,), _ in batches(0) for i in x.tolist()]

    assert order(1) == order(1) != order(2)
    assert batches.steps == 3
    assert batches.most_rows == 30


def test_a_share_of_the_ids_becomes_unknown_and_features_stay() -> None:
    ids, features = torch.arange(1, 2001), torch.ones(2000, 2)
    batches = QueryBatches((features, ids), np.zeros(2000), np.zeros(2000), 10, unknown_ids=0.25)
    ((x, kept), _) = next(iter(batches(0)))
    assert x.min() == 1
    assert (kept == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert torch.equal(kept[kept != 0], ids[kept != 0])
    assert ids.min() == 1  # the table itself stays


def test_bad_settings_are_refused() -> None:
    with pytest.raises(SlicingError, match="at least 1 row"):
        QueryBatches((torch.zeros(1),), np.zeros(1), np.zeros(1), 0)
    with pytest.raises(SlicingError, match=r"unknown_ids must lie in \[0, 1\)"):
        QueryBatches((torch.zeros(1),), np.zeros(1), np.zeros(1), 1, 1.0)

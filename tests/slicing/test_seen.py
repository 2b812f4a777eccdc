"""Samples of hashes: what they hold is found again, and nothing else."""

import numpy as np
import pytest
import torch

from slicing import Seen, SlicingError, seen


def uniform(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, n)


@pytest.mark.parametrize("n", [0, 1, 500, 20_000])
def test_the_same_queries_are_all_known_and_others_are_not(n: int) -> None:
    made = Seen.of((), uniform(0, n), uniform(1, 10))
    assert len(made.training) == min(n, seen.SAMPLE)
    for here in (uniform(0, n), uniform(0, n)[::-1]):
        found = made.trained_on(here)
        assert found.known == found.compared == min(n, seen.SAMPLE)
    assert made.trained_on(uniform(2, 500)).known == 0
    assert made.validated_on(uniform(1, 10)).known == 10


def test_of_a_large_training_part_the_comparable_queries_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "SAMPLE", 1_000)
    training = uniform(0, 8_000)
    made = Seen.of((), training, training[:0])
    half = np.concatenate([training[:2_000], uniform(3, 2_000)])
    found = made.trained_on(half)
    assert 350 < found.compared < 650  # an eighth of the hashes lie where the sample does
    assert found.known == np.isin(half, np.sort(training)[:1_000]).sum()
    assert 0.4 < found.known / found.compared < 0.6


def test_a_damaged_sample_is_refused() -> None:
    made = Seen.of(("a",), uniform(0, 5), uniform(1, 5))
    again = Seen.rebuild(made.tensors(), ["a"])
    assert again.columns == ("a",)
    assert torch.equal(again.training, made.training)
    for tensors in (
        {"training": made.training},
        {**made.tensors(), "training": made.training.flip(0)},
        {**made.tensors(), "validation": made.validation.float()},
    ):
        with pytest.raises(SlicingError, match="sample of its queries is incomplete"):
            Seen.rebuild(tensors, ["a"])
    with pytest.raises(SlicingError, match="incomplete"):
        Seen.rebuild(made.tensors(), None)

"""Top-k accuracy against a stable sort, torch's top k and scikit-learn's."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from simulations.baselines import accuracy_of
from slicing import SlicingError


def shares(scores: torch.Tensor, y: torch.Tensor, tops: tuple[int, ...], batch: int = 7) -> tuple[float, ...]:
    """Images stand for their scores."""
    return accuracy_of(lambda x: x, zip(scores.split(batch), y.split(batch), strict=True), tops)


@pytest.mark.parametrize("classes", [2, 5, 6, 100])
@pytest.mark.parametrize("levels", [1, 3, 1000])  # few levels: many ties
def test_ties_go_to_the_lower_class_as_in_a_stable_sort(classes: int, levels: int) -> None:
    rng = np.random.default_rng(classes * levels)
    scores, y = rng.integers(0, levels, (60, classes)).astype(np.float32), rng.integers(0, classes, 60)
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = [np.mean([y[i] in order[i, :k] for i in range(60)]) for k in (1, 5)]
    found = shares(torch.from_numpy(scores), torch.from_numpy(y), (1, 5))
    assert found == pytest.approx(expected, abs=1e-12)
    assert found[0] == pytest.approx(float((torch.from_numpy(scores).argmax(1).numpy() == y).mean()))


@pytest.mark.parametrize("k", [1, 2, 5, 19, 20, 25])
def test_without_ties_it_is_torchs_and_scikit_learns(k: int) -> None:
    generator = torch.Generator().manual_seed(k)
    scores, y = torch.randn(80, 20, generator=generator), torch.arange(80) % 20
    top = scores.topk(min(k, 20)).indices
    (found,) = shares(scores, y, (k,))
    assert found == pytest.approx(float((top == y[:, None]).any(1).double().mean()))
    if k < 20:
        assert found == pytest.approx(top_k_accuracy_score(y.numpy(), scores.numpy(), k=k))


def test_a_class_whose_score_is_not_a_number_is_last() -> None:
    scores, y = torch.full((4, 6), math.nan), torch.zeros(4, dtype=torch.int64)
    assert shares(scores, y, (1, 5)) == (0, 0)
    scores[:, 0] = 1.0  # what is not a number stands before it, too
    assert shares(scores, y, (1, 5, 6)) == (0, 0, 1)


def test_no_highest_scores_are_refused() -> None:
    with pytest.raises(SlicingError, match="k >= 1 highest scores, got k=0; take 1 or 5"):
        shares(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), (1, 0))

"""On the true CIFAR-10, where it lies beside the repository."""

import pytest
import torch

from data import load_images


@pytest.mark.slow
def test_cifar10(shared_data):
    data = load_images("cifar10", shared_data / "cifar10", train_limit=25_000)
    assert torch.bincount(data.train.labels).tolist() == [2500] * 10
    assert torch.bincount(data.validation.labels).tolist() == [500] * 10
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.train.images.shape == (25_000, 3, 32, 32)
    # over all 50,000: .49139968 .48215841 .44653091; std .247 .243 .261
    assert data.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=2e-3)
    assert data.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=2e-3)

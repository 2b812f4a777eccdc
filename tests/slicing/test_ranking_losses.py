"""Ranking losses against plain loops and arithmetic written out."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from slicing.errors import SlicingError
from slicing.ranking_losses import LambdaLoss, ListDistillation, ListwiseSoftmax, PointwiseBCE, PointwiseMSE
from slicing.schemes import Joint, Sandwich


@st.composite
def batches(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Scores (N, 1) without ties and targets (N, 2), rows of a query scattered."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    rows = sum(sizes)
    scores = draw(st.permutations([0.37 * i - 2 for i in range(rows)]))
    labels = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    queries = draw(st.permutations([q for q, size in enumerate(sizes) for _ in range(size)]))
    return torch.tensor(scores)[:, None], torch.tensor([labels, queries]).T.float()


def by_query(scores: Tensor, target: Tensor) -> list[tuple[list[float], list[float]]]:
    queries = target[:, 1].tolist()
    return [
        (scores[target[:, 1] == q, 0].tolist(), target[target[:, 1] == q, 0].tolist()) for q in sorted(set(queries))
    ]


def lambda_of_query(scores: list[float], labels: list[float], k: int, sigma: float) -> float:
    def worth(rank: int) -> float:
        return 1 / math.log2(1 + rank) if rank <= k else 0.0

    ranks = [1 + sum(other > score for other in scores) for score in scores]
    ideal = sum((2**y - 1) * worth(i + 1) for i, y in enumerate(sorted(labels, reverse=True)))
    total = 0.0
    for i, j in product(range(len(scores)), repeat=2):
        if labels[i] > labels[j]:
            gain = (2 ** labels[i] - 2 ** labels[j]) / ideal
            delta = gain * abs(worth(ranks[i]) - worth(ranks[j]))
            total += delta * math.log2(1 + math.exp(-sigma * (scores[i] - scores[j])))
    return total


class TestLambdaLoss:
    @settings(deadline=None)
    @given(batches(), st.integers(1, 12), st.sampled_from([0.5, 1.0, 2.0]))
    def test_it_is_the_double_loop(self, batch: tuple[Tensor, Tensor], k: int, sigma: float) -> None:
        queries = by_query(*batch)
        expected = sum(lambda_of_query(*query, k, sigma) for query in queries) / len(queries)
        assert LambdaLoss(k, sigma)(*batch).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)

    def test_the_gradient_pulls_a_pair_apart_by_what_its_swap_is_worth(self) -> None:
        scores = torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True)  # the relevant one last
        target = torch.tensor([[2.0, 0], [0.0, 0], [0.0, 0]])
        LambdaLoss(k=2)(scores, target).backward()
        # ideal 3/log2(2) = 3; the relevant one stands at rank 3, worth 0 at k=2; rivals at 2 and 1
        near = 3 * (1 / math.log2(3) - 0) / 3 / math.log(2) / (1 + math.exp(-1.0))
        far = 3 * (1 / math.log2(2) - 0) / 3 / math.log(2) / (1 + math.exp(-2.0))
        assert scores.grad is not None
        assert scores.grad[:, 0].tolist() == pytest.approx([-(near + far), near, far], rel=1e-5)

    def test_pairs_behind_rank_k_do_not_matter(self) -> None:
        scores = torch.tensor([[3.0], [2.0], [1.0]], requires_grad=True)
        LambdaLoss(k=1)(scores, torch.tensor([[1.0, 0], [0.0, 0], [1.0, 0]])).backward()
        assert scores.grad is not None
        assert scores.grad[2].item() == 0.0  # swapping ranks 2 and 3 changes nothing
        assert scores.grad[0].item() < 0.0

    @pytest.mark.parametrize("k", [0, -1, 1.5, True])
    def test_a_bad_k_is_refused(self, k: Any) -> None:
        with pytest.raises(SlicingError, match="k must be"):
            LambdaLoss(k)


class TestListwise:
    @settings(deadline=None)
    @given(batches(), st.sampled_from(["gain", "softmax"]))
    def test_it_is_the_cross_entropy_of_each_query(self, batch: tuple[Tensor, Tensor], kind: Any) -> None:
        total = 0.0
        queries = by_query(*batch)
        for scores, labels in queries:
            if any(labels):
                weights = [2**y - 1 if kind == "gain" else math.exp(y) for y in labels]
                log = math.log(sum(math.exp(s) for s in scores))
                total -= sum(w / sum(weights) * (s - log) for w, s in zip(weights, scores, strict=True))
        assert ListwiseSoftmax(kind)(*batch).item() == pytest.approx(total / len(queries), rel=1e-4, abs=1e-6)

    def test_a_query_without_a_relevant_candidate_has_no_gradient(self) -> None:
        scores = torch.randn(4, 1, requires_grad=True)
        for loss in (ListwiseSoftmax(), ListwiseSoftmax("softmax"), LambdaLoss()):
            loss(scores, torch.tensor([[0.0, 0], [0.0, 0], [0.0, 1], [0.0, 1]])).backward()
        assert scores.grad is not None
        assert scores.grad.abs().sum().item() == 0.0

    @pytest.mark.parametrize("loss", [ListwiseSoftmax(), ListwiseSoftmax("softmax"), LambdaLoss(), ListDistillation()])
    @settings(deadline=None, max_examples=20)
    @given(batches(), st.data())
    def test_the_order_of_rows_does_not_matter(
        self, loss: Any, batch: tuple[Tensor, Tensor], data: st.DataObject
    ) -> None:
        order = torch.tensor(data.draw(st.permutations(range(len(batch[0])))))
        moved = loss(batch[0][order], batch[1][order])
        assert moved.item() == pytest.approx(loss(*batch).item(), rel=1e-4, abs=1e-6)

    def test_an_unknown_target_is_refused(self) -> None:
        with pytest.raises(SlicingError, match="target must be one of"):
            ListwiseSoftmax("rank")  # type: ignore[arg-type]


class TestPointwise:
    def test_arithmetic(self) -> None:
        scores, target = torch.tensor([[0.5], [-1.0]]), torch.tensor([[2.0, 0], [0.0, 0]])
        relevant, irrelevant = math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(-1.0))
        assert PointwiseBCE()(scores, target).item() == pytest.approx((relevant + irrelevant) / 2, rel=1e-6)
        assert PointwiseBCE(2.5)(scores, target).item() == pytest.approx(
            (math.log(1 + math.exp(0.5)) + irrelevant) / 2, rel=1e-6
        )
        half = 0.5 * math.log(1 + math.exp(-0.5)) + 0.5 * math.log(1 + math.exp(0.5))
        assert PointwiseBCE(highest=4)(scores, target).item() == pytest.approx((half + irrelevant) / 2, rel=1e-6)
        assert PointwiseMSE()(scores, target).item() == pytest.approx((1.5**2 + 1) / 2, rel=1e-6)

    def test_labels_above_the_highest_are_refused(self) -> None:
        with pytest.raises(SlicingError, match="at most highest=2"):
            PointwiseBCE(highest=2)(torch.zeros(1, 1), torch.tensor([[3.0, 0]]))


class TestListDistillation:
    def test_it_is_the_cross_entropy_within_each_query(self) -> None:
        student, teacher = torch.randn(5, 1), torch.randn(5, 1)
        queries = torch.tensor([0.0, 1, 0, 1, 1])
        expected = torch.tensor(0.0)
        for q in (0, 1):
            soft = (teacher[queries == q, 0] / 2).softmax(0)
            expected = expected + F.cross_entropy(student[queries == q, 0] / 2, soft) * 4
        found = ListDistillation(2.0)(student, torch.stack([teacher[:, 0], queries], 1))
        assert found.item() == pytest.approx(expected.item() / 2, rel=1e-5)

    def test_schemes_give_it_the_queries_and_no_gradient_reaches_the_teacher(self) -> None:
        class Table(nn.Module):
            rates = (0.5, 1.0)

            def __init__(self) -> None:
                super().__init__()
                self.scores = nn.Parameter(torch.randn(2, 4, 1))

            def forward_all(self, x: Tensor, positions: Sequence[int] = (0, 1)) -> Tensor:
                return self.scores[list(positions)]

        target = torch.tensor([[1.0, 0], [0.0, 0], [0.0, 1], [0.0, 1]])  # query 1 teaches by distillation alone
        for scheme in (
            Joint(distill=1.0, criterion=ListwiseSoftmax(), distillation=ListDistillation()),
            Sandwich(criterion=ListwiseSoftmax(), distillation=ListDistillation()),
        ):
            table = Table()
            scheme.loss(table, torch.zeros(4, 1), target, torch.Generator()).backward()
            assert table.scores.grad is not None
            assert table.scores.grad[0, 2:].abs().min() > 0
            assert table.scores.grad[1, 2:].abs().sum() == 0
            with pytest.raises(SlicingError, match="targets \\(N, 2\\)"):
                Joint(distill=1.0, criterion=lambda s, y: s.sum(), distillation=ListDistillation()).loss(
                    table, torch.zeros(4, 1), target[:, 0], torch.Generator()
                )


@pytest.mark.parametrize(
    "loss", [PointwiseBCE(), PointwiseMSE(), ListwiseSoftmax(), LambdaLoss(), ListDistillation()], ids=repr
)
def test_every_loss_refuses_other_shapes_and_computes_in_fp32(loss: Any) -> None:
    for scores, target in ((torch.zeros(3, 2), torch.zeros(3, 2)), (torch.zeros(3, 1), torch.zeros(3))):
        with pytest.raises(SlicingError, match=r"scores \(N, 1\) and targets \(N, 2\)"):
            loss(scores, target)
    assert loss(torch.zeros(3, 1, dtype=torch.bfloat16), torch.zeros(3, 2)).dtype == torch.float32


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_bad_settings_are_refused(value: float) -> None:
    for make in (PointwiseBCE, ListDistillation, lambda v: LambdaLoss(sigma=v), lambda v: PointwiseBCE(highest=v)):
        with pytest.raises(SlicingError, match="must be positive and finite"):
            make(value)

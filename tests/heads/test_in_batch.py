"""The head of NGAME: the slow float64 reference, the checks of all heads, and its clusters of texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads.in_batch_reference import slopes, softmax, triplet
from heads.label_views import TableOfLabels

from megalabel.errors import MegalabelError, SettingError
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.in_batch import InBatchHead
from megalabel.testing import check_head
from megalabel.types import Positives

N_LABELS, DIM, N_TEXTS = 30, 6, 14


def batch(seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[set[int]]]:
    """Views (B, D), label vectors (L, D), and 0 to 5 labels of each text."""
    rng = np.random.default_rng(seed)
    labels = [set(rng.choice(N_LABELS, size=rng.integers(1, 6), replace=False).tolist()) for _ in range(N_TEXTS)]
    labels[3] = set()
    return 3 * rng.standard_normal((N_TEXTS, DIM)), rng.standard_normal((N_LABELS, DIM)), labels


def pairs(labels: list[set[int]], texts: torch.Tensor | None = None) -> Positives:
    rows = [row for row, own in enumerate(labels) for _ in own]
    flat = [label for own in labels for label in own]
    return Positives.from_pairs(
        torch.tensor(rows, dtype=torch.int64), torch.tensor(flat, dtype=torch.int64), texts
    )


def bound(vectors: np.ndarray, **arguments: object) -> tuple[InBatchHead, TableOfLabels]:
    head = InBatchHead(N_LABELS, DIM, **arguments).double()
    labels = TableOfLabels(torch.from_numpy(vectors.copy()))
    head.bind(labels)
    return head, labels


def drawn_by(head: InBatchHead, positives: Positives, seed: int) -> dict[int, int]:
    torch.manual_seed(seed)
    at = head._drawn(positives)
    return dict(zip(positives.rows[at].tolist(), positives.labels[at].tolist(), strict=True))


@pytest.mark.parametrize("at_once", [N_LABELS, 4])
@pytest.mark.parametrize("hardest", [1, 3, 100])
@pytest.mark.parametrize("weighting", ["mean", "softmax"])
def test_the_triplet_loss_and_its_gradients_are_those_of_the_reference(weighting, hardest, at_once):
    x, vectors, labels = batch()
    positives, seed = pairs(labels), 5
    head, texts = bound(vectors, margin=0.4, hardest=hardest, weighting=weighting, labels_at_once=at_once)
    drawn = drawn_by(head, positives, seed)
    assert set(drawn) == {row for row, own in enumerate(labels) if own}
    assert all(label in labels[row] for row, label in drawn.items())
    views = torch.from_numpy(x.copy()).requires_grad_()
    torch.manual_seed(seed)
    loss = head.loss(views[:, None], positives)

    def slow() -> float:
        return triplet(x, vectors, labels, drawn, margin=0.4, hardest=hardest, weighting=weighting)

    assert loss.item() == pytest.approx(slow(), rel=1e-10)
    loss.backward()
    d_views, d_labels = slopes(slow, x, vectors)
    np.testing.assert_allclose(views.grad.numpy(), d_views, atol=1e-7)
    np.testing.assert_allclose(texts.table.grad.numpy(), d_labels, atol=1e-7)


def test_the_softmax_loss_and_its_gradients_are_those_of_the_reference():
    x, vectors, labels = batch()
    positives, seed = pairs(labels), 7
    head, texts = bound(vectors, loss="softmax", temperature=0.3)
    drawn = drawn_by(head, positives, seed)
    views = torch.from_numpy(x.copy()).requires_grad_()
    torch.manual_seed(seed)
    loss = head.loss(views[:, None], positives)

    def slow() -> float:
        return softmax(x, vectors, labels, drawn, 0.3)

    assert loss.item() == pytest.approx(slow(), rel=1e-10)
    loss.backward()
    d_views, d_labels = slopes(slow, x, vectors)
    np.testing.assert_allclose(views.grad.numpy(), d_views, atol=1e-7)
    np.testing.assert_allclose(texts.table.grad.numpy(), d_labels, atol=1e-7)


def test_every_label_of_a_text_is_drawn_about_as_often(rng):
    labels = [{1, 5, 9}, {2}]
    head, _ = bound(batch()[1])
    counts = np.zeros(N_LABELS)
    for seed in range(600):
        for label in drawn_by(head, pairs(labels), seed).values():
            counts[label] += 1
    assert counts[2] == 600
    assert (counts[[1, 5, 9]] > 120).all()  # 200 expected, standard deviation 12


@pytest.mark.parametrize("labels", [[set(), set()], [{1, 2}, {1, 2}], [{4}]], ids=["none", "all", "one text"])
@pytest.mark.parametrize("arguments", [{}, {"weighting": "mean"}, {"loss": "softmax"}], ids=str)
def test_batches_without_negatives_or_labels_have_finite_gradients(arguments, labels):
    head, texts = bound(batch()[1], **arguments)
    views = torch.randn(len(labels), 1, DIM, dtype=torch.float64, requires_grad=True)
    head.loss(views, pairs(labels)).backward()
    assert torch.isfinite(views.grad).all()
    assert texts.table.grad is None or torch.isfinite(texts.table.grad).all()


def test_clusters_of_texts_are_ranges_of_the_order():
    """Texts around four directions: each quarter of the order is one of them."""
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(4), 16))
    centers = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0][:4]
    x = torch.from_numpy(centers[group] + 0.05 * rng.standard_normal((64, DIM))).float()
    head = InBatchHead(N_LABELS, DIM, n_texts=64)
    rows = torch.from_numpy(rng.permutation(64))
    head.refresh(lambda: (x[rows][:, None], Positives.from_pairs(torch.zeros(0), torch.zeros(0), rows)))
    order = head.get_buffer("order").numpy()
    assert sorted(order) == list(range(64))
    assert [len(set(group[order[i : i + 16]])) for i in range(0, 64, 16)] == [1, 1, 1, 1]
    assert "order" in head.state_dict()


def make(**arguments: object) -> InBatchHead:
    head = InBatchHead(40, 12, **arguments)
    head.bind(TableOfLabels(torch.randn(40, 12, generator=torch.Generator().manual_seed(1))))
    head.settle()
    return head


@pytest.mark.parametrize("arguments", [{}, {"loss": "softmax", "labels_at_once": 7}], ids=str)
def test_the_checks_of_all_heads(arguments):
    check_head(lambda: make(**arguments), learns=False, trained=False)  # it learns through an encoder


def test_what_predicts_is_a_dual_encoder_without_anything_per_text():
    head = make(n_texts=500)
    smaller = head.for_prediction()
    assert type(smaller) is DualEncoderHead
    assert "order" not in smaller.state_dict()
    views = torch.randn(4, 1, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(smaller.topk(views, 5).ids, head.topk(views, 5).ids)


@pytest.mark.parametrize(
    "bad", [{"margin": 0.0}, {"hardest": 0}, {"n_texts": -1}, {"loss": "hinge"}, {"weighting": "sum"}], ids=str
)
def test_arguments_out_of_range(bad):
    with pytest.raises(MegalabelError) as caught:
        make(**bad)
    assert isinstance(caught.value, SettingError) and caught.value.where == next(iter(bad))

"""The head of DEXML equals the slow float64 reference: loss, gradients by texts and label texts, best labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads.dual_encoder_reference import learn, topk, unit
from heads.label_views import TableOfLabels
from torch import Tensor

from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.types import Positives

N_LABELS, DIM, N_TEXTS, TEMPERATURE = 40, 8, 20, 0.2
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def batch(seed: int = 1) -> tuple[np.ndarray, np.ndarray, list[set[int]]]:
    """Views (B, D), label vectors (L, D), and 0 to 5 labels of each text; the first text has all of them."""
    rng = np.random.default_rng(seed)
    labels = [set(rng.choice(N_LABELS, size=rng.integers(0, 6), replace=False).tolist()) for _ in range(N_TEXTS)]
    labels[0] = set(range(N_LABELS))
    return 3 * rng.standard_normal((N_TEXTS, DIM)), rng.standard_normal((N_LABELS, DIM)), labels


def pairs(labels: list[set[int]], texts: Tensor | None = None) -> Positives:
    rows = [row for row, own in enumerate(labels) for _ in own]
    flat = [label for own in labels for label in own]
    return Positives.from_pairs(
        torch.tensor(rows, dtype=torch.int64), torch.tensor(flat, dtype=torch.int64), texts
    )


def bound(vectors: np.ndarray, dtype: torch.dtype, **arguments: object) -> tuple[DualEncoderHead, TableOfLabels]:
    """A head whose labels' encoder is a table of vectors."""
    head = DualEncoderHead(N_LABELS, DIM, **{"temperature": TEMPERATURE} | arguments).to(dtype)
    labels = TableOfLabels(torch.from_numpy(vectors).to(dtype))
    head.bind(labels)
    return head, labels


def close(found: Tensor | None, expected: np.ndarray) -> None:
    assert found is not None
    scale = float(np.abs(expected).max(initial=0)) + 1e-12
    assert np.abs(found.detach().double().numpy() - expected).max(initial=0) <= TOLERANCE[found.dtype] * scale


@DTYPES
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("at_once", [N_LABELS, 7])
@pytest.mark.parametrize("cells", [1 << 20, 5 * N_TEXTS])
def test_loss_and_gradients_over_all_labels(cells, at_once, reduction, dtype, monkeypatch):
    monkeypatch.setattr("megalabel.heads.dual_encoder.CELLS", cells)
    x, vectors, labels = batch()
    head, texts = bound(vectors, dtype, reduction=reduction, labels_at_once=at_once)
    views = torch.from_numpy(x).to(dtype).requires_grad_()
    slow = learn(x, vectors, labels, TEMPERATURE, reduction)
    loss = head.loss(views[:, None], pairs(labels))
    assert loss.item() == pytest.approx(slow.value, rel=10 * TOLERANCE[dtype])
    (2.5 * loss).backward()
    close(views.grad, 2.5 * slow.d_views)
    close(texts.table.grad, 2.5 * slow.d_labels)


@DTYPES
def test_loss_over_drawn_and_hard_negatives(dtype):
    x, vectors, labels = batch()
    labels[0] = {3}
    head, texts = bound(vectors, dtype, negatives=6, hard_negatives=2, n_texts=50)
    rows = torch.arange(N_TEXTS) * 2
    head.get_buffer("hard")[rows] = torch.arange(2 * N_TEXTS, dtype=torch.int32).view(-1, 2) % 5
    torch.manual_seed(3)
    drawn = torch.randint(N_LABELS, (6,))
    scored = sorted(set().union(*labels) | set(drawn.tolist()) | set(range(5)))
    assert len(scored) < N_LABELS
    views = torch.from_numpy(x).to(dtype).requires_grad_()
    torch.manual_seed(3)
    loss = head.loss(views[:, None], pairs(labels, rows))
    slow = learn(x, vectors, labels, TEMPERATURE, scored=scored)
    assert loss.item() == pytest.approx(slow.value, rel=10 * TOLERANCE[dtype])
    loss.backward()
    close(views.grad, slow.d_views)
    close(texts.table.grad, slow.d_labels)
    assert head.eval().loss(views[:, None], pairs(labels)).item() == pytest.approx(
        learn(x, vectors, labels, TEMPERATURE).value, rel=10 * TOLERANCE[dtype]
    )  # outside training all labels are scored


@pytest.mark.parametrize("at_once", [N_LABELS, 7])
def test_best_labels_by_the_vectors_of_the_last_settle(at_once):
    x, vectors, labels = batch()
    labels[0] = {5}
    head, texts = bound(vectors, torch.float32, labels_at_once=at_once)
    head.eval().settle()
    units = np.array([unit(vector) for vector in vectors])
    np.testing.assert_allclose(head.get_buffer("label_vectors").numpy(), units, rtol=1e-5, atol=1e-6)
    for k, exclude in ((1, None), (5, None), (5, labels), (N_LABELS + 3, None), (N_LABELS + 3, labels)):
        found = head.topk(torch.from_numpy(x).float()[:, None], k, exclude=exclude and pairs(exclude))
        ids, scores = topk(x, vectors, k, TEMPERATURE, exclude)
        assert np.array_equal(found.ids.numpy(), ids)
        np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-4, atol=1e-5)
    before = head.topk(torch.from_numpy(x).float()[:, None], 5)
    with torch.no_grad():
        texts.table.neg_()
    assert torch.equal(before.ids, head.topk(torch.from_numpy(x).float()[:, None], 5).ids)
    head.settle()
    assert not torch.equal(before.ids, head.topk(torch.from_numpy(x).float()[:, None], 5).ids)


def test_refresh_finds_the_best_labels_that_a_training_text_does_not_have():
    x, vectors, labels = batch()
    labels[0] = {5}
    head, _ = bound(vectors, torch.float32, negatives=6, hard_negatives=3, n_texts=50)
    rows = torch.arange(N_TEXTS).flip(0) * 2
    head.refresh(lambda: (torch.from_numpy(x).float()[:, None], pairs(labels, rows)))
    expected, _ = topk(x, vectors, 3, TEMPERATURE, labels)
    assert np.array_equal(head.get_buffer("hard")[rows].numpy(), expected)
    assert (head.get_buffer("hard")[1::2] == -1).all()

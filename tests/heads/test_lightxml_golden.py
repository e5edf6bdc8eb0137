"""The head of LightXML equals the slow float64 reference: loss, gradients, recall and best labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads.lightxml_reference import Learned, LightXML, learn, topk
from torch import Tensor

from megalabel.heads.lightxml import LightXMLHead
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives

N_LABELS, DIM, NARROW, N_TEXTS, CANDIDATES = 40, 8, 5, 20, 3
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def model_of(bottleneck: bool, seed: int = 0) -> LightXML:
    """Nine groups of 2 to 7 labels, the labels in no order."""
    rng = np.random.default_rng(seed)
    order, sizes = rng.permutation(N_LABELS), [3, 7, 4, 5, 2, 3, 6, 5, 5]
    groups = [part.tolist() for part in np.split(order, np.cumsum(sizes)[:-1])]
    width = NARROW if bottleneck else DIM
    return LightXML(
        groups,
        rng.standard_normal((9, DIM)), rng.standard_normal(9),
        rng.standard_normal((NARROW, DIM)) if bottleneck else None,
        rng.standard_normal(NARROW) if bottleneck else None,
        rng.standard_normal((N_LABELS, width)), rng.standard_normal(N_LABELS),
    )  # fmt: skip


def batch(seed: int = 1) -> tuple[np.ndarray, list[set[int]]]:
    """Views (B, D), and 0 to 5 labels of each text."""
    rng = np.random.default_rng(seed)
    labels = [set(rng.choice(N_LABELS, size=rng.integers(0, 6), replace=False).tolist()) for _ in range(N_TEXTS)]
    return rng.standard_normal((N_TEXTS, DIM)), labels


def order_of(model: LightXML) -> np.ndarray:
    return np.concatenate([np.array(group) for group in model.groups])


def head_of(model: LightXML, dtype: torch.dtype, *, factored: bool = False, **arguments: object) -> LightXMLHead:
    offsets = np.concatenate([[0], np.cumsum([len(group) for group in model.groups])])
    tree = LabelTree((offsets,), order_of(model))
    bottleneck = 0 if model.bottleneck_weight is None else NARROW
    settings = {"candidates": CANDIDATES, "bottleneck": bottleneck} | arguments
    head = LightXMLHead(tree, DIM, **settings).to(dtype)
    values = {
        "group_weight": model.group_weight, "group_bias": model.group_bias,
        "label_weight": model.label_weight[order_of(model)], "label_bias": model.label_bias[order_of(model)],
        "bottleneck.weight": model.bottleneck_weight, "bottleneck.bias": model.bottleneck_bias,
    }  # fmt: skip
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            parameter.copy_(torch.from_numpy(values[name]))
    head.row_gradients = [[], []] if factored else None
    return head


def pairs(labels: list[set[int]]) -> Positives:
    rows = [row for row, own in enumerate(labels) for _ in own]
    flat = [label for own in labels for label in own]
    return Positives.from_pairs(torch.tensor(rows, dtype=torch.int64), torch.tensor(flat, dtype=torch.int64))


def close(found: Tensor | None, expected: np.ndarray) -> None:
    assert found is not None
    scale = float(np.abs(expected).max(initial=0)) + 1e-12
    error = np.abs(found.detach().double().numpy() - expected).max(initial=0)
    assert error <= TOLERANCE[found.dtype] * scale


def gradients(head: LightXMLHead) -> list[tuple[Tensor | None, Tensor | None]]:
    """What the head holds for its two tables, wherever it holds it."""
    if head.row_gradients is None:
        return [(weight.grad, bias.grad) for weight, bias in head.tables()]
    assert head.group_weight.grad is None and head.label_weight.grad is None
    return [
        part[0].dense(len(weight)) for part, (weight, _) in zip(head.row_gradients, head.tables(), strict=True)
    ]


def learns_the_same(
    head: LightXMLHead, slow: Learned, model: LightXML, views: Tensor, positives: Positives
) -> None:
    loss = head.loss(views[:, None], positives)
    assert loss.item() == pytest.approx(slow.value, rel=10 * TOLERANCE[views.dtype])
    loss.backward()
    close(views.grad, slow.d_views)
    (d_group, d_group_bias), (d_label, d_label_bias) = gradients(head)
    close(d_group, slow.d_group_weight)
    close(d_group_bias, slow.d_group_bias)
    close(d_label, slow.d_label_weight[order_of(model)])
    close(d_label_bias, slow.d_label_bias[order_of(model)])
    if slow.d_bottleneck_weight is not None:
        close(head.bottleneck.weight.grad, slow.d_bottleneck_weight)
        close(head.bottleneck.bias.grad, slow.d_bottleneck_bias)


@DTYPES
@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bottleneck", [True, False])
def test_loss_gradients_and_recall(bottleneck, reduction, factored, dtype):
    model, (x, labels) = model_of(bottleneck), batch()
    slow = learn(model, x, labels, CANDIDATES, reduction)
    assert slow.margin > 1e-4  # nothing here depends on rounding
    assert 0 < slow.found < slow.wanted  # the groups of positives were needed
    assert any(len(kept) > CANDIDATES for kept in slow.kept)
    head = head_of(model, dtype, factored=factored, reduction=reduction)
    views = torch.from_numpy(x).to(dtype).requires_grad_()
    learns_the_same(head, slow, model, views, pairs(labels))
    assert head.metrics() == {"recall level 0": pytest.approx(100 * slow.found / slow.wanted)}
    assert head.metrics() == {}


@DTYPES
@pytest.mark.parametrize("bottleneck", [True, False])
@pytest.mark.parametrize("candidates", [1, CANDIDATES, 9])
def test_best_labels(candidates, bottleneck, dtype):
    model, (x, labels) = model_of(bottleneck), batch()
    head = head_of(model, dtype, candidates=candidates).eval()
    for k, exclude in ((1, None), (5, None), (5, labels), (N_LABELS + 3, None), (N_LABELS + 3, labels)):
        found = head.topk(torch.from_numpy(x).to(dtype)[:, None], k, exclude=exclude and pairs(exclude))
        ids, scores = topk(model, x, candidates, k, exclude)
        assert np.array_equal(found.ids.numpy(), ids)
        np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-5)


def test_texts_are_ranked_in_parts_of_bounded_memory(monkeypatch):
    model, (x, labels) = model_of(bottleneck=True), batch()
    views = torch.from_numpy(x).float()[:, None]
    whole = head_of(model, torch.float32).topk(views, 6, exclude=pairs(labels))
    monkeypatch.setattr("megalabel.heads.lightxml.CELLS", 50)
    parts = head_of(model, torch.float32).topk(views, 6, exclude=pairs(labels))
    assert torch.equal(whole.ids, parts.ids)
    torch.testing.assert_close(whole.scores, parts.scores)


def test_rows_with_other_names_are_ranked_by_their_labels():
    model, (x, labels) = model_of(bottleneck=True), batch()
    names = torch.randperm(N_LABELS, generator=torch.Generator().manual_seed(0))
    head, views = head_of(model, torch.float32), torch.from_numpy(x).float()[:, None]
    plain = head.topk(views, 6, exclude=pairs(labels))
    renamed = [{int(names[label]) for label in own} for own in labels]
    found = head.topk(views, 6, exclude=pairs(renamed), row_to_label=names)
    assert torch.equal(found.ids, torch.where(plain.ids < 0, -1, names[plain.ids]))

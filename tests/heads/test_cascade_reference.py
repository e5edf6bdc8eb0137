"""The slow cascade itself against numbers by hand, torch's autograd in float64, and scoring every label."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from heads.cascade_cases import LEAVES, Case, cases, planted_case
from heads.cascade_reference import Cascade, Learned, learn, sigmoid, topk
from hypothesis import given, settings
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, embedding

PLANTED = [(2, leaves, shared) for leaves in LEAVES for shared in (True, False)]
PLANTED += [(3, leaves, shared) for leaves in LEAVES for shared in (True, False)]


def by_torch(case: Case, reduction: str, count_padding: bool) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """The same cascade as one writes it in torch: gathered rows, a batched product, autograd. Loss and leaves."""
    views = torch.tensor(case.views, dtype=torch.float64, requires_grad=True)
    weights, biases = [], []
    for level, (weight, bias) in enumerate(zip(case.weights, case.biases, strict=True)):
        rows = np.argsort(case.order) if level == len(case.offsets) else np.arange(len(weight))  # by label id
        table, shift = np.zeros((len(weight) + 1, weight.shape[1])), np.zeros((len(weight) + 1, 1))
        table[:-1], shift[:-1, 0] = weight[rows], bias[rows]
        weights.append(torch.tensor(table, requires_grad=True))
        biases.append(torch.tensor(shift, requires_grad=True))
    gold = torch.zeros(len(views), len(case.order))
    for b, labels in enumerate(case.labels):
        gold[b, list(labels)] = 1
    golds, ids = [gold], torch.tensor(case.order)
    children = []
    for ends in map(torch.tensor, reversed(case.offsets)):  # from the labels up
        widest = int(ends.diff().max())
        table = torch.full((len(ends), widest), len(ids))
        for node in range(len(ends) - 1):
            below = ids[ends[node] : ends[node + 1]]
            table[node, : len(below)] = below
        children.insert(0, table)
        with_padding = torch.cat([golds[0], torch.zeros(len(views), 1)], 1)
        golds.insert(0, with_padding[:, table[:-1]].amax(-1))
        ids = torch.arange(len(ends) - 1)
    total = views.new_zeros(())
    candidates = torch.arange(len(golds[0][0])).expand(len(views), -1)
    for level, weight in enumerate(weights):
        pad = len(weight) - 1
        view = views[:, level if views.shape[1] > 1 else 0]
        logits = torch.bmm(embedding(candidates, weight, padding_idx=pad), view[:, :, None])[..., 0]
        logits = logits + embedding(candidates, biases[level], padding_idx=pad)[..., 0]
        true = candidates < pad
        target = torch.cat([golds[level], torch.zeros(len(views), 1)], 1).gather(1, candidates).double()
        counted = torch.ones_like(true) if count_padding else true
        loss = binary_cross_entropy_with_logits(logits[counted], target[counted], reduction=reduction)
        total = total + case.level_weights[level] * loss
        if level < len(children):
            boosted = (torch.sigmoid(logits.detach()) + target).masked_fill(~true, -1)
            place = boosted.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
            k = target.sum(1, keepdim=True).clamp(min=case.beams[level])
            kept = candidates.masked_fill(place >= k, pad)
            below = children[level][kept].flatten(1).sort(dim=1).values  # padding is the greatest id
            candidates = below[:, : int((below < len(weights[level + 1]) - 1).sum(1).max())]
    return total, views, weights, biases


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def equals_torch(case: Case, reduction: str, count_padding: bool) -> Learned:
    slow = learn(
        case.cascade,
        case.views,
        case.labels,
        case.beams,
        case.level_weights,
        reduction=reduction,
        count_padding=count_padding,
    )
    loss, views, weights, biases = by_torch(case, reduction, count_padding)
    loss.backward()
    assert slow.value == pytest.approx(loss.item(), rel=1e-12)
    close(slow.d_views, views.grad.numpy())
    for level in range(len(case.sizes)):
        close(slow.d_weights[level], weights[level].grad[:-1].numpy())
        close(slow.d_biases[level], biases[level].grad[:-1, 0].numpy())
    return slow


@pytest.mark.parametrize("count_padding", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("depth", "leaves", "shared"), PLANTED)
def test_loss_and_gradients_equal_autograd(depth, leaves, shared, reduction, count_padding):
    slow = equals_torch(planted_case(depth, leaves, shared), reduction, count_padding)
    assert (slow.cells == slow.true_cells) == (leaves == "uniform")
    for level in range(depth):
        assert slow.true_cells[level + 1] < len(slow.d_views) * len(slow.d_biases[level + 1])  # some are left out


@given(case=cases())
@settings(max_examples=50)
def test_any_cascade_equals_autograd(case):
    equals_torch(case, "mean", False)
    equals_torch(case, "mean", True)


@pytest.mark.parametrize("leaves", LEAVES)
def test_padding_adds_log_2_a_cell_and_no_gradient(leaves):
    case = planted_case(3, leaves, shared=False)
    inputs = (case.cascade, case.views, case.labels, case.beams, case.level_weights)
    ours, published = learn(*inputs), learn(*inputs, count_padding=True)
    assert ours.true_cells == published.true_cells
    for level, (true, all_) in enumerate(zip(ours.true_cells, published.cells, strict=True)):
        pads = all_ - true
        expected = (ours.values[level] * true + pads * math.log(2)) / all_
        assert published.values[level] == pytest.approx(expected, rel=1e-12)
        close(published.d_weights[level], ours.d_weights[level] * true / all_)
        close(published.d_biases[level], ours.d_biases[level] * true / all_)
        close(published.d_views[:, level], ours.d_views[:, level] * true / all_)
    if leaves == "uniform":
        assert ours.true_cells == published.cells
        assert published.value == ours.value
    else:
        assert ours.true_cells[-1] < published.cells[-1]
        assert published.value != pytest.approx(ours.value, rel=1e-3)


def by_hand() -> Cascade:
    """Two clusters {label 2} and {label 0, label 1}; a text is one number, and a score is its multiple."""
    weights = [np.array([[1.0], [-1.0]]), np.array([[2.0], [3.0], [-3.0]])]
    return Cascade.of([np.array([0, 1, 3])], np.array([2, 0, 1]), weights, [np.zeros(2), np.zeros(3)])


def test_two_clusters_by_hand():
    cascade, view = by_hand(), np.ones((1, 1, 1))
    assert [table.tolist() for table in cascade.children] == [[[2, 3], [0, 1], [3, 3]]]
    assert cascade.gold({1}) == [{1}, {1}]
    # Cluster 0 scores 1, cluster 1 scores -1: the beam of one would keep cluster 0, but label 1 is gold.
    slow = learn(cascade, view, [{1}], [1])
    levels = [-math.log(1 - sigmoid(1)) - math.log(sigmoid(-1)), -math.log(1 - sigmoid(3)) - math.log(sigmoid(-3))]
    assert slow.values == pytest.approx([level / 2 for level in levels])
    assert slow.value == pytest.approx(sum(levels) / 2)
    assert slow.levels[0].kept == [[1]]
    assert (slow.levels[0].found, slow.levels[0].wanted) == (0, 1)
    assert slow.levels[1].candidates.tolist() == [[0, 1]]
    assert slow.levels[1].parent[0].tolist() == pytest.approx([sigmoid(-1)] * 2)  # not boosted
    close(slow.d_biases[1], np.array([sigmoid(3), sigmoid(-3) - 1, 0]) / 2)
    # Without gold, cluster 0 alone is kept.
    labels, scores = topk(cascade, view, [1], 2, "label*parent")
    assert labels.tolist() == [[2, -1]]
    assert scores[0].tolist() == pytest.approx([sigmoid(2) * sigmoid(1), -math.inf])
    assert topk(cascade, view, [1], 1, "label")[1][0, 0] == pytest.approx(sigmoid(2))
    assert topk(cascade, view, [2], 3, "label")[0].tolist() == [[0, 2, 1]]
    assert topk(cascade, view, [2], 3, "label", exclude=[{2}])[0].tolist() == [[0, 1, -1]]


def test_a_text_with_more_positives_than_the_beam_keeps_them_all():
    case = replace(planted_case(2, "uniform", True), beams=[1, 1], labels=[set(range(64))] * 24)
    slow = learn(case.cascade, case.views, case.labels, case.beams)
    assert slow.levels[0].kept == [list(range(4))] * 24
    assert slow.levels[1].kept == [list(range(16))] * 24
    assert (slow.levels[0].found, slow.levels[0].wanted) == (24, 4 * 24)
    assert slow.levels[2].target.all()


def test_texts_without_labels_have_only_negatives():
    case = replace(planted_case(2, "ragged", False), labels=[set()] * 24)
    slow = learn(case.cascade, case.views, case.labels, case.beams)
    assert all(not level.target.any() for level in slow.levels)
    assert all((gradient >= 0).all() for gradient in slow.d_biases)
    assert [level.wanted for level in slow.levels[:-1]] == [0, 0]


@pytest.mark.parametrize("scores", ["label", "label*parent", "path"])
@pytest.mark.parametrize("depth", [2, 3])
def test_beams_over_everything_find_the_best_of_all_labels(depth, scores):
    case = planted_case(depth, "ragged", shared=False)
    chance = [
        1 / (1 + np.exp(-(case.views[:, level].astype(float) @ weight.T.astype(float) + bias)))
        for level, (weight, bias) in enumerate(zip(case.weights, case.biases, strict=True))
    ]
    product = {"label": 0, "label*parent": 1, "path": depth}[scores]
    table, node = chance[-1], np.arange(case.sizes[-1])
    for ends, above in list(zip(case.offsets, chance[:-1], strict=True))[::-1][:product]:
        node = np.searchsorted(ends, node, side="right") - 1  # each place's ancestor, one level up
        table = table * above[:, node]
    by_label = table[:, np.argsort(case.order)]
    labels, best = topk(case.cascade, case.views, case.sizes[:-1], 10, scores)
    np.testing.assert_array_equal(labels, np.argsort(-by_label, axis=1)[:, :10])
    close(best, -np.sort(-by_label, axis=1)[:, :10])


def test_shortlists_by_the_level_s_own_probability_and_not_along_the_path():
    """Cluster 1 at level 0 is poor, but its child is the best at level 1: a beam of 2, 1 finds its label."""
    offsets = [np.array([0, 1, 2]), np.array([0, 1, 2])]
    weights = [np.array([[2.0], [-2.0]]), np.array([[0.5], [1.0]]), np.array([[0.0], [0.0]])]
    cascade = Cascade.of(offsets, np.array([0, 1]), weights, [np.zeros(2)] * 3)
    view = np.ones((1, 1, 1))
    labels, best = topk(cascade, view, [2, 1], 1, "label*parent")
    assert labels.tolist() == [[1]]
    assert best[0, 0] == pytest.approx(0.5 * sigmoid(1))  # level 0 has no part in the score
    labels, best = topk(cascade, view, [2, 1], 1, "path")
    assert labels.tolist() == [[0]]
    assert best[0, 0] == pytest.approx(0.5 * sigmoid(0.5) * sigmoid(2))

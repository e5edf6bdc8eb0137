"""The cascade head equals the slow float64 reference: losses, gradients, shortlists and best labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from heads.cascade_cases import LEAVES, Case, cases, planted_case
from heads.cascade_reference import Learned, learn, topk
from heads.cascade_rounding import Bounds, bounds, within
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from megalabel.heads.cascade import CascadeHead
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives, TopK

Side = tuple[Learned, Bounds]
SCORES = ("label", "label*parent", "path")
EVERY = [(depth, leaves, shared) for depth in (2, 3) for leaves in LEAVES for shared in (True, False)]


def head_of(case: Case, factored: bool = False, **arguments: object) -> CascadeHead:
    """A head with the case's tables, whose gradients stay in factors or go to `.grad`."""
    head = CascadeHead(
        LabelTree(tuple(case.offsets), case.order),
        case.views.shape[2],
        n_views=case.views.shape[1],
        beams=case.beams,
        level_weights=case.level_weights,
        **arguments,
    )
    with torch.no_grad():
        for level, (weight, bias) in enumerate(zip(case.weights, case.biases, strict=True)):
            head.weights[level].copy_(torch.from_numpy(weight))
            head.biases[level].copy_(torch.from_numpy(bias))
    head.row_gradients = [[] for _ in case.sizes] if factored else None
    return head


def pairs(labels: list[set[int]]) -> Positives:
    rows = [row for row, own in enumerate(labels) for _ in own]
    flat = [label for own in labels for label in own]
    return Positives.from_pairs(torch.tensor(rows, dtype=torch.int64), torch.tensor(flat, dtype=torch.int64))


def reference(case: Case, reduction: str = "mean") -> Side:
    """What is right, and how far float32 may be from it."""
    slow = learn(case.cascade, case.views, case.labels, case.beams, case.level_weights, reduction=reduction)
    return slow, bounds(case.cascade, case.views, slow.levels, case.level_weights, reduction)


def loss_of(head: CascadeHead, case: Case) -> tuple[Tensor, Tensor]:
    """The loss, and the views it is a function of."""
    views = torch.from_numpy(case.views).clone().requires_grad_()
    return head.loss(views, pairs(case.labels)), views


def gradients_close(head: CascadeHead, case: Case, expected: list[Side], scale: float = 1.0) -> None:
    """What the head holds for its tables is the sum of the expected; a label's row lies at its place."""
    for level, (weight, bias) in enumerate(head.tables()):
        d_weight, d_bias = weight.grad, bias.grad
        if head.row_gradients is not None:
            assert d_weight is None
            assert d_bias is None
            factors = [gradient.dense(case.sizes[level]) for gradient in head.row_gradients[level]]
            d_weight, d_bias = (sum(parts) for parts in zip(*factors, strict=True))
        ids = case.order if level == len(case.offsets) else np.arange(case.sizes[level])
        for found, name in ((d_weight, "d_weights"), (d_bias, "d_biases")):
            sides = zip(*expected, strict=True)
            within(found, *(scale * sum(getattr(one, name)[level] for one in side)[ids] for side in sides))


def learns_the_same(case: Case, reduction: str = "mean", factored: bool = False) -> Learned:
    (slow, off), head = reference(case, reduction), head_of(case, factored, reduction=reduction)
    loss, views = loss_of(head, case)
    assert abs(loss.item() - slow.value) <= off.value
    loss.backward()
    within(views.grad, slow.d_views, off.d_views)
    gradients_close(head, case, [(slow, off)])
    logged = head.metrics()
    for level, made in enumerate(slow.levels[:-1]):
        if made.wanted:
            assert logged[f"recall level {level}"] == pytest.approx(100 * made.found / made.wanted, rel=1e-6)
    return slow


def predicts_the_same(
    case: Case, scores: str, k: int, exclude: list[set[int]] | None = None
) -> tuple[TopK, np.ndarray]:
    """Scores agree, and labels wherever float32 tells scores apart. What the head found, and the right labels."""
    head, excluded, most = head_of(case, path_score=scores), exclude and pairs(exclude), case.sizes[-1] + k
    found = head.topk(torch.from_numpy(case.views), k, exclude=excluded)
    labels, best = topk(case.cascade, case.views, case.beams, most, scores, exclude)  # all labels it reaches
    labels_found, scores_found = found.numpy()
    np.testing.assert_allclose(scores_found, best[:, :k], rtol=1e-5)
    assert ((labels_found == -1) == (labels[:, :k] == -1)).all()
    for b, row in enumerate(labels_found):
        names = row[row >= 0].tolist()
        assert len(set(names)) == len(names)
        true = dict(zip(labels[b].tolist(), best[b].tolist(), strict=True))
        np.testing.assert_allclose([true[name] for name in names], scores_found[b][: len(names)], rtol=1e-5)
    return found, labels[:, :k]


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("depth", "leaves", "shared"), EVERY)
def test_loss_gradients_and_shortlists(depth, leaves, shared, reduction, factored):
    case = planted_case(depth, leaves, shared)
    slow = learns_the_same(case, reduction, factored)
    assert min(made.margin for made in slow.levels) > 1e-5  # nothing here hangs on rounding
    assert 0 < slow.levels[0].found < slow.levels[0].wanted  # gold was needed
    assert (slow.cells == slow.true_cells) == (leaves == "uniform")


@pytest.mark.parametrize("leaves", LEAVES)
@pytest.mark.parametrize("depth", [2, 3])
def test_published_mean_is_ours_where_nothing_is_padded(depth, leaves):
    """The published mean counts padded cells, whose logit is 0: log 2 each."""
    case = planted_case(depth, leaves, shared=False)
    loss = loss_of(head_of(case), case)[0].item()
    published = learn(case.cascade, case.views, case.labels, case.beams, case.level_weights, count_padding=True)
    mended = 0.0
    for level, value in enumerate(published.values):
        pads = published.cells[level] - published.true_cells[level]
        total = value * published.cells[level] - pads * np.log(2)
        mended += case.level_weights[level] * total / published.true_cells[level]
    assert loss == pytest.approx(mended, rel=1e-5)
    assert (loss == pytest.approx(published.value, rel=1e-5)) == (leaves == "uniform")


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("depth", [2, 3])
def test_more_positives_than_the_beam_are_all_kept(depth, shared):
    case = replace(planted_case(depth, "ragged", shared), beams=[1] * depth)
    slow = learns_the_same(case)
    assert any(len(kept) > 1 for kept in slow.levels[0].kept)
    assert all(len(case.labels[b]) == slow.levels[-1].target[b].sum() for b in range(len(case.labels)))


def test_texts_without_labels_and_one_text_alone():
    case = planted_case(3, "ragged", shared=False)
    learns_the_same(replace(case, labels=[set() if b % 3 else own for b, own in enumerate(case.labels)]))
    learns_the_same(replace(case, labels=[set()] * len(case.labels)))
    learns_the_same(case.texts(slice(5, 6)))
    learns_the_same(replace(case.texts(slice(5, 6)), labels=[set()]))


@pytest.mark.parametrize("factored", [False, True])
@pytest.mark.parametrize("at_once", [True, False])
def test_micro_batches_sum(at_once, factored):
    """Each half is a mean over its own candidates; the halves' gradients add up, whenever backward is called."""
    case = planted_case(3, "ragged", shared=True)
    halves, head = [case.texts(slice(0, 9)), case.texts(slice(9, None))], head_of(case, factored)
    slow = [reference(half) for half in halves]
    if at_once:
        losses, views = zip(*(loss_of(head, half) for half in halves), strict=True)
        off = sum(part.value for _, part in slow)
        assert abs(sum(losses).item() - sum(part.value for part, _ in slow)) <= off
        sum(losses).backward()
    else:
        views = []
        for half in halves:
            loss, view = loss_of(head, half)
            loss.backward()
            views.append(view)
    for view, (part, off) in zip(views, slow, strict=True):
        within(view.grad, part.d_views, off.d_views)
    gradients_close(head, case, slow)


@pytest.mark.parametrize("factored", [False, True])
def test_factors_on_the_loss_reach_all_gradients(factored):
    case = planted_case(2, "ragged leaves", shared=False)
    head, (slow, off) = head_of(case, factored), reference(case)
    loss, views = loss_of(head, case)
    (2.5 * loss).backward(retain_graph=True)
    gradients_close(head, case, [(slow, off)], scale=2.5)
    (4 * loss).backward()  # a second pass adds to the first
    within(views.grad, 6.5 * slow.d_views, 6.5 * off.d_views)
    gradients_close(head, case, [(slow, off)], scale=6.5)


@pytest.mark.parametrize("factored", [False, True])
def test_tables_learn_below_a_frozen_encoder(factored):
    case = planted_case(2, "ragged", shared=False)
    head = head_of(case, factored)
    (0.5 * head.loss(torch.from_numpy(case.views), pairs(case.labels))).backward()
    gradients_close(head, case, [reference(case)], scale=0.5)


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize(("depth", "leaves", "shared"), EVERY)
def test_best_labels(depth, leaves, shared, scores):
    case = planted_case(depth, leaves, shared)
    for k, exclude in ((1, None), (5, None), (5, case.labels), (70, None), (70, case.labels)):
        found, expected = predicts_the_same(case, scores, k, exclude)
        assert np.array_equal(found.numpy()[0], expected)
    assert (expected[:, -1] == -1).all()  # the beams do not reach all labels


@pytest.mark.parametrize("scores", SCORES)
def test_one_text_alone_gets_the_same_answer(scores):
    case = planted_case(3, "ragged", shared=False)
    whole = head_of(case, path_score=scores).topk(torch.from_numpy(case.views), 7)
    for row in range(4):
        one, _ = predicts_the_same(case.texts(slice(row, row + 1)), scores, 7)
        assert torch.equal(one.ids[0], whole.ids[row])


@pytest.mark.parametrize("scores", SCORES)
@pytest.mark.parametrize("depth", [2, 3])
def test_beams_over_everything_reach_all_labels(depth, scores):
    case = planted_case(depth, "ragged", shared=False)
    case = replace(case, beams=case.sizes[:-1])
    found, expected = predicts_the_same(case, scores, case.sizes[-1])
    assert np.array_equal(found.numpy()[0], expected)
    assert (np.sort(expected, axis=1) == np.arange(case.sizes[-1])).all()


def test_ties_go_to_the_lower_node_and_the_lower_label():
    case = planted_case(2, "ragged", shared=True)
    case = replace(
        case, weights=[0 * weight for weight in case.weights], biases=[0 * bias for bias in case.biases]
    )
    for scores in SCORES:
        found, expected = predicts_the_same(case, scores, 64)
        assert np.array_equal(found.numpy()[0], expected)  # a label whose logit is 0 is a label all the same
    learns_the_same(case)


@given(case=cases(), factored=st.booleans())
@settings(max_examples=60)
def test_any_cascade_learns_the_same(case, factored):
    learns_the_same(case, factored=factored)


@given(case=cases())
@settings(max_examples=60)
def test_any_cascade_predicts_the_same(case):
    for scores in ("label", "label*parent"):
        for k in (1, 3, case.sizes[-1] + 2):
            predicts_the_same(case, scores, k)
            predicts_the_same(case, scores, k, case.labels)

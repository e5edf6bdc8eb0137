"""The references of LightXML and DEXML themselves: their gradients are those of finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from heads import dual_encoder_reference as dexml
from heads import lightxml_reference as light

STEP = 1e-6


def slope(value: Callable[[np.ndarray], float], at: np.ndarray, index: tuple[int, ...]) -> float:
    """The central difference of `value` by one entry of `at`."""
    ends = []
    for step in (STEP, -STEP):
        moved = at.copy()
        moved[index] += step
        ends.append(value(moved))
    return (ends[0] - ends[1]) / (2 * STEP)


def small_light(bottleneck: bool, seed: int = 0) -> light.LightXML:
    """Three groups of seven labels, with or without a bottleneck of 3."""
    rng = np.random.default_rng(seed)
    width = 3 if bottleneck else 4
    return light.LightXML(
        [[4, 0], [1, 6, 3], [2, 5]],
        rng.standard_normal((3, 4)), rng.standard_normal(3),
        rng.standard_normal((3, 4)) if bottleneck else None, rng.standard_normal(3) if bottleneck else None,
        rng.standard_normal((7, width)), rng.standard_normal(7),
    )  # fmt: skip


LABELS = [{0, 3}, {6}, set(), {1, 2, 4}]
VIEWS = np.random.default_rng(1).standard_normal((4, 4))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("bottleneck", [True, False])
def test_the_gradients_of_lightxml_are_those_of_finite_differences(bottleneck, reduction):
    model = small_light(bottleneck)
    found = light.learn(model, VIEWS, LABELS, 1, reduction)
    assert found.margin > 1e-3  # no group changes sides within a step
    assert found.value == pytest.approx(sum(found.parts))
    assert found.kept[3] == [0, 1, 2]  # the groups of all positives, though one candidate was asked for

    def value(model: light.LightXML, views: np.ndarray = VIEWS) -> float:
        return light.learn(model, views, LABELS, 1, reduction).value

    for index in np.ndindex(VIEWS.shape):
        assert slope(lambda x: value(model, x), VIEWS, index) == pytest.approx(found.d_views[index], abs=1e-6)
    for name in (
        "group_weight",
        "group_bias",
        "bottleneck_weight",
        "bottleneck_bias",
        "label_weight",
        "label_bias",
    ):
        table = getattr(model, name)
        if table is None:
            continue
        expected = getattr(found, f"d_{name}")
        for index in np.ndindex(table.shape):

            def at(x: np.ndarray, name: str = name) -> float:
                return value(replace(model, **{name: x}))

            assert slope(at, table, index) == pytest.approx(expected[index], abs=1e-6)


def test_the_score_of_lightxml_is_the_product_of_both_probabilities():
    model = small_light(bottleneck=True)
    ids, scores = light.topk(model, VIEWS, 3, 8)
    assert (np.sort(ids[:, :7], axis=1) == np.arange(7)).all()
    assert (ids[:, 7] == -1).all()
    group = 1 / (1 + np.exp(-(VIEWS @ model.group_weight.T + model.group_bias)))
    narrow = VIEWS @ model.bottleneck_weight.T + model.bottleneck_bias
    label = 1 / (1 + np.exp(-(narrow @ model.label_weight.T + model.label_bias)))
    for b in range(4):
        for i, score in zip(ids[b, :7], scores[b], strict=False):
            assert score == pytest.approx(group[b, model.group_of(i)] * label[b, i])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradients_of_the_decoupled_softmax_are_those_of_finite_differences(reduction):
    vectors = np.random.default_rng(2).standard_normal((7, 4))

    def value(views: np.ndarray, vectors: np.ndarray) -> float:
        return dexml.learn(views, vectors, LABELS, 0.3, reduction).value

    found = dexml.learn(VIEWS, vectors, LABELS, 0.3, reduction)
    for index in np.ndindex(VIEWS.shape):
        assert slope(lambda x: value(x, vectors), VIEWS, index) == pytest.approx(found.d_views[index], abs=1e-6)
    for index in np.ndindex(vectors.shape):
        assert slope(lambda v: value(VIEWS, v), vectors, index) == pytest.approx(found.d_labels[index], abs=1e-6)


def test_with_one_positive_per_text_the_decoupled_softmax_is_the_softmax():
    vectors = np.random.default_rng(2).standard_normal((7, 4))
    labels = [{0}, {6}, {3}, {1}]
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = VIEWS / np.linalg.norm(VIEWS, axis=1, keepdims=True) @ units.T / 0.3
    log_sums = np.log(np.exp(scores).sum(1))
    expected = np.mean([log_sums[b] - scores[b, min(own)] for b, own in enumerate(labels)])
    assert dexml.learn(VIEWS, vectors, labels, 0.3).value == pytest.approx(expected)


def test_positives_do_not_compete_in_the_decoupled_softmax():
    """A positive's own score rises without any other positive's falling: the gradient of its term is 0 there."""
    _, slopes = dexml.term(np.array([2.0, 1.0, 0.5, -1.0]), 0, {0, 1})
    assert slopes[1] == 0
    assert slopes[0] < 0 < slopes[2]

"""The cascade: the battery of all heads, and what is its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, planted_views

from megalabel.heads.cascade import CascadeHead
from megalabel.labels.tree import LabelTree


def tree() -> LabelTree:
    """Three coarse clusters of 2 to 4 fine ones of 3 to 6 labels; the labels in no order."""
    random = np.random.default_rng(3)
    fine = np.repeat(np.arange(9), [3, 6, 4, 5, 4, 3, 6, 5, 4])
    order = random.permutation(N_LABELS)
    labels = np.empty(N_LABELS, np.int64)
    labels[order] = fine
    return LabelTree.from_parents([np.repeat(np.arange(3), [2, 4, 3]), labels])


def make(**settings: object) -> CascadeHead:
    arguments = {"beams": (3, 9)} | settings
    return CascadeHead(tree(), DIM, generator=torch.Generator().manual_seed(1), **arguments)


@pytest.mark.parametrize("settings", [{}, {"n_views": 1}, {"scores": "path", "reduction": "sum"}], ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_battery(check, settings):
    check(lambda: make(**settings))


def test_narrow_beams_learn():
    head = make(beams=(2, 3))
    views, positives = planted_views(head)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(views, positives).backward()
        optimizer.step()
    truth = set(zip(positives.rows.tolist(), positives.labels.tolist(), strict=True))
    best = head.topk(views, 1).labels[:, 0].tolist()
    assert sum(pair in truth for pair in enumerate(best)) > 0.8 * len(views)
    facts = head.facts()
    assert 50 < facts["recall level 0"] <= 100
    assert facts["P@1 level 2"] > 80
    assert head.facts() == {"recall level 0": 0.0, "recall level 1": 0.0}

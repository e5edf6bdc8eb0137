"""The cascade: the battery of all heads, and what is its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, planted_views

from megalabel.errors import SettingError
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


@pytest.mark.parametrize("settings", [{}, {"n_views": 1}, {"path_score": "path", "reduction": "sum"}], ids=str)
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
    best = head.topk(views, 1).ids[:, 0].tolist()
    assert sum(pair in truth for pair in enumerate(best)) > 0.8 * len(views)
    logged = head.metrics()
    assert 50 < logged["recall level 0"] <= 100
    assert logged["P@1 level 2"] > 80
    assert head.metrics() == {}


def test_another_beam_or_score_is_seen_at_once():
    head = make(beams=(1, 1), path_score="label")
    views, _ = planted_views(head)
    narrow = head.topk(views, 5)
    head.beams = (3, 9)
    wide = head.topk(views, 5)
    assert (narrow.ids == -1).any() or not torch.equal(narrow.ids, wide.ids)
    assert torch.equal(wide.ids, make(path_score="label").topk(views, 5).ids)
    other = make(path_score="label")
    order = other.label_to_row.flip(0)
    other.load_state_dict(head.state_dict() | {"label_to_row": order})
    before = other.topk(views, 5).ids
    other.load_state_dict(head.state_dict())
    assert not torch.equal(before, other.topk(views, 5).ids)


def test_in_evaluation_gradients_still_come():
    head = make().eval()
    views, positives = planted_views(head)
    head.loss(views, positives).backward()
    assert head.weights[2].grad is not None


def test_prior_is_the_odds_among_the_texts_that_shortlist_the_parent():
    head = make(beams=(1, 3))
    counts = [torch.tensor([80, 10, 0]), torch.arange(9) * 2, torch.arange(N_LABELS)]
    head.init_prior(counts, 100)
    torch.testing.assert_close(head.biases[0].detach().sigmoid(), (counts[0] + 0.5) / 101)
    # Node 4 of level 1 is in node 1 of level 0, whose 10 texts are less than the beam's even share of 100 / 3.
    assert float(head.biases[1][4].detach().sigmoid()) == pytest.approx(8.5 / (100 / 3 + 1), rel=1e-5)
    assert float(head.biases[1][1].detach().sigmoid()) == pytest.approx(2.5 / 81, rel=1e-5)
    for bad in (counts[:2], [*counts[:2], torch.full((N_LABELS,), 101)], [*counts[:2], torch.zeros(3)]):
        with pytest.raises(SettingError, match="counts of shapes"):
            head.init_prior(bad, 100)


@pytest.mark.parametrize(
    "bad",
    [
        {"beams": (4, 9)}, {"beams": (3, 0)}, {"beams": (3,)}, {"beams": (1.5, 3)}, {"level_dropout": (0.1, 0.1)},
        {"level_dropout": (0.1, 0.1, 1.5)}, {"level_dropout": (0.1, float("nan"), 0.1)},
        {"level_weights": (1, 1, -1)}, {"level_weights": (1, 1, float("nan"))}, {"path_score": "sum"},
        {"reduction": "max"}, {"n_views": 2},
    ],
    ids=str,
)  # fmt: skip
def test_settings_that_do_not_fit(bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        make(**bad)


def test_numpy_beams_are_saved():
    import json

    assert json.dumps(make(beams=np.array([2, 3])).config())

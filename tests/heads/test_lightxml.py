"""The head of LightXML: the checks of all heads, and what is its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megalabel.errors import SettingError
from megalabel.heads.lightxml import LightXMLHead
from megalabel.labels.tree import LabelTree
from megalabel.testing import check_head

N_LABELS, DIM = 40, 12


def tree(levels: int = 1) -> LabelTree:
    """Nine groups of 3 to 6 labels, the labels in no order; under three further ones for a second level."""
    order = np.random.default_rng(3).permutation(N_LABELS)
    labels = np.empty(N_LABELS, np.int64)
    labels[order] = np.repeat(np.arange(9), [3, 6, 4, 5, 4, 3, 6, 5, 4])
    return LabelTree.from_parents([labels] if levels == 1 else [np.repeat(np.arange(3), 3), labels])


def make(**arguments: object) -> LightXMLHead:
    settings = {"candidates": 9, "bottleneck": 8} | arguments
    return LightXMLHead(tree(), DIM, generator=torch.Generator().manual_seed(1), **settings)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_checks_of_all_heads(reduction):
    check_head(lambda: make(bottleneck=0, reduction=reduction))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_checks_of_all_heads_with_a_bottleneck(reduction):
    check_head(lambda: make(reduction=reduction))


def test_the_prior_is_the_odds_among_the_texts_that_recall_the_group():
    head = make(candidates=3)
    sizes = head.get_buffer("offsets").diff()
    groups, labels = torch.arange(9) * 10, torch.arange(N_LABELS)
    head.init_prior([groups, labels], 90)
    torch.testing.assert_close(head.group_bias.detach().sigmoid(), (groups + 0.5) / 91)
    recalled = groups.clamp(min=30).repeat_interleave(sizes)  # a third of the groups, or all texts of the group
    expected = ((labels + 0.5) / (recalled + 1)).clamp(max=0.999)
    torch.testing.assert_close(head.label_bias.detach().sigmoid(), expected)
    for bad in ([groups], [groups[:8], labels], [groups, labels + 60], [groups - 1, labels]):
        with pytest.raises(SettingError) as caught:
            head.init_prior(bad, 90)
        assert caught.value.where == "texts_with"


@pytest.mark.parametrize(
    "bad", [{"candidates": 0}, {"candidates": 10}, {"bottleneck": -1}, {"reduction": "max"}], ids=str
)
def test_arguments_out_of_range(bad):
    with pytest.raises(SettingError) as caught:
        make(**bad)
    assert caught.value.where == next(iter(bad))


def test_a_tree_of_two_levels_is_refused():
    with pytest.raises(SettingError) as caught:
        LightXMLHead(tree(levels=2), DIM, candidates=3)
    assert caught.value.where == "tree"

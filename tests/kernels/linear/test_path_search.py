"""Scores along the paths to some labels, compared with those of the tree that is cut down to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kernels.linear.test_sparse_beam import SCORES, Case

from megalabel.errors import SettingError
from megalabel.kernels.linear import path_search
from megalabel.kernels.linear.path_search import PathSearch
from megalabel.kernels.linear.sparse_beam import SparseBeam, plain
from megalabel.types import Positives


@pytest.mark.parametrize("post_processor", SCORES)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_paths_and_the_cut_tree_give_the_scores_of_the_definition(post_processor, depth, monkeypatch):
    monkeypatch.setattr(path_search, "_CELLS", 40)  # some texts at a time
    for seed in range(4):
        case = Case(seed, depth)
        n_labels = len(case.order)
        beam = SparseBeam(case.levels, case.order, [3] * depth, post_processor)
        everything = [weight.shape[0] for weight in case.weights[:-1]]
        right = plain(case.x, case.weights, case.offsets, case.order, everything, n_labels, post_processor)
        scores = np.zeros(right.ids.shape)
        np.put_along_axis(scores, right.ids, right.scores.astype(float), 1)
        labels = np.sort(case.rng.choice(n_labels, case.rng.integers(1, n_labels + 1), replace=False))
        search, k = PathSearch(beam, labels), len(labels) + 1
        hidden = torch.tensor([0, 0, 3]), torch.tensor([0, len(labels) - 1, 0])
        for exclude in (None, Positives.from_pairs(*hidden)):
            found, cut = search(case.x, k, exclude), search.cut(case.x, k, exclude)
            assert (found.ids == cut.ids).all()
            assert found.scores == pytest.approx(cut.scores, 1e-6)
            there = found.ids >= 0
            wanted = np.take_along_axis(scores, np.where(there, labels[np.maximum(found.ids, 0)], 0), 1)
            assert found.scores[there] == pytest.approx(wanted[there], 1e-5, 1e-7)
            assert (~there).sum() == len(case.x.indptr) - 1 + (0 if exclude is None else len(exclude))


def test_many_texts_are_searched_in_the_cut_tree(monkeypatch):
    monkeypatch.setattr(path_search, "MANY", 9)
    case = Case(1)
    search = PathSearch(SparseBeam(case.levels, case.order, [3, 3]), np.array([0, 2]))
    search(case.x[:8], 2)
    assert "cut" not in vars(search)
    search(case.x, 2)
    assert "cut" in vars(search)


def test_no_texts_and_wrong_labels():
    case = Case(2)
    beam = SparseBeam(case.levels, case.order, [3, 3])
    assert PathSearch(beam, np.array([1]))(case.x[:0], 3).ids.shape == (0, 3)
    for labels in ([], [1, 1], [2, 1], [-1], [len(case.order)]):
        with pytest.raises(SettingError):
            PathSearch(beam, np.array(labels, np.int64))

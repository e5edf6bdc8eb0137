"""Rankings that agree with a taxonomy: the best of consistent scores over all labels, labels added or left out."""

from __future__ import annotations

import numpy as np
import pytest

from megalabel.data.taxonomy import Taxonomy
from megalabel.errors import SettingError
from megalabel.labels import ancestors
from megalabel.labels.ancestors import check_ancestors, with_ancestors

L, N, K = 40, 70, 6


@pytest.fixture(scope="module")
def graph() -> Taxonomy:
    rng = np.random.default_rng(1)
    pairs = [(p, c) for c in range(1, L) for p in rng.choice(c, min(c, rng.integers(0, 3)), replace=False)]
    parents, children = np.array(rng.permutation(L))[np.array(pairs).T]  # in no order of ids
    return Taxonomy.of(parents, children, [str(i) for i in range(L)])


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return np.random.default_rng(2).permuted(np.tile(np.arange(L, dtype=np.float32), (N, 1)), axis=1)


def ranked(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return ids, np.take_along_axis(scores, ids, axis=1)


def consistent(scores: np.ndarray, graph: Taxonomy) -> np.ndarray:
    """The largest score of each label and its descendants, over all labels."""
    above = (graph.ancestors(np.arange(L)) + np.eye(L)) > 0
    return np.stack([np.where(above, row[:, None], -np.inf).max(axis=0) for row in scores])


def test_added_ancestors_give_the_best_of_consistent_scores_over_all_labels(graph, scores, monkeypatch):
    monkeypatch.setattr(ancestors, "TEXTS", 32)
    wanted = consistent(scores, graph)
    ids, best = with_ancestors(*ranked(scores, K), graph, "add")
    assert (best[:, :K] == ranked(wanted, K)[1]).all()
    for row in range(N):
        there = ids[row][ids[row] >= 0]
        assert len(set(there)) == len(there) and (best[row][ids[row] < 0] == -np.inf).all()
        assert (best[row][ids[row] >= 0] == wanted[row][there]).all()
        assert set(graph.ancestors(there).indices) <= set(there)


def test_raised_scores_stay_within_the_ranking_and_are_never_below_a_descendant(graph, scores):
    before, at_first = ranked(scores, K)
    ids, best = with_ancestors(before, at_first, graph, "raise")
    assert ids.shape == before.shape and (np.sort(ids) == np.sort(before)).all() and (np.diff(best) <= 0).all()
    for row in range(N):
        own = dict(zip(ids[row].tolist(), best[row].tolist(), strict=True))
        first = dict(zip(before[row].tolist(), at_first[row].tolist(), strict=True))
        for label, score in own.items():
            below = [first[d] for d in own if label in graph.ancestors(np.array([d])).indices]
            assert score == max([first[label], *below])


def test_collapsed_rankings_have_no_label_above_another(graph, scores):
    before, _ = ranked(scores, K)
    ids, best = with_ancestors(*ranked(scores, K), graph, "collapse")
    for row in range(N):
        there = ids[row][ids[row] >= 0]
        above = set(graph.ancestors(before[row]).indices)
        assert there.tolist() == [label for label in before[row].tolist() if label not in above]
        assert (best[row][: len(there)] == scores[row][there]).all()


def test_labels_that_are_left_out_are_not_added_but_stay_in_a_ranking(graph, scores):
    left_out = np.zeros(L, bool)
    left_out[::2] = True
    before, _ = ranked(scores, K)
    ids, _ = with_ancestors(*ranked(scores, K), graph, "add", left_out)
    for row in range(N):
        added = set(ids[row][ids[row] >= 0]) - set(before[row])
        assert set(before[row]) <= set(ids[row]) and all(label % 2 for label in added)


@pytest.mark.parametrize("way", ["raise", "add", "collapse"])
def test_texts_without_labels_and_no_texts_stay(graph, way):
    none = np.full((2, 3), -1), np.full((2, 3), -np.inf, np.float32)
    ids, best = with_ancestors(*none, graph, way)
    assert (ids == -1).all() and (best == -np.inf).all() and ids.shape == (2, 3)
    assert with_ancestors(none[0][:0], none[1][:0], graph, way)[0].shape == (0, 3)


def test_another_way_is_refused():
    for way in ("expand", "", None, 3):
        with pytest.raises(SettingError):
            check_ancestors(way)

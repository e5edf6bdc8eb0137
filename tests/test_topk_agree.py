"""The comparison of rankings: it forgives what rounding does, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from topk_agree import assert_topk_agree

from megalabel.types import TopK

LABELS, SCORES = [[7, 3, 5, 1], [2, 9, -1, -1]], [[4.0, 3.0, 2.0, 1.0], [0.5, 0.25, -np.inf, -np.inf]]


def top(labels=LABELS, scores=SCORES) -> TopK:
    return TopK(np.array(labels), np.array(scores, dtype=np.float32))


def near(*scores: float) -> TopK:
    return top([[7, 3, 5, 1]], [list(scores)])


def test_the_same_ranking_agrees_with_itself_as_arrays_and_as_tensors():
    assert_topk_agree(top(), top())
    assert_topk_agree(TopK(*map(torch.from_numpy, top().numpy())), top())
    assert_topk_agree(
        top(np.zeros((2, 0), dtype=int), np.zeros((2, 0))), top(np.zeros((2, 0), dtype=int), np.zeros((2, 0)))
    )


def test_rounding_may_move_scores_and_swap_labels_that_nearly_tie():
    assert_topk_agree(near(4.000001, 3, 2, 1), near(4, 3, 2, 1))
    assert_topk_agree(top([[3, 7, 5, 1]], [[3.0000002, 3, 2, 1]]), near(3.0000002, 3, 2, 1))
    assert_topk_agree(top([[5, 3, 7, 1]], [[3, 3, 3, 1]]), near(3, 3, 3, 1))


def test_a_near_tie_at_the_cut_may_let_another_label_in():
    assert_topk_agree(top([[7, 3, 5, 8]], [[4, 3, 2, 1.0000001]]), near(4, 3, 2, 1))
    assert_topk_agree(top([[7, 3, 8, 9]], [[4, 3, 1, 1]]), near(4, 3, 1.0000001, 1))


@pytest.mark.parametrize(
    ("labels", "scores", "match"),
    [
        ([[3, 7, 5, 1]], [[4, 3, 2, 1]], "a label has another score: text 0, place 0"),  # swapped, far apart
        ([[7, 3, 1, 5]], [[4, 3, 2, 1]], "a label has another score: text 0, place 2"),
        ([[7, 3, 8, 1]], [[4, 3, 2, 1]], "a label has another score: text 0, place 2"),  # not at the cut
        ([[8, 7, 3, 5]], [[4, 3, 2, 1]], "a label has another score: text 0, place 0"),  # one too many at the top
        ([[7, 3, 5, 1]], [[4, 3, 2, 0.999]], "scores differ: text 0, place 3"),
        ([[7, 3, 5, 1]], [[4, 3, 2, np.nan]], "scores differ: text 0, place 3"),
        ([[7, 3, 3, 1]], [[4, 3, 2, 1]], "a label twice in what was found: text 0, place 1"),
        ([[7, 3, 5, -1]], [[4, 3, 2, -np.inf]], "one ranking ends"),
        ([[7, 3, 5]], [[4, 3, 2]], "expected"),
    ],
)
def test_a_wrong_ranking_does_not_agree(labels, scores, match):
    with pytest.raises(AssertionError, match=match):
        assert_topk_agree(top(labels, scores), near(4, 3, 2, 1))
    with pytest.raises(AssertionError):
        assert_topk_agree(near(4, 3, 2, 1), top(labels, scores))


def test_a_place_without_a_label_has_no_score():
    with pytest.raises(AssertionError, match="a place without a label"):
        assert_topk_agree(top(scores=[SCORES[0], [0.5, 0.25, 0.0, -np.inf]]), top())


def test_a_label_beyond_a_ranking_that_is_not_full_is_no_near_tie():
    with pytest.raises(AssertionError, match="a label has another score: text 0, place 1"):
        assert_topk_agree(top([[2, 8, -1]], [[0.5, 0.25, -np.inf]]), top([[2, 9, -1]], [[0.5, 0.25, -np.inf]]))


@pytest.mark.parametrize("swaps", [1, 3])
def test_random_rankings_with_labels_moved_do_not_agree(swaps, rng):
    scores = -np.sort(-rng.permutation(1000)[:50] / 100)
    labels = rng.permutation(200)[:50]
    moved = labels.copy()
    for place in rng.choice(49, swaps, replace=False):
        moved[[place, place + 1]] = moved[[place + 1, place]]
    assert_topk_agree(top([labels], [scores]), top([labels], [scores]))
    with pytest.raises(AssertionError, match="another score"):
        assert_topk_agree(top([moved], [scores]), top([labels], [scores]))

"""Comparing, hashing and printing what users hold: data sets, rankings, classifiers."""

import numpy as np
import pytest

from megalabel import Corpus
from megalabel.types import TopK


@pytest.fixture
def corpus():
    return Corpus.of(["a", "b"], [["x"], ["x", "y"]], test_texts=["c"], test_labels=[["y"]], name="it")


def test_comparing_is_by_identity_and_raises_nothing(corpus):
    again = Corpus.of(["a", "b"], [["x"], ["x", "y"]])
    for one, two in ((corpus, again), (corpus.train, again.train)):
        assert one == one and one != two and len({one, two, one}) == 2


def test_rankings_are_equal_where_labels_and_scores_are():
    top, same = (TopK(np.array([[1, 2], [3, -1]]), np.array([[0.5, 0.1], [0.2, -np.inf]])) for _ in range(2))
    assert top == same
    assert len({top, same}) == 1
    assert top != TopK(top.ids, top.scores * 2)
    assert top != TopK(top.ids[:1], top.scores[:1])
    assert list(top) == [[(1, 0.5), (2, pytest.approx(0.1))], [(3, pytest.approx(0.2))]]
    assert top == list(top)
    assert top[1] == list(top)[1]
    assert len(top[:1]) == 1
    assert top != "a ranking"
    assert repr(top).splitlines() == ["TopK(2 texts, k = 2)", "  0: 1 0.5, 2 0.1", "  1: 3 0.2"]
    assert np.allclose(top.csr(4).toarray(), [[0, 0.5, 0.1, 0], [0, 0, 0, 0.2]])


def test_printing_is_one_short_line(corpus):
    assert repr(corpus) == "Corpus('it': 2 training texts, 1 test texts, 2 labels)"
    assert repr(corpus.train) == "Split(2 texts, 2 labels, 3 pairs)"
    assert "no test texts" in repr(Corpus.of(["a"], [["x"]]))


def test_a_classifier_says_what_it_is():
    from untrained import untrained

    model = untrained(["cat", "dog", "bee"])
    assert repr(model).endswith("Classifier(3 labels)")

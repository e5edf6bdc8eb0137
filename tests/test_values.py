"""Comparing, hashing and printing what users hold: data sets, rankings, classifiers."""

import pytest

from megalabel import Corpus
from megalabel.types import TopK


@pytest.fixture
def corpus():
    return Corpus.of(["a", "b"], [["x"], ["x", "y"]], test_texts=["c"], test_labels=[["y"]], name="it")


def test_comparing_is_by_identity_and_raises_nothing(corpus):
    again = Corpus.of(["a", "b"], [["x"], ["x", "y"]])
    top, other = TopK([[1, 2]], [[0.5, 0.1]]), TopK([[1, 2]], [[0.5, 0.1]])
    for one, two in ((corpus, again), (corpus.train, again.train), (top, other)):
        assert one == one and one != two and len({one, two, one}) == 2


def test_printing_is_one_short_line(corpus):
    assert repr(corpus) == "Corpus('it': 2 training texts, 1 test texts, 2 labels)"
    assert repr(corpus.train) == "Split(2 texts, 2 labels, 3 pairs)"
    assert "no test texts" in repr(Corpus.of(["a"], [["x"]]))


def test_a_classifier_says_what_it_is():
    from untrained import untrained

    model = untrained(["cat", "dog", "bee"])
    assert repr(model).endswith("Classifier(3 labels)")

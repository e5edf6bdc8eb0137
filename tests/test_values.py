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


def test_notebooks_show_tables_with_escaped_and_shortened_cells(corpus):
    from untrained import untrained

    from megalabel.metrics.results import Metrics
    from megalabel.models.predictions import Predictions

    long = "<b>" + "x" * 200
    named = Corpus.of(["a <i>text</i>"] * 9, [[long]] * 9, name="<name>")
    ids = np.zeros((9, 7), np.int64)
    top = Predictions(ids, np.full((9, 7), 0.25, np.float32), [long], "probability")
    model = untrained([long, "dog", "bee"])
    for shown in (named, top, model, Metrics({"P@1": 50.0, "ECE@5": 2.0})):
        html = shown._repr_html_()
        assert html.count("<table>") == html.count("</table>") >= 1
        assert "<b>x" not in html and "<i>" not in html and "x" * 90 not in html
    assert "&lt;name&gt;: 1 labels" in named._repr_html_() and named._repr_html_().count("a &lt;i&gt;") == 5
    assert "4 more texts, 2 more labels" in top._repr_html_()
    assert max(map(len, repr(top).splitlines())) < 300
    assert "not calibrated" in model._repr_html_()


def test_metrics_are_a_dictionary_that_prints_as_a_table():
    from megalabel.metrics.results import Metrics

    found = Metrics({"P@1": 65.125, "P@5": 30.5, "nDCG@5": 60.0})
    assert found == {"P@1": 65.125, "P@5": 30.5, "nDCG@5": 60.0}
    assert [line.split() for line in repr(found).splitlines()[::2]] == [["@1", "@5"], ["P", "65.12", "30.50"]]
    assert repr(Metrics()) == "Metrics({})"

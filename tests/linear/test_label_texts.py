"""Label texts as rows: what is asked before they are made, and the rows."""

import numpy as np
import pytest
import scipy.sparse as sp

import megalabel.linear.label_texts as own_texts
from megalabel.errors import DataError
from megalabel.inputs.tfidf import l2_rows
from megalabel.linear.label_texts import add_label_text_rows, label_text_precision


def csr(rows):
    return sp.csr_matrix(np.array(rows, dtype=np.float32))


def rows_of(*rows):
    """Rows of length 1."""
    return l2_rows(csr(rows))


NAMES = rows_of([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0])


def test_subjects_are_right():
    texts = rows_of([1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 3])
    assert label_text_precision(texts, csr([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]), NAMES) == 1


def test_items_are_no_labels_of_their_own():
    labels = csr([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    assert label_text_precision(NAMES, labels, NAMES) == 0


def test_only_the_quarter_that_is_most_alike_counts():
    """Of 8 texts, the two most alike to label 0 have it or not; the others would turn the answer around."""
    texts = rows_of(*[[10, 0, 0, 1]] * 2, *[[1, 0, 0, 5]] * 6)
    right = csr([[1, 0, 0]] * 2 + [[0, 1, 0]] * 6)
    wrong = csr([[0, 1, 0]] * 2 + [[1, 0, 0]] * 6)
    half = csr([[1, 0, 0]] + [[0, 1, 0]] * 7)
    assert [label_text_precision(texts, labels, NAMES) for labels in (right, wrong, half)] == [1, 0, 0.5]


def test_texts_like_no_label_are_not_counted():
    texts = rows_of([0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 1])
    assert label_text_precision(texts, csr([[0, 0, 0], [1, 0, 0], [0, 0, 0]]), NAMES) == 1


@pytest.mark.parametrize("names", [NAMES, csr(np.zeros((3, 4)))], ids=["other words", "blank names"])
def test_no_likeness_at_all_is_no_precision(names):
    texts = rows_of([0, 0, 0, 1], [0, 0, 0, 1])
    assert label_text_precision(texts, csr([[1, 0, 0], [1, 1, 1]]), names) == 0
    assert label_text_precision(texts[:0], csr(np.zeros((0, 3))), names) == 0


def test_a_stored_zero_is_no_label():
    labels = csr([[1, 0, 0]])
    labels.data[:] = 0
    assert labels.nnz == 1
    assert label_text_precision(rows_of([1, 0, 0, 0]), labels, NAMES) == 0


def test_no_more_than_a_sample_is_asked(monkeypatch):
    """Of 40 texts with the same words half have the label: the answer is that of the sample alone."""
    asked = []
    product = own_texts.product_keep_largest

    def watched(texts, *rest):
        asked.append(texts.shape[0])
        return product(texts, *rest)

    monkeypatch.setattr(own_texts, "SAMPLE", 4)
    monkeypatch.setattr(own_texts, "product_keep_largest", watched)
    texts = rows_of(*[[1, 0, 0, 0]] * 40)
    labels = csr([[i % 2, 0, 0] for i in range(40)])
    found = [label_text_precision(texts, labels, NAMES, seed=seed) for seed in range(12)]
    assert asked == [4] * 12
    assert set(found) == {0.0, 1.0}
    assert found == [label_text_precision(texts, labels, NAMES, seed=seed) for seed in range(12)]


@pytest.mark.parametrize(
    ("labels", "names"),
    [((3, 3), (3, 4)), ((2, 2), (3, 4)), ((2, 3), (3, 5)), ((2, 3), (2, 4))],
    ids=["texts", "labels", "features", "names"],
)
def test_matrices_that_do_not_fit(labels, names):
    with pytest.raises(DataError, match=r"label texts.*expected \(N, V\), \(N, L\) and \(L, V\)"):
        label_text_precision(csr(np.ones((2, 4))), csr(np.ones(labels)), csr(np.ones(names)))


def test_label_texts_become_rows_with_themselves_as_label():
    texts, labels = rows_of([1, 0, 0, 1], [0, 1, 0, 0]), csr([[1, 0, 1], [0, 1, 0]])
    names = rows_of([1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1])
    x, y, own = add_label_text_rows(texts, labels, names)
    assert own.tolist() == [0, 2]
    assert np.array_equal(x.toarray(), np.concatenate([texts.toarray(), names.toarray()[[0, 2]]]))
    assert y.toarray().tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert (x.format, y.format, x.dtype, y.dtype) == ("csr", "csr", texts.dtype, labels.dtype)


@pytest.mark.parametrize("names", [csr(np.zeros((0, 4))), csr(np.zeros((3, 4)))], ids=["none", "all blank"])
def test_without_names_nothing_is_added(names):
    texts, labels = rows_of([1, 0, 0, 1]), csr([[1, 0, 1]])
    x, y, own = add_label_text_rows(texts, labels, names)
    assert (x != texts).nnz == (y != labels).nnz == len(own) == 0
    assert x.shape == texts.shape
    assert y.shape == labels.shape

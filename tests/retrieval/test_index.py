"""The index of training rows: labels that occur together, label documents, search, further rows, its folder."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError, FormatError
from megalabel.retrieval.co_occurrence import labels_beside
from megalabel.retrieval.index import RetrievalIndex


def rows(seed: int, n: int, n_features: int = 40, n_labels: int = 12) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    x = sp.random(n, n_features, density=0.2, format="csr", random_state=seed, dtype=np.float32)
    lengths = np.sqrt(np.asarray(x.multiply(x).sum(axis=1)).ravel())
    x = (sp.diags((1 / np.maximum(lengths, 1e-9)).astype(np.float32)) @ x).tocsr()
    labels = sp.random(n, n_labels, density=0.2, format="csr", random_state=seed + 1, dtype=np.float32)
    labels.data[:] = 1
    return x, labels


def test_how_often_labels_occur_beside_others():
    labels = sp.csr_matrix(np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32))
    beside, counts = labels_beside(labels)
    assert counts.tolist() == [3, 2, 0]
    np.testing.assert_allclose(beside.toarray(), [[0, 2 / 5, 0], [2 / 4, 0, 0], [0, 0, 0]])


def test_a_label_document_is_the_direction_of_the_sum_of_its_rows():
    x, labels = rows(0, 30)
    index = RetrievalIndex.build(x, labels, np.arange(30))
    sums = (labels.T @ x).toarray()
    expected = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(index.documents.matrix().toarray().T, expected, atol=1e-6)


def test_a_text_is_its_own_nearest_row_unless_it_is_left_out():
    x, labels = rows(0, 50)
    index = RetrievalIndex.build(x, labels, np.arange(50))
    full = np.flatnonzero(np.diff(x.indptr))
    found, _ = index.near(x[full])
    assert np.array_equal(found.ids[:, 0], full)
    np.testing.assert_allclose(found.scores[:, 0], 1, rtol=1e-5)
    others, _ = index.near(x[full], exclude=full)
    assert not (others.ids == full[:, None]).any()
    assert (others.scores[:, 0] < 1).all()


def test_rows_that_are_added_give_the_index_that_all_rows_would_have_given():
    x, labels = rows(0, 60)
    both = RetrievalIndex.build(x, labels, np.arange(60))
    added = RetrievalIndex.build(x[:40], labels[:40], np.arange(40)).with_rows(
        x[40:], labels[40:], np.arange(40, 60)
    )
    for a, b in zip((*both.near(x), *both.known), (*added.near(x), *added.known), strict=True):
        a, b = ([*m] if isinstance(m, tuple) else [m.toarray()] if sp.issparse(m) else [m] for m in (a, b))
        assert all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


def test_label_texts_do_not_count_as_texts():
    x, labels = rows(0, 20)
    index = RetrievalIndex.build(x, labels, np.r_[np.arange(15), -1 - np.arange(5)])
    assert np.array_equal(index.known.counts, np.asarray(labels[:15].sum(axis=0)).ravel())


def test_features_of_many_rows_are_not_searched():
    x = sp.csr_matrix(np.c_[np.full(300, 0.6), np.full(300, 0.8) * (np.arange(300) < 3)].astype(np.float32))
    index = RetrievalIndex.build(x, sp.csr_matrix(np.ones((300, 1), np.float32)), np.arange(300))
    assert (index.near(sp.csr_matrix(np.array([[1, 0]], np.float32)))[0].ids == -1).all()
    assert index.near(sp.csr_matrix(np.array([[0.6, 0.8]], np.float32)))[0].ids[0, :4].tolist() == [0, 1, 2, -1]


def test_the_folder_comes_back_memory_mapped(tmp_path):
    x, labels = rows(0, 50)
    index = RetrievalIndex.build(x, labels, np.arange(50))
    index.save(tmp_path / "index")
    again = RetrievalIndex.load(tmp_path / "index")
    for array in (again.rows.rows, again.rows.values, again.documents.values, again.known.row_labels.indices):
        while not isinstance(array, np.memmap):
            array = array.base
            assert array is not None
    for a, b in zip(index.near(x), again.near(x), strict=True):
        assert np.array_equal(a.ids, b.ids) and np.array_equal(a.scores, b.scores)


def test_a_damaged_folder_and_parts_that_do_not_fit_are_refused(tmp_path):
    x, labels = rows(0, 50)
    with pytest.raises(DataError, match="50 rows"):
        RetrievalIndex.build(x, labels[:49], np.arange(50))
    RetrievalIndex.build(x, labels, np.arange(50)).save(tmp_path / "index")
    np.save(tmp_path / "index" / "counts.npy", np.zeros(3, np.float32))
    with pytest.raises(FormatError):
        RetrievalIndex.load(tmp_path / "index")


def test_without_rows_nothing_is_near():
    index = RetrievalIndex.without_rows(rows(0, 50)[1])
    rows_found, documents = index.near(sp.csr_matrix((3, 7), dtype=np.float32))
    assert rows_found.ids.shape == documents.ids.shape == (3, 0)
    assert index.known.counts.sum() > 0

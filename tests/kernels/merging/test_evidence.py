"""Candidates and their features: the compiled implementation against the plain one, and the plain one by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from support.backends import using

from megalabel.errors import DataError
from megalabel.kernels.merging._cpu import evidence as fast
from megalabel.kernels.merging.evidence import evidence, n_features
from megalabel.kernels.merging.ranked import BESIDES, NO_RANKING, OWN, Knowledge, Ranked


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(fast, "_BLOCK", 7)
    yield
    torch.set_num_threads(before)


def ranked(random, n: int, k: int, most: int, low: float, high: float) -> Ranked:
    """Rankings of up to k of `most` things, which end early in some texts."""
    ids = np.argsort(random.random((n, most)), axis=1)[:, :k]
    scores = -np.sort(-random.uniform(low, high, ids.shape), axis=1).astype(np.float32)
    missing = np.arange(ids.shape[1]) >= random.integers(0, k + 1, n)[:, None]
    return Ranked(np.where(missing, -1, ids), np.where(missing, 0, scores).astype(np.float32))


def problem(seed: int, n: int, n_labels: int, n_rows: int, near: int):
    random = np.random.default_rng(seed)
    labels = sp.random(n_rows, n_labels, density=0.05, format="csr", random_state=seed, dtype=np.float32)
    labels.data[:] = random.integers(0, 3, labels.nnz)  # some zeros are stored
    beside = sp.random(n_labels, n_labels, density=0.1, format="csr", random_state=seed + 1, dtype=np.float32)
    counts = np.asarray((labels > 0).sum(axis=0)).ravel().astype(np.float32)
    tables = [ranked(random, n, k, n_labels, low, high) for k, low, high in ((30, 0, 1), (50, -5, 5), (20, -5, 5))]
    rows, documents = ranked(random, n, near, max(n_rows, 1), 0, 1), ranked(random, n, near // 2, n_labels, 0, 1)
    return tables[0], tables[1:], rows, documents, Knowledge(labels, beside, counts)


@pytest.mark.parametrize(
    ("n", "n_labels", "n_rows", "near"), [(1, 3, 2, 2), (60, 80, 100, 50), (200, 2000, 900, 50)]
)
def test_both_implementations_agree(n, n_labels, n_rows, near):
    given = problem(0, n, n_labels, n_rows, near)
    ids, features = using("plain", evidence, *given)
    found = using("cpu", evidence, *given)
    assert np.array_equal(found[0], ids)
    np.testing.assert_allclose(found[1], features, rtol=1e-4, atol=1e-5)
    again = using("cpu", evidence, *given)  # a thread's sums are zero after each text
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_without_rows_and_documents_their_features_are_zero(backend):
    merged, rankings, _, _, known = problem(1, 20, 50, 30, 4)
    none = Ranked(np.zeros((20, 0), np.int64), np.zeros((20, 0), np.float32))
    ids, features = using(backend, evidence, merged, rankings, none, none, known)
    assert ids.shape == (20, 30 + BESIDES) and features.shape == (*ids.shape, n_features(2))
    assert (features[:, :, 6:10] == 0).all() and (features[:, :, -2:] == 0).all()


@pytest.mark.parametrize("backend", ["plain", "cpu"])
def test_features_of_two_texts_by_hand(backend):
    merged = Ranked(np.array([[2, 0], [-1, -1]]), np.array([[0.8, 0.5], [0, 0]], np.float32))
    ranking = Ranked(np.array([[0], [-1]]), np.array([[1.5], [0]], np.float32))
    rows = Ranked(np.array([[1, 0], [0, -1]]), np.array([[0.5, 0.25], [1.0, 0]], np.float32))
    documents = Ranked(np.array([[3], [-1]]), np.array([[0.75], [0]], np.float32))
    labels = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 0, 0]], np.float32))
    beside = sp.csr_matrix(np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, 0, 0]], np.float32))
    known = Knowledge(labels, beside, np.array([4, 1, 2, 0], np.float32))
    ids, features = using(backend, evidence, merged, [ranking], rows, documents, known)
    assert [row[row >= 0].tolist() for row in ids] == [[2, 0, 1, 3], [0, 1]]
    context = [0.8, 0.5, 0.8**2 + 0.5**2, 0.5, 0.75]
    squares = 0.5**2 + 0.25**2
    first = [0.8, 1, 0.5, 0, *[0] * 5, OWN, OWN, 0, 0, *context]
    second = [0.5, 0.5, 1.5, 1, 0.25**2 / squares, 0.25 / 0.75, 0.25, 0, 0.8**2 * 0.5]
    np.testing.assert_allclose(features[0, 0], first, rtol=1e-5)
    np.testing.assert_allclose(features[0, 1][:9], second, rtol=1e-5)
    np.testing.assert_allclose(features[0, 1][9:13], [0.5, 0.5 * 4 / 6, OWN, OWN], rtol=1e-5)
    assert features[0, 3, 7] == 0.75
    assert features[1, 0, 2] == NO_RANKING - 1 and features[1, 0, 4] == 1


def test_ids_out_of_range_are_refused():
    merged, rankings, rows, documents, known = problem(1, 20, 50, 30, 4)
    wrong = merged._replace(ids=np.where(merged.ids >= 0, 50, -1))
    with pytest.raises(DataError, match="label 50 of 50"):
        evidence(wrong, rankings, rows, documents, known)
    with pytest.raises(DataError, match="shapes"):
        evidence(merged, rankings, Ranked(rows.ids[:3], rows.scores[:3]), documents, known)

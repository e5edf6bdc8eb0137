from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, SettingError
from megalabel.labels.features import feature_sources, fill_empty_rows, label_features, pifa

TEXTS = ["striped wild cat", "wild dog", "dog dog barks", "a small bird", "tiny bird sings"]
LABELS = [[0], [0, 1], [1], [2], [2]]
NAMES = ["cat", "dog", "bird", "wild boar", "", "xyzzy"]  # the last three have no training text


@pytest.fixture
def data():
    return Corpus.of(TEXTS, LABELS, NAMES)


def features(data, source, *, rows=None, keep=1000, **settings):
    found = feature_sources(
        data, rows, source=source, **{"tokenizer": "words", "vocabulary": 50, "max_length": 9, **settings}
    )
    return label_features(found, source, keep), found


def lengths(matrix):
    return np.linalg.norm(matrix.toarray(), axis=1)


def test_texts_are_summed_and_not_scaled(data):
    got, found = features(data, "texts")
    wanted = data.train.labels.T.toarray() @ found.texts.toarray()
    np.testing.assert_allclose(got.toarray()[:3], wanted[:3], rtol=1e-6)
    assert lengths(got)[0] > 1.1  # two texts; a mean of directions would be 1 or less
    np.testing.assert_allclose(lengths(found.texts), 1, rtol=1e-6)


def test_a_label_without_texts_takes_its_name_in_the_space_of_the_texts(data):
    got, _ = features(data, "texts")
    dense = got.toarray()
    assert dense[3] @ dense[0] > 0  # "wild boar" meets "wild" of the cat's texts
    assert dense[3] @ dense[2] == 0
    np.testing.assert_allclose(lengths(got)[3:], [1, 0, 1], rtol=1e-6)  # a blank name is a row of zeros


def test_names_are_the_label_texts_alone(data):
    got, found = features(data, "names")
    assert found.texts.nnz == 0
    np.testing.assert_allclose(lengths(got), [1, 1, 1, 1, 0, 1], rtol=1e-6)
    assert got.nnz == 6


def test_both_are_side_by_side_and_weigh_alike(data):
    got, found = features(data, "both")
    width = found.names.shape[1]
    assert got.shape == (6, 2 * width)
    np.testing.assert_allclose(lengths(got[:, :width]), [1, 1, 1, 0, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(lengths(got[:, width:]), [1, 1, 1, 1, 0, 1], rtol=1e-6)


def test_the_largest_are_kept(data):
    got, found = features(data, "texts", keep=2)
    whole = (data.train.labels.T @ found.texts).toarray()
    assert np.diff(got.indptr)[:3].tolist() == [2, 2, 2]
    for row, wanted in zip(got.toarray()[:3], whole[:3], strict=True):
        assert row.sum() == pytest.approx(np.sort(wanted)[-2:].sum(), rel=1e-6)


def test_held_out_texts_leave_no_trace(data):
    rows = np.array([0, 2, 4])
    got, found = features(data, "texts", rows=rows)
    same = Corpus.of([TEXTS[i] for i in rows], [LABELS[i] for i in rows], NAMES)
    again, _ = features(same, "texts")
    assert found.texts.shape[0] == 3
    assert (got != again).nnz == 0


def test_bags_of_words_are_the_features_of_texts_that_have_none(data):
    bags = sp.csr_matrix(np.array([[2, 0, 0], [3, 4, 0], [0, 1, 0], [0, 0, 5], [0, 0, 1]], dtype=np.float32))
    bagged = replace(data, train=replace(data.train, features=bags))
    got, _ = features(bagged, "texts")
    np.testing.assert_allclose(got.toarray()[:3], [[1.6, 0.8, 0], [0.6, 1.8, 0], [0, 0, 2]], rtol=1e-6)
    assert (lengths(got)[3:] == 0).all()  # names have no place among the bags' columns
    assert bags[1, 1] == 4  # untouched
    both, _ = features(bagged, "both", rows=np.array([0, 3]))
    assert both.shape[1] > 3
    assert lengths(both)[3] == pytest.approx(1)


def test_symbols_are_told_apart_as_they_stand():
    data = Corpus.of(["A->B", "a->b"], [[0], [1]], ["x", "y"])
    dense = features(data, "texts", tokenizer="symbols")[0].toarray()
    assert dense[0] @ dense[1] == 0
    dense = features(data, "texts", tokenizer="words")[0].toarray()
    assert dense[0] @ dense[1] == pytest.approx(1)


def test_unknown_words_make_no_labels_alike():
    data = Corpus.of(["common rare1", "common rare2", "rare3", "rare4"], [[0], [0], [1], [2]], ["p", "q", "r"])
    dense = features(data, "texts", vocabulary=3)[0].toarray()  # padding, unknown, one word
    assert (dense[1] == 0).all()
    assert (dense[2] == 0).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "titles"}, "texts, names, both"),
        ({"tokenizer": "own"}, "words, symbols"),
        ({"vocabulary": 2}, "3"),
    ],
)
def test_unknown_settings_are_refused(data, settings, said):
    with pytest.raises(SettingError, match=said):
        features(data, **{"source": "texts", **settings})


def test_no_feature_at_all_is_refused():
    with pytest.raises(DataError, match="no label has a feature from its names"):
        features(Corpus.of(["a"], [[0]], ["", " "]), "names")


def test_pifa_and_filled_rows_by_hand():
    labels = sp.csr_matrix(np.array([[1, 0, 0], [1, 1, 0]], dtype=np.float32))
    texts = sp.csr_matrix(np.array([[1, 0, 2], [0, 3, 1]], dtype=np.float32))
    sums = pifa(labels, texts, 2)
    assert sums.toarray().tolist() == [[0, 3, 3], [0, 3, 1], [0, 0, 0]]
    others = sp.csr_matrix(np.full((3, 3), 7, dtype=np.float32))
    assert fill_empty_rows(sums, others).toarray().tolist() == [[0, 3, 3], [0, 3, 1], [7, 7, 7]]

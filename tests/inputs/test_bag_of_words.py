"""BagOfWords of words at the door: rows of length 1, and what is refused before anything is computed."""

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.texts import check_list
from megalabel.errors import DataError, SettingError
from megalabel.inputs.bag_of_words import BagOfWords, check_text_settings_unused
from megalabel.inputs.words import check_has_words

ROWS = np.array([[3, 0, -4], [0, 0, 0], [0, 1e-3, 0]])


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_rows_get_length_one_and_the_input_stays(kind, form):
    rows = form(ROWS.astype(kind))
    before = rows.toarray()
    found = BagOfWords(3).transform(rows)
    assert (found.dtype, found.format) == (np.float32, "csr")
    last = 0 if kind is np.int64 else 1
    np.testing.assert_allclose(found.toarray(), [[0.6, 0, -0.8], [0, 0, 0], [0, last, 0]], rtol=1e-6)
    assert np.array_equal(rows.toarray(), before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e60, 1e-42])  # the last: a length without an inverse
def test_what_float32_does_not_hold_is_refused(value):
    with pytest.raises(DataError, match=r"texts contains .*finite numbers"):
        BagOfWords(2).transform(sp.csr_matrix([[1.0, 0.0], [value, 0.0]]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["w1a w1b"], "a list; expected a scipy sparse matrix"),
        ("w1a", "a str; expected a scipy sparse matrix"),
        (ROWS, "an ndarray; expected a scipy sparse matrix"),
        (sp.csr_matrix((2, 4)), "rows of 4 features; expected 3"),
        pytest.param(
            sp.coo_array(np.ones(3)),
            "CSR matrix",
            marks=pytest.mark.skipif(
                sp.coo_array(np.ones(3)).ndim == 2, reason="this version of SciPy has no sparse vectors"
            ),
        ),
    ],
)
def test_what_are_no_rows_of_these_features_is_refused(asked, said):
    with pytest.raises(DataError, match=said):
        BagOfWords(3).check(asked)


def test_something_to_learn_from_is_wanted():
    assert BagOfWords.from_rows(sp.csr_matrix(ROWS)).size == 3
    zeros = sp.csr_matrix(ROWS)
    zeros.data[:] = 0
    with pytest.raises(DataError, match="none of 3 training rows has a feature"):
        BagOfWords.from_rows(zeros)
    with pytest.raises(DataError, match="bags of words of 0 features"):
        BagOfWords.from_rows(sp.csr_matrix((3, 0)))


def test_a_list_of_texts_is_told_from_rows_and_from_one_text():
    check_list(["a"])
    check_list(np.array(["a", "b"]))
    with pytest.raises(SettingError, match="one string"):
        check_list("a")
    for none in (None, 7, (text for text in "ab")):
        with pytest.raises(SettingError, match="expected a list of texts"):
            check_list(none)
    with pytest.raises(DataError, match=r"a sparse matrix of shape \(3, 3\).*a list of texts"):
        check_list(sp.csr_matrix(ROWS))


def test_settings_of_texts_are_named_with_their_default():
    def learn(*, split="letters", keep=3):
        return split, keep

    check_text_settings_unused(learn, split="letters", keep=3)
    with pytest.raises(SettingError, match=r"keep = 4.*expected keep = 3"):
        check_text_settings_unused(learn, split="letters", keep=4)


def test_words_are_looked_for_no_further_than_to_the_first():
    def texts():
        yield from ("", "...", "a word")
        raise AssertionError

    check_has_words(texts(), "letters")
    check_has_words(["..."], "words")
    for none in ([], ["", " "], ["..."]):
        with pytest.raises(DataError, match="no text has a word"):
            check_has_words(none, "letters")

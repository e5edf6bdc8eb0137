import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.errors import SettingError
from megalabel.inputs import tfidf as module
from megalabel.inputs.tfidf import l2_rows, learn_idf, term_counts, tfidf, weigh
from megalabel.inputs.token_store import TokenStore
from megalabel.inputs.tokenizer import learn_tokenizer

TEXTS = ["", "cat cat dog", "a cat", "bird, bird bird a", "zebra", ""]


def store_of(texts, size=100):
    texts = Texts.from_strings(texts)
    tokenizer = learn_tokenizer(texts, size)
    return TokenStore.build(texts, tokenizer, 50), tokenizer


def by_hand(store, skip=()):
    """The definition, text by text, in float64."""
    n, size = len(store), store.manifest["vocabulary_size"]
    counts = np.zeros((n, size))
    for i in range(n):
        for token in store.ids[store.offsets[i] : store.offsets[i + 1]]:
            if token not in skip:
                counts[i, token] += 1
    idf = np.log((1 + n) / (1 + (counts > 0).sum(axis=0))) + 1
    weights = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    lengths = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return weights / np.where(lengths > 0, lengths, 1), idf


@pytest.mark.parametrize("block", [1, 3, 1 << 22])
@pytest.mark.parametrize("skip", [(), (1, 4)])
def test_equals_the_definition_whatever_the_block(monkeypatch, block, skip):
    monkeypatch.setattr(module, "BLOCK", block)
    store, _ = store_of(TEXTS)
    found, idf = tfidf(store, skip=skip)
    wanted, wanted_idf = by_hand(store, skip)
    assert found.dtype == np.float32
    assert idf.dtype == np.float32
    assert found.has_canonical_format
    assert found.nnz == (wanted > 0).sum()
    np.testing.assert_allclose(found.toarray(), wanted, rtol=1e-5)
    np.testing.assert_allclose(idf, wanted_idf, rtol=1e-6)


def test_a_text_without_tokens_is_a_row_of_zeros_and_others_have_length_one():
    found, _ = tfidf(store_of(TEXTS)[0])
    np.testing.assert_allclose(np.linalg.norm(found.toarray(), axis=1), [0, 1, 1, 1, 1, 0], atol=1e-6)


def test_the_idf_of_one_side_weighs_another():
    store, tokenizer = store_of(TEXTS)
    _, idf = tfidf(store)
    other = TokenStore.build(Texts.from_strings(["zebra cat"]), tokenizer, 50)
    found, same = tfidf(other, idf=idf)
    cat, zebra = (tokenizer.tokenizer.token_to_id(word) for word in ("cat", "zebra"))
    assert same is idf
    assert idf[zebra] > idf[cat]
    assert found[0, zebra] / found[0, cat] == pytest.approx(idf[zebra] / idf[cat], rel=1e-5)


def test_an_idf_of_another_vocabulary_is_refused():
    counts = term_counts(store_of(TEXTS)[0])
    with pytest.raises(SettingError, match="vocabulary of"):
        weigh(counts, np.ones(3, dtype=np.float32))


def test_idf_counts_texts_not_tokens():
    store, tokenizer = store_of(["x x x x", "y", "y"])
    idf = learn_idf(term_counts(store))
    x, y = (tokenizer.tokenizer.token_to_id(word) for word in "xy")
    assert idf[x] == pytest.approx(np.log(4 / 2) + 1)
    assert idf[y] == pytest.approx(np.log(4 / 3) + 1)


def test_no_texts_at_all():
    _, tokenizer = store_of(TEXTS)
    found, idf = tfidf(TokenStore.build(Texts.from_strings([]), tokenizer, 50))
    assert found.shape == (0, tokenizer.vocabulary_size)
    assert (idf == 1).all()


def test_l2_rows_skips_rows_of_stored_zeros():
    matrix = sp.csr_matrix(np.array([[3.0, 4, 0], [0, 0, 0], [0, 0, 2]], dtype=np.float32))
    matrix.data[-1] = 0
    np.testing.assert_allclose(l2_rows(matrix).toarray(), [[0.6, 0.8, 0], [0, 0, 0], [0, 0, 0]], rtol=1e-6)

"""Which characters of a text its words, features and tokens come from."""

from __future__ import annotations

import numpy as np
import pytest

from megalabel.inputs.spans import feature_shares, on_words, split_with_spans, token_spans, without_words, words_of
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.inputs.words import split_words


@pytest.mark.parametrize("pattern", ["letters", "words", "signs", "symbols"])
def test_words_with_their_characters_are_the_words_that_features_are_made_of(pattern):
    for text in ("Ünïted Státes' laws, İstanbul", "東京 ok\0x", "", " a  b→→c ", "e\u0301tat क्षि 1.5", "ŉ ß ﬁ"):
        words, spans = split_with_spans(text, pattern)
        assert words == split_words([text], pattern)
        for word, (start, stop) in zip(words[:-1], spans.tolist(), strict=False):
            assert 0 <= start < stop <= len(text)
            assert text[start:stop].lower()[:1] or word


def test_words_are_those_of_the_text_as_it_is():
    text = "Don't cut Ünïted 東京, क्षि!"
    assert [text[a:b] for a, b in words_of(text)] == [
        "Don",
        "'",
        "t",
        "cut",
        "Ünïted",
        "東",
        "京",
        ",",
        "क्षि",
        "!",
    ]
    assert words_of("").shape == (0, 2)
    assert without_words("one two three", words_of("one two three"), [2, 0]) == "  two  "


@pytest.mark.parametrize("char_ngrams", [None, (2, 4)])
def test_the_shares_of_each_feature_sum_to_one(char_ngrams):
    text = SparseText.learn(["a red fox", "a red Fox and a hen", "red hen"], char_ngrams=char_ngrams)
    line = "A red fox, a RED hen! unknown"
    spans, shares = feature_shares(text, line)
    x = text.transform([line])
    sums = np.asarray(shares.sum(axis=0)).ravel()
    np.testing.assert_allclose(sums[x.indices], 1)
    assert sums.sum() == pytest.approx(x.nnz)
    assert [line[a:b] for a, b in spans[:-1]] == ["A", "red", "fox", "a", "RED", "hen", "unknown"]


def test_values_of_parts_are_added_up_by_word_and_the_rest_is_told():
    words = words_of("ab cd ef")
    spans = np.array([[0, 2], [3, 4], [4, 5], [0, 5], [2, 3], [0, 0]])
    sums, rest = on_words(words, spans, np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    np.testing.assert_allclose(sums, [3, 7, 0])
    assert rest == 11


def test_tokens_have_the_characters_they_come_from():
    tokenizer = learn_tokenizer(["a red fox"], 10)
    ids, spans, special = token_spans(tokenizer, "Red unknown fox fox", 3)
    assert ids == tokenizer.encode(["Red unknown fox fox"], 3)[0]
    assert spans.tolist() == [[0, 3], [4, 11], [12, 15]]
    assert not special.any()

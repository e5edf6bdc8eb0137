"""Learning a vocabulary and making the rows of its texts at once."""

import random

import numpy as np
import pytest

from megalabel.data.texts import Texts
from megalabel.errors import DataError
from megalabel.inputs import ngrams
from megalabel.inputs import sparse_text as module
from megalabel.inputs.sparse_text import SparseText


def some_texts(seed: int, n: int = 40) -> list[str]:
    draw = random.Random(seed)
    words = [draw.choice("abcde") * draw.randint(1, 4) + draw.choice(["", "é", "x"]) for _ in range(30)]
    return [" ".join(draw.choices(words, k=draw.choice([0, 1, 2, 5, 30]))) for _ in range(n)]


@pytest.mark.parametrize("options", [{}, {"bigrams": False}, {"char_ngrams": (3, 4)}, {"vocabulary": 60}])
def test_learning_and_transforming_at_once_gives_the_same_rows(options, monkeypatch):
    texts = ["", *some_texts(3), "of no other text", ""]
    monkeypatch.setattr(module, "BLOCK", 7)
    learned, x = SparseText.learn_rows(texts[:9], texts[9:], pattern="signs", **options)
    apart = SparseText.learn(texts, pattern="signs", **options)
    assert learned.words == apart.words
    assert np.array_equal(learned.bigrams, apart.bigrams)
    assert x.shape == (len(texts), learned.size)
    assert (x != apart.transform(texts)).nnz == 0


def test_parts_may_be_of_any_kind_and_need_words():
    parts = Texts.from_strings(["a b", "b c"]), ["c d"], []
    learned, x = SparseText.learn_rows(*parts)
    assert (x != SparseText.learn(["a b", "b c", "c d"]).transform(["a b", "b c", "c d"])).nnz == 0
    assert learned.words == ["b", "c", "a", "d"]
    with pytest.raises(DataError):
        SparseText.learn_rows(["", "?"], [])


def test_known_words_change_no_feature_and_their_number_is_bounded(monkeypatch):
    monkeypatch.setattr(ngrams, "_KNOWN", 3)
    texts = ["one two three", "two four five", "", "five one six"]
    learned = SparseText.learn(texts, char_ngrams=(2, 4))
    first = learned.transform(texts)
    again = learned.transform(texts)
    assert len(learned._char_ngrams_of_word) == 3
    assert (first != again).nnz == 0
    assert (first != SparseText.learn(texts, char_ngrams=(2, 4)).transform(texts)).nnz == 0

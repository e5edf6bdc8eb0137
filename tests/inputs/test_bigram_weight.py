"""The weight of bigrams beside words."""

import numpy as np

from megalabel.inputs.sparse_text import SparseText

TEXTS = ["a cat sat on the mat", "the cat saw a dog", "a dog sat on the cat", "dogs and cats"]


def test_bigrams_can_weigh_less():
    plain, half = SparseText.learn(TEXTS), SparseText.learn(TEXTS, bigram_weight=0.5)
    n = len(plain.words)
    assert np.array_equal(half.idf[:n], plain.idf[:n])
    assert np.array_equal(half.idf[n:], plain.idf[n:] * np.float32(0.5))
    assert len(plain.bigrams)

"""The weight of bigrams in sparse features."""

import numpy as np

from megalabel.inputs.sparse_text import SparseText

TEXTS = ["red wine of the south", "white wine of the north", "dark beer"]


def test_bigrams_can_weigh_less():
    plain, half = SparseText.learn(TEXTS), SparseText.learn(TEXTS, bigram_weight=0.5)
    n = len(plain.words)
    assert np.array_equal(half.idf[:n], plain.idf[:n])
    assert np.array_equal(half.idf[n:], plain.idf[n:] * np.float32(0.5))
    assert len(plain.bigrams)

"""Long texts: the features of a chunk are looked up in the text, with the results of the other look-ups."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks


def test_a_long_text_gets_the_same_bits_alone_and_among_others(seed):
    rng = np.random.default_rng(seed)
    offsets = [np.array([0, 7]), np.arange(0, 7 * 9 + 1, 9), np.arange(0, 63 * 5 + 1, 5)]
    levels = [
        Chunks.from_weights(sp.random(o[-1], 501, 0.2, format="csr", dtype=np.float32, random_state=rng), o)
        for o in offsets
    ]
    x = sp.random(40, 500, 0.6, format="csr", dtype=np.float32, random_state=rng)
    search = SparseBeam(levels, rng.permutation(315), [3, 6])
    whole = search(x, 9)  # looked up in tables
    few = search(x[:8], 9)
    alone = [search(x[[t]], 9) for t in range(20)]
    np.testing.assert_array_equal(np.concatenate([one.ids for one in alone]), whole.ids[:20])
    np.testing.assert_array_equal(np.concatenate([one.scores for one in alone]), whole.scores[:20])
    np.testing.assert_array_equal(few.ids, whole.ids[:8])
    np.testing.assert_array_equal(few.scores, whole.scores[:8])

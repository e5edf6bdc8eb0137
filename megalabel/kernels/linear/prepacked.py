"""The weights of a level of a label tree as records in a hash table, in which a search waits less for memory.

To find a feature in a chunk of `sparse_chunks.py`, a binary search reads a dozen places of a large array, and then
four other arrays. Here a row is one record of 32-bit words,

    header     256 · feature + number of weights − 1
    children   the position of each weight's child among its siblings, one byte each, up to a whole word
    weights    float32 each

without positions where at least half of the children have a weight, and then with zeros for the others. Records
lie by chunk and by a hash of their feature; a look-up reads two places. Searches answer with the same bits, as the
weights are added in the same order. On wordnet with three trees (623 MB), records take 821 MB.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.linear._beam_arrays import Level, records

_COMPILED = Operation(__package__, "prepacked")
_FEATURES, _CHILDREN, _WORDS = 1 << 24, 1 << 8, 1 << 32  # that headers, children and places of records can hold


def prepacked(level: Level, n_features: int) -> Level:
    """The level with its weights as records as well, where records can hold them and it has none.

    Records hold float32 weights of chunks of at most 256 children, and up to 2²⁴ features.

    Args:
        level: a level.
        n_features: V.
    """
    most_words = 2 * (len(level.features) + len(level.weights))
    fits = level.width <= _CHILDREN and n_features <= _FEATURES and most_words < _WORDS
    if len(level.records.buckets) or level.weights.dtype != np.float32 or not fits:
        return level
    rows = level.starts[level.ranges :: level.ranges] - level.starts[: -level.ranges : level.ranges]
    fast = _COMPILED.always()
    first_buckets = np.append(0, np.cumsum(np.maximum(rows, 1)))  # one per row
    sizes = np.zeros(first_buckets[-1] + 1, np.uint32)
    fast.count_words(level, first_buckets, sizes)
    buckets = np.cumsum(sizes, dtype=np.uint32)
    words = np.zeros(int(buckets[-1]), np.uint32)
    fast.write_records(level, first_buckets, buckets.copy(), words, words.view(np.uint8), words.view(np.float32))
    return level._replace(records=records(first_buckets, buckets, words))

"""Texts whose labels come in groups, of which the text names one."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

GROUPS, SIZE = 10, 4
L = GROUPS * SIZE
NAMES = [f"label {i}" for i in range(L)]


def grouped(n: int, seed: int) -> tuple[list[str], sp.csr_matrix]:
    """Texts of which each has the labels of a group, but only the words of one of them."""
    random = np.random.default_rng(seed)
    labels, texts = sp.lil_matrix((n, L), dtype=np.float32), []
    for row in range(n):
        group = int(random.integers(GROUPS))
        own = group * SIZE + random.permutation(SIZE)[: random.integers(2, SIZE + 1)]
        labels[row, own] = 1
        texts.append(f"w{int(own[0])} noise{int(random.integers(20))} noise{int(random.integers(20))}")
    return texts, labels.tocsr()

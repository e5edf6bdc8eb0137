"""Numba code that rounds to 8-bit integers: rows (`search/groups.py`) and texts (`label_search.py`)."""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper


@compiled
def quantize_texts(x, words, traits):
    """Writes the texts x (n, D) as bytes to words (n, W) int32, and their traits (n, 3): `label_search.py`."""
    raw = words.view(np.uint8)
    for i in range(len(x)):
        scale = _scale(x[i])
        square, left = np.float32(0), np.float32(0)
        for j in range(x.shape[1]):
            code = np.rint(x[i, j] / scale)
            raw[i, j] = np.uint8(np.int32(code) + 128)
            rest = x[i, j] - scale * code
            square += x[i, j] * x[i, j]
            left += rest * rest
        traits[i, 0], traits[i, 1], traits[i, 2] = scale, np.sqrt(square), np.sqrt(left)


@compiled
def pack_rows(rows, codes, sums, facts):
    """Writes rows (16 G, D) float32 as the groups of a level: codes (G, W, 64), sums (G, 16), facts (G, 4, 16)."""
    for i in range(len(rows)):
        group, lane = i // 16, i % 16
        scale, total = _scale(rows[i]), np.int32(0)
        square, left = np.float32(0), np.float32(0)
        for j in range(rows.shape[1]):
            code = np.rint(rows[i, j] / scale)
            codes[group, j // 4, 4 * lane + j % 4] = np.int8(code)
            total += np.int32(code)
            rest = rows[i, j] - scale * code
            square += scale * code * scale * code
            left += rest * rest
        sums[group, lane] = -128 * total
        facts[group, 0, lane], facts[group, 2, lane], facts[group, 3, lane] = scale, np.sqrt(left), np.sqrt(square)


@helper
def _scale(row):
    """What one step of an 8-bit integer from −127 to 127 stands for in a row; 1 for a row of zeros."""
    largest = np.float32(0)
    for j in range(len(row)):
        largest = max(largest, abs(row[j]))
    scale = largest / np.float32(127)
    return scale if scale > 0 else np.float32(1)

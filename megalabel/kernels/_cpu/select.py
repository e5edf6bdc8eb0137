"""Keeps the k best labels of each row while chunks of scores pass by, skipping blocks that cannot enter."""

import numpy as np

from megalabel.kernels._cpu.hits import compiled

_BLOCK = 64  # one vectorised maximum decides about this many scores


@compiled
def merge_chunk(z: np.ndarray, first: int, best: np.ndarray, labels: np.ndarray) -> None:
    """Scores z (B, n) float32 of labels first … first + n − 1 enter best and labels (B, k), in place.

    Chunks of one state come in rising order of labels. NaN and -inf never enter.
    """
    n = z.shape[1]
    k = best.shape[1]
    for b in range(z.shape[0]):
        row = z[b]
        bar = best[b, k - 1]
        for start in range(0, n, _BLOCK):
            stop = min(start + _BLOCK, n)
            above = np.int32(0)
            for i in range(start, stop):
                above |= np.int32(row[i] > bar)
            if above == 0:
                continue
            for i in range(start, stop):
                score = row[i]
                if score > bar:  # strictly: labels come in rising order, so a tie keeps the lower id
                    place = k - 1
                    while place > 0 and best[b, place - 1] < score:
                        best[b, place] = best[b, place - 1]
                        labels[b, place] = labels[b, place - 1]
                        place -= 1
                    best[b, place] = score
                    labels[b, place] = first + i
                    bar = best[b, k - 1]

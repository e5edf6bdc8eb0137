"""The rows of a parent with renumbered features: those shared by several rows, and those of a single row."""

from typing import Any, NamedTuple

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper
from megalabel.kernels.core._cpu.lane_bits import lowest_bit
from megalabel.kernels.linear._cpu.descent_block import LANES


class Data(NamedTuple):
    """All texts, the texts of each parent, and the positives of each child."""

    indptr: Any  # (N + 1,) int64, of x
    columns: Any  # int32
    values: Any  # float32
    dense: Any  # (N, E) float32
    inverse: Any  # (N,) float32, 1 / weight of each text; (0,) for 1 each
    parent_starts: Any  # (M + 1,) int64, of each parent's texts
    parent_texts: Any  # int32
    child_starts: Any  # (C + 1,) int64, of each child's positives
    child_texts: Any  # int32
    scores: Any  # float32, for each child its scores of the parent's texts before the descent; (0,) for 0 each
    score_starts: Any  # (C + 1,) int64, where those of each child begin; (0,) without scores


class Scratch(NamedTuple):
    """The scratch memory of a thread, large enough for the largest parent."""

    seen: Any  # (V,) int32, zeros between parents; else k + 1 for shared feature k, −s − 1 for own feature s
    touched: Any  # (V,) int32, the features of the parent's rows, finally in ascending order
    marks: Any  # (V / 64 + 1,) int64, zeros except while `touched` is sorted; one bit per feature
    words: Any  # (V / 4096 + 1,) int64, likewise; one bit per element of marks
    row_of: Any  # (N,) int32, zeros between parents; else the row of a text + 1
    starts: Any  # the arrays of `descent_block.Rows`
    columns: Any
    values: Any
    own: Any
    scales: Any
    own_rows: Any  # int32, the row of each feature that occurs in a single row
    own_values: Any  # float32
    tops: Any  # (n,) float32, the largest |value| among the own features of a row
    heard: Any  # (n,) bool, whether a block keeps any of these features
    sums: Any  # (shared features,) float64, each feature summed over the rows
    dense_sums: Any  # (E,) float64
    shares: Any  # (n,) float64, x · the sum of all rows
    weights: Any  # the arrays of `descent_block.Block`
    dense: Any
    state: Any
    lanes: Any
    start: Any  # (n, LANES) float32, of `descent_block.Rows`
    order: Any  # (n,) int32


@helper
def gather(data, texts, bias, soft_negative, soft_positive, s):
    """Builds the rows of these texts; returns the number of their features, and how many of these are shared."""
    n_touched = 0
    for row in range(len(texts)):
        text = texts[row]
        s.row_of[text] = row + 1
        for at in range(data.indptr[text], data.indptr[text + 1]):
            column = data.columns[at]
            if s.seen[column] == 0:
                s.touched[n_touched] = column
                n_touched += 1
            s.seen[column] += 1
    shared, alone = 0, 0
    for i in range(n_touched):
        column = s.touched[i]
        if s.seen[column] > 1:
            shared += 1
            s.seen[column] = shared
        else:
            alone += 1
            s.seen[column] = -alone
    s.sums[:shared] = 0
    s.dense_sums[:] = 0
    place = 0
    for row in range(len(texts)):
        text = texts[row]
        s.starts[row] = place
        own, length, top = 0.0, bias * bias, np.float32(0)
        for at in range(data.indptr[text], data.indptr[text + 1]):
            value, number = data.values[at], s.seen[data.columns[at]]
            square = np.float64(value) * np.float64(value)
            length += square
            if number > 0:
                s.columns[place] = (number - 1) * LANES
                s.values[place] = value
                s.sums[number - 1] += value
                place += 1
            else:
                own += square
                s.own_rows[-number - 1] = row
                s.own_values[-number - 1] = value
                top = max(top, abs(value))
        for j in range(data.dense.shape[1]):
            length += np.float64(data.dense[text, j]) ** 2
            s.dense_sums[j] += data.dense[text, j]
        s.own[row] = own
        s.tops[row] = top
        inverse = np.float64(data.inverse[text]) if len(data.inverse) else 1.0
        s.scales[2 * row] = 1 / (length + soft_negative * inverse)
        s.scales[2 * row + 1] = 1 / (length + soft_positive * inverse)
    s.starts[len(texts)] = place
    _share_out(data, texts, bias, s)
    _put_in_order(n_touched, s)
    return n_touched, shared


@helper
def _share_out(data, texts, bias, s):
    """The dot product of each row with the sum of all rows."""
    for row in range(len(texts)):
        share = np.float64(s.own[row]) + bias * bias * len(texts)
        for at in range(s.starts[row], s.starts[row + 1]):
            share += s.values[at] * s.sums[s.columns[at] // LANES]
        for j in range(data.dense.shape[1]):
            share += data.dense[texts[row], j] * s.dense_sums[j]
        s.shares[row] = share


@helper
def _put_in_order(n, s):
    """Sorts the features by setting one bit per feature and scanning the bits."""
    for i in range(n):
        word = np.int64(s.touched[i]) >> 6
        s.marks[word] |= np.int64(1) << np.int64(s.touched[i] & 63)
        s.words[word >> 6] |= np.int64(1) << (word & 63)
    place = 0
    for i in range(len(s.words)):
        while s.words[i] != 0:
            word = (i << 6) + lowest_bit(s.words[i])
            s.words[i] &= s.words[i] - 1
            while s.marks[word] != 0:
                s.touched[place] = (word << 6) + lowest_bit(s.marks[word])
                s.marks[word] &= s.marks[word] - 1
                place += 1


@helper
def forget(texts, n_touched, s):
    """Resets the scratch memory of a parent to zeros."""
    for text in texts:
        s.row_of[text] = 0
    for i in range(n_touched):
        s.seen[s.touched[i]] = 0

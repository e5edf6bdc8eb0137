"""Numba implementation of `candidates/candidate_scores.py`: one pass over all rows that are candidates.

Only checked tensors may be passed: a row out of range would read memory outside of the table. Rows are visited in
order, a strip at a time for all texts of which it is a candidate, so that it is read from memory once; views and
their gradients, much smaller than a table, stay in the L2 cache. Narrow rows are read as float32 a strip at a
time. Gradients are summed in parts whose number depends on the work only, so that results do not depend on the
number of threads.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.candidates._cpu import whole_table
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.core._cpu.compiling import compiled, vectorized
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.core._cpu.row_ranges import cut_rows
from megalabel.kernels.core._cpu.search import lower_bound
from megalabel.kernels.core.threads import chunk_ranges, run_ranges, thread_count
from megalabel.kernels.rounding._cpu.stored import Float32, Stored, is_narrow, read_row, stored, stored_at
from megalabel.kernels.rounding.narrow_table import NarrowTable

_STRIP = 16  # rows at a time: 24 KB at D = 384, half of an L1 cache
_OWN_COST = 3  # the cost of reading a row, in units of scoring it for one text
_PARTS = 16  # maximum number of parts; each holds a sum (B, D)
_PART_WORK = 1 << 18  # minimum number of multiplications per part


class Parts(NamedTuple):
    """The candidate rows, grouped by blocks of the same range, and their division into parts."""

    cuts: np.ndarray  # (parts + 1,), in numbers of candidate rows
    before: np.ndarray  # (G + 1,), the number of candidate rows before each group
    starts: np.ndarray  # the rest as in `BlocksByRow`
    offsets: np.ndarray
    texts: np.ndarray
    first: np.ndarray


class Table(NamedTuple):
    """The views, and the table whose rows are scored with them."""

    views: np.ndarray  # (B, D)
    weight: np.ndarray  # (n, D); (0, D) for narrow weights
    bias: np.ndarray  # (n,), or empty
    stored: Stored  # the narrow weights, of which a strip at a time is read


class Found(NamedTuple):
    """The results of a loss."""

    logits: np.ndarray  # (C,)
    cells: np.ndarray  # (C,), the gradient of the logits
    values: np.ndarray  # (parts,) float64
    sums: np.ndarray  # (parts, B, D), the gradient of the views, or (parts, 0, D)


def scores(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    """Logits (C,)."""
    logits = views.new_empty(candidates.n_cells)
    parts = thread_count(weight.device)
    before, cuts = cut_rows(candidates.by_rows, _OWN_COST, parts)
    given = Parts(cuts, before, *_blocks(candidates)), _table(views, weight, bias), logits.numpy()
    run_ranges(lambda part: _scores(part.start, part.stop, *given), chunk_ranges(parts, 1, parts))
    return logits


def bce(
    views: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    candidates: Candidates,
    offsets: Tensor,
    rows: Tensor,
    scale: float,
    wants_views: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Value (), logits (C,), ∂value/∂logits (C,), and ∂value/∂views (B, D) if needed.

    Positives of text b are rows[offsets[b]:offsets[b + 1]], strictly increasing.
    """
    if candidates.whole and isinstance(weight, Tensor):
        return whole_table.bce(views, weight, bias, candidates, offsets, rows, scale, wants_views)
    parts = min(_PARTS, 1 + candidates.n_cells * views.shape[1] // _PART_WORK)
    before, cuts = cut_rows(candidates.by_rows, _OWN_COST, parts)
    logits, cells = views.new_empty(candidates.n_cells), views.new_empty(candidates.n_cells)
    values = torch.empty(parts, dtype=torch.float64)
    sums = views.new_empty(parts, candidates.batch if wants_views else 0, views.shape[1])
    out = Found(*(x.numpy() for x in (logits, cells, values, sums)))
    given = Parts(cuts, before, *_blocks(candidates)), _table(views, weight, bias)
    positives = offsets.numpy(), rows.numpy()
    ranges = chunk_ranges(parts, 1, thread_count(torch.device("cpu")))
    run_ranges(lambda part: _bce(part.start, part.stop, *given, *positives, np.float32(scale), out), ranges)
    dviews = sums[0]
    for other in sums[1:]:
        dviews += other
    return (values.sum() * scale).to(views.dtype), logits, cells, dviews if wants_views else None


def _blocks(candidates: Candidates) -> tuple[np.ndarray, ...]:
    blocks = candidates.by_rows
    return tuple(x.numpy() for x in (blocks.starts, blocks.offsets, blocks.texts, blocks.first))


def _table(views: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None) -> Table:
    biases = (views.new_empty(0) if bias is None else bias).numpy()
    if isinstance(weight, Tensor):
        return Table(views.numpy(), weight.numpy(), biases, Float32())
    none = np.empty((0, weight.shape[1]), np.float32)
    return Table(views.numpy(), none, biases, stored(weight.codes, weight.exponents))


@vectorized
def _logits(x: np.ndarray, weight: np.ndarray, first: int, bias: np.ndarray, row: int, out: np.ndarray) -> None:
    """out (m,) ← x (D,) times m rows of the table from `row` on, which `weight` holds from its row `first` on."""
    dim, m = len(x), len(out)
    for i in range(0, m - 1, 2):  # two rows per load of x
        a, b = np.float32(0), np.float32(0)
        for d in range(dim):
            a += x[d] * weight[first + i, d]
            b += x[d] * weight[first + i + 1, d]
        out[i], out[i + 1] = a, b
    if m % 2:
        a = np.float32(0)
        for d in range(dim):
            a += x[d] * weight[first + m - 1, d]
        out[m - 1] = a
    if len(bias):
        for i in range(m):
            out[i] += bias[row + i]


@vectorized
def _add_rows(into: np.ndarray, weight: np.ndarray, first: int, cells: np.ndarray) -> None:
    """into (D,) ← into + Σ_i cells[i] · row first + i."""
    dim, m = len(into), len(cells)
    for i in range(0, m - 3, 4):
        a, b, c, e = cells[i], cells[i + 1], cells[i + 2], cells[i + 3]
        row = first + i
        for d in range(dim):
            into[d] += (a * weight[row, d] + b * weight[row + 1, d]) + (
                c * weight[row + 2, d] + e * weight[row + 3, d]
            )
    for i in range(m - m % 4, m):
        a = cells[i]
        for d in range(dim):
            into[d] += a * weight[first + i, d]


@vectorized
def _losses(z, g, scale):
    """g (m,) ← scale · sigmoid(z); Σ softplus(z) = Σ max(z, 0) + log Π (1 + e^−|z|) of m ≤ 16 logits."""
    one = np.float32(1)
    loss, product = 0.0, 1.0
    for i in range(len(z)):
        e = math.exp(-abs(z[i]))
        product *= 1.0 + np.float64(e)
        loss += max(z[i], np.float32(0))
        g[i] = scale * ((one if z[i] >= 0 else e) / (one + e))
    return loss + math.log(product)


@compiled
def _scores(low, high, parts, table, logits):
    """Writes the logits of parts low … high − 1 of the rows."""
    cuts, before, starts, offsets, texts, first = parts
    views, weight, bias, _ = table
    for part in range(low, high):
        group = np.searchsorted(before, cuts[part], side="right") - 1
        while group < len(starts) and before[group] < cuts[part + 1]:
            start = max(cuts[part], before[group]) - before[group]
            stop = min(cuts[part + 1], before[group + 1]) - before[group]
            for i in range(start, stop, _STRIP):
                m = min(_STRIP, stop - i)
                for j in range(offsets[group], offsets[group + 1]):
                    cell, row = first[j] + i, starts[group] + i
                    _logits(views[texts[j]], weight, row, bias, row, logits[cell : cell + m])
            group += 1


@compiled
def _bce(low, high, parts, table, of_text, positives, scale, out):
    """The loss of parts low … high − 1 of the rows; positives of text b are of_text[b]:of_text[b + 1]."""
    cuts, before, starts, offsets, texts, first = parts
    views, weight, bias, kept = table
    logits, cells, values, sums = out
    narrow, dim, kept = is_narrow(kept), views.shape[1], stored_at(kept)
    if narrow:
        weight = np.empty((_STRIP, dim), np.float32)
    for part in range(low, high):
        sums[part] = 0
        loss = 0.0
        group = np.searchsorted(before, cuts[part], side="right") - 1
        while group < len(starts) and before[group] < cuts[part + 1]:
            start = max(cuts[part], before[group]) - before[group]
            stop = min(cuts[part + 1], before[group + 1]) - before[group]
            for i in range(start, stop, _STRIP):
                row, m = starts[group] + i, min(_STRIP, stop - i)
                at = row
                if narrow:
                    at = 0
                    for r in range(m):
                        read_row(kept, row + r, dim, pointer(weight), r * dim)
                for j in range(offsets[group], offsets[group + 1]):
                    text, cell = texts[j], first[j] + i
                    z, g = logits[cell : cell + m], cells[cell : cell + m]
                    _logits(views[text], weight, at, bias, row, z)
                    loss += _losses(z, g, scale)
                    end = of_text[text + 1]
                    place = lower_bound(positives, of_text[text], end, row)
                    while place < end and positives[place] < row + m:
                        one = positives[place] - row
                        loss -= z[one]
                        # σ(z) − 1 computed as −σ(−z) to avoid cancellation
                        e = math.exp(-abs(z[one]))
                        g[one] = -scale * ((e if z[one] >= 0 else np.float32(1)) / (np.float32(1) + e))
                        place += 1
                    if sums.shape[1]:
                        _add_rows(sums[part, text], weight, at, g)
            group += 1
        values[part] = loss

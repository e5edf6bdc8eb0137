"""Numba bodies of `kernels/candidate_scores.py`: one pass over the candidates of each text.

They take checked tensors only: a row out of range here would read foreign memory. Texts are dealt out to
torch's threads; all that belongs to a text is computed by one thread in one order, so that results do not
depend on how many there are.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numba
import numpy as np
import torch
from torch import Tensor

from megalabel.kernels._cpu.hits import compiled
from megalabel.kernels._cpu.label_threads import run_ranges, thread_count
from megalabel.kernels.candidates import Candidates

# Sums may be taken in any order and products fused, so that they vectorise; NaN and inf stay what they are.
_vectorised = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"})
_STRIP = 16  # rows at a time: 24 KB at D = 384, half of a first-level cache


def scores(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    """Logits (C,)."""
    logits = views.new_empty(candidates.n_cells)
    arrays = _arrays(views, weight, bias, candidates)
    run_ranges(lambda texts: _scores(texts.start, texts.stop, *arrays, logits.numpy()), _deal(candidates))
    return logits


def bce(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    offsets: Tensor,
    rows: Tensor,
    scale: float,
    wants_views: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Value (), logits (C,), ∂value/∂logits (C,), and ∂value/∂views (B, D) if wanted.

    Positives of text b are rows[offsets[b]:offsets[b + 1]], strictly rising.
    """
    logits, cells = views.new_empty(candidates.n_cells), views.new_empty(candidates.n_cells)
    values = torch.zeros(candidates.batch, dtype=torch.float64)
    dviews = torch.zeros_like(views) if wants_views else views.new_empty(0, views.shape[1])
    arrays = _arrays(views, weight, bias, candidates)
    gold = offsets.numpy(), rows.numpy()
    out = values.numpy(), logits.numpy(), cells.numpy(), dviews.numpy()
    run_ranges(
        lambda texts: _bce(texts.start, texts.stop, *arrays, *gold, np.float32(scale), *out), _deal(candidates)
    )
    value = (values.sum() * scale).to(views.dtype)
    return value, logits, cells, dviews if wants_views else None


def _arrays(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> tuple[np.ndarray, ...]:
    b = weight.new_empty(0) if bias is None else bias
    blocks = candidates.starts, candidates.ends, candidates.texts, candidates.cells
    return tuple(x.numpy() for x in (views, weight, b, *blocks))


def _deal(candidates: Candidates) -> list[range]:
    """Neighbouring texts for each thread, about the same number of cells each."""
    threads = thread_count(torch.device("cpu"))
    bounds = candidates.text_cells().numpy()
    cuts = np.searchsorted(bounds, np.arange(1, threads) * candidates.n_cells / threads)
    cuts = np.unique(np.concatenate([[0], cuts, [candidates.batch]]))
    return [range(a, b) for a, b in pairwise(cuts)] or [range(0, 0)]


@_vectorised
def _logits(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, first: int, out: np.ndarray) -> None:
    """out (m,) ← x (D,) times rows first … first + m − 1."""
    dim, m = len(x), len(out)
    for i in range(0, m - 1, 2):  # two rows share what is loaded of x
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
            out[i] += bias[first + i]


@_vectorised
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


@compiled
def _scores(first, last, views, weight, bias, starts, ends, texts, cells, logits):  # type: ignore[no-untyped-def]
    for b in range(first, last):
        for j in range(texts[b], texts[b + 1]):
            _logits(views[b], weight, bias, starts[j], logits[cells[j] : cells[j + 1]])


@compiled
def _bce(  # type: ignore[no-untyped-def]
    first,
    last,
    views,
    weight,
    bias,
    starts,
    ends,
    texts,
    cells,
    offsets,
    rows,
    scale,
    values,
    logits,
    gradient,
    dviews,
):
    for b in range(first, last):
        loss = 0.0
        at, end = offsets[b], offsets[b + 1]
        for j in range(texts[b], texts[b + 1]):
            for row in range(starts[j], ends[j], _STRIP):
                m = min(_STRIP, ends[j] - row)
                cell = cells[j] + row - starts[j]
                z, g = logits[cell : cell + m], gradient[cell : cell + m]
                _logits(views[b], weight, bias, row, z)
                product = 1.0  # Π (1 + e^−|z|) of up to 16 cells: their logarithms at the price of one
                for i in range(m):
                    e = math.exp(-abs(z[i]))
                    product *= 1.0 + np.float64(e)
                    loss += max(z[i], np.float32(0))
                    g[i] = scale * ((np.float32(1) if z[i] >= 0 else e) / (np.float32(1) + e))
                loss += math.log(product)
                while at < end and rows[at] < row:
                    at += 1
                while at < end and rows[at] < row + m:
                    i = rows[at] - row
                    loss -= z[i]
                    # σ(z) − 1 as −σ(−z), which a small difference of large numbers would lose
                    e = math.exp(-abs(z[i]))
                    g[i] = -scale * ((e if z[i] >= 0 else np.float32(1)) / (np.float32(1) + e))
                    at += 1
                if len(dviews):
                    _add_rows(dviews[b], weight, row, g)
        values[b] = loss

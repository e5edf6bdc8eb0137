"""The exact k best labels of each text, computed with only one chunk of the scores in memory at a time.

    score[b, l] = x[b] · weight[l] + bias[l], in float32
    labels[b]   = the k labels of highest score without excluded pairs, ties to the lower label id

`streaming_topk` works on a dense table of label vectors, `topk_of` on scores from any function, in rows whose
labels may be in any order. On a CPU each of torch's threads scores the chunks of a range of rows and passes them
to a selection compiled by numba (`core/_cpu/select.py`), which skips blocks below the k-th best score so far. On
other devices score and label id are packed into one integer whose order is that of the ranking, so that torch's
top-k breaks ties deterministically; on CUDA `_triton/streaming_topk.py` also keeps the scores of a dense table in
registers, for k up to 128, unless a chunk size is given. `plain` and `plain_of` are the reference implementations
of the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.implementation import topk_for
from megalabel.kernels.all_labels.topk_bodies import Scores, select_for
from megalabel.kernels.all_labels.topk_results import all_found, filled, label_to_row
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.core.threads import chunk_ranges, even_chunk, run_ranges, thread_count
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.storage.tables import release_pages
from megalabel.types import Positives, TopK

__all__ = ["plain", "plain_of", "streaming_topk", "topk_of"]

_CACHE_BYTES = 3 << 19  # 1.5 MiB: weights and scores of one chunk in a core's own cache
_DEVICE_BYTES = 256 << 20


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, k: int, exclude: Positives | None = None) -> TopK:
    """The result of `streaming_topk` from one (B, L) matrix of scores and a stable sort."""
    return plain_of((x.to(weight.dtype) @ weight.t() + (0 if bias is None else bias)).float(), k, exclude)


def plain_of(scores: Tensor, k: int, exclude: Positives | None = None, row_to_label: Tensor | None = None) -> TopK:
    """The result of `topk_of` for scores (B, L), where column i belongs to label row_to_label[i]."""
    if row_to_label is None:
        scores = scores.clone()
    else:
        scores = torch.empty_like(scores).index_copy_(1, row_to_label, scores)
    if exclude is not None:
        scores[exclude.rows, exclude.labels] = -torch.inf
    best, labels = scores.sort(dim=1, descending=True, stable=True)
    best, labels = best[:, :k], labels[:, :k].masked_fill(best[:, :k] == -torch.inf, -1)
    return filled(labels, best, k)


@torch.no_grad()
def streaming_topk(
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    k: int,
    exclude: Positives | None = None,
    *,
    row_to_label: Tensor | None = None,
    chunk: int | None = None,
) -> TopK:
    """Finds the exact top k over all labels of a dense table.

    Args:
        x: embeddings (B, D), any floating type.
        weight: (L, D); or a `NarrowTable`, of which each chunk is read as float32.
        bias: (L,), or None.
        k: 1 or more. Where fewer than k labels are left, label -1 with score -inf fills the row.
        exclude: pairs of text and label that are left out, in any order.
        row_to_label: (L,) int64 permutation, the label of each row of `weight`; see `topk_of`.
        chunk: number of labels scored at a time; None to choose it by the cache sizes.

    Returns:
        Labels (B, k) int64 and scores (B, k) float32 on x's device, best first.

    Raises:
        SettingError: an invalid k, shapes that do not match, or scores that are not finite.
        DataError: an excluded pair outside (B, L).
    """
    _check_table(x, weight, bias)
    table = weight if isinstance(weight, NarrowTable) else None
    rows = x.to(torch.float32 if isinstance(weight, NarrowTable) else weight.dtype)
    fast = topk_for(rows, weight, k) if chunk is None and k >= 1 else None
    if fast is not None:
        return _compiled(fast, rows, weight, bias, k, exclude, row_to_label)
    buffers = threading.local()  # each thread scores its own chunks

    def score(start: int, stop: int) -> Tensor:
        release_pages()
        if not hasattr(buffers, "scores"):  # the first chunk of a thread is no smaller than its others
            buffers.scores = rows.new_empty(len(rows) * (stop - start))
            buffers.values = None if table is None else rows.new_empty(stop - start, table.shape[1])
        if isinstance(weight, NarrowTable):
            w = weight.load(start, stop, buffers.values[: stop - start])
        else:
            w = weight.detach()[start:stop]
        z: Tensor = buffers.scores[: len(rows) * len(w)].view(len(rows), len(w))
        torch.mm(rows, w.t(), out=z)
        return z if bias is None else z.add_(bias[start:stop])

    (n_labels, dim), n_texts = weight.shape, len(x)
    return topk_of(
        score, n_labels, n_texts, k, exclude, device=x.device, width=dim, row_to_label=row_to_label, chunk=chunk
    )


def _compiled(
    fast: Any,
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    k: int,
    exclude: Positives | None,
    row_to_label: Tensor | None,
) -> TopK:
    """The result of a body that keeps scores in registers, `_triton/streaming_topk.py`."""
    n_rows, n_texts = weight.shape[0], len(x)
    check_excluded(exclude, n_texts, n_rows)
    places = None if row_to_label is None else label_to_row(row_to_label, n_rows)
    pairs = None
    if exclude is not None and len(exclude):
        rows = exclude.labels if places is None else places[exclude.labels]
        pairs = (rows * n_texts + exclude.rows).sort().values
    keep = min(k, n_rows)
    of_bias = None if bias is None else bias.detach().to(x.dtype).contiguous()
    best = fast.topk(x.contiguous(), weight, of_bias, keep, pairs, row_to_label)
    all_found(best.ids, exclude, n_rows, keep)
    return filled(best.ids, best.scores, k)


@torch.no_grad()
def topk_of(
    score: Callable[[int, int], Tensor],
    n_rows: int,
    n_texts: int,
    k: int,
    exclude: Positives | None = None,
    *,
    device: torch.device,
    width: int,
    row_to_label: Tensor | None = None,
    chunk: int | None = None,
) -> TopK:
    """Finds the exact top k over rows that a function scores.

    Args:
        score: (start, stop) ↦ the scores (B, n) of rows start to stop, contiguous or the transpose of something
            contiguous (n, B), whichever is cheaper; float32, on `device`. They are overwritten. On a CPU
            several threads call it concurrently, each for its own rows.
        n_rows: L, 1 or more.
        n_texts: B.
        k: 1 or more. Where fewer than k labels are left, label -1 with score -inf fills the row.
        exclude: pairs of text and label that are left out, in any order.
        device: device of the scores and of the result.
        width: numbers read per row to score it, such as D; used to choose the chunk size.
        row_to_label: (L,) int64, a permutation: the label of each row; None where row r is label r. The result,
            `exclude` and the order of ties refer to labels.
        chunk: number of rows scored at a time; None to choose it by the cache sizes.

    Returns:
        Labels (B, k) int64 and scores (B, k) float32, best first, ties to the lower label. The result depends on
        the chunk size and the number of threads only as far as that of `score` does.

    Raises:
        SettingError: an invalid k or row_to_label, or scores that are not finite.
        DataError: an excluded pair outside (B, L).
    """
    if k < 1:
        raise SettingError(f"k={k}", wanted="1 or more", next_step="ask for at least one label", where="k")
    check_excluded(exclude, n_texts, n_rows)
    places = None if row_to_label is None else label_to_row(row_to_label, n_rows)
    cpu, threads = device.type == "cpu", thread_count(device)
    if chunk is None:
        budget = _CACHE_BYTES if cpu else _DEVICE_BYTES
        chunk = even_chunk(n_rows, max(128, budget // (4 * (width + n_texts))), threads)
    chunk = min(chunk, n_rows)
    scores = _without(exclude, places, Scores(score, n_rows, n_texts, chunk, device, row_to_label))
    keep = min(k, n_rows)
    select = select_for(device)
    ranges = chunk_ranges(n_rows, chunk, threads)
    parts = run_ranges(lambda numbers: select(scores, numbers, keep), ranges)
    best = parts[0]
    if len(parts) > 1:
        labels = torch.cat([part.ids for part in parts], dim=1)
        best = best_of(labels, torch.cat([part.scores for part in parts], dim=1), keep)
    all_found(best.ids, exclude, n_rows, keep)
    return filled(best.ids, best.scores, k)


def _without(exclude: Positives | None, label_to_row: Tensor | None, scores: Scores) -> Scores:
    """The scores without the excluded pairs; label_to_row (L,) is None where row r is label r."""
    if exclude is None or len(exclude) == 0:
        return scores
    rows, order = (exclude.labels if label_to_row is None else label_to_row[exclude.labels]).sort()
    n_chunks = -(-scores.n_rows // scores.chunk)
    starts = torch.arange(n_chunks + 1, device=rows.device) * scores.chunk
    cuts = torch.searchsorted(rows, starts).tolist()
    return replace(scores, excluded_texts=exclude.rows[order], excluded_rows=rows, cuts=cuts)


def _check_table(x: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None) -> None:
    if x.dim() != 2 or len(weight.shape) != 2 or x.shape[1] != weight.shape[1] or weight.shape[0] == 0:
        raise SettingError(
            f"embeddings {tuple(x.shape)} and weights {tuple(weight.shape)}",
            wanted="(B, D) and (L, D) with the same D, and at least one label",
            next_step="give the head the encoder's width as `dim`",
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise SettingError(
            f"a bias {tuple(bias.shape)} beside weights {tuple(weight.shape)}",
            wanted="one number per label",
            next_step="make the bias with weight.new_zeros(n_labels)",
        )

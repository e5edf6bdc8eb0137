"""The exact k best labels of each text, computed with only one chunk of the scores in memory at a time.

    score[b, l] = x[b] · weight[l] + bias[l], in float32
    labels[b]   = the k labels of highest score without excluded pairs, ties to the lower label id

`streaming_topk` works on a dense table of label vectors, `topk_of` on scores from any function, in rows whose
labels may be in any order. On a CPU each of torch's threads scores the chunks of a range of rows and passes them
to a selection compiled by numba (`core/_cpu/select.py`), which skips blocks below the k-th best score so far. On
other devices score and label id are packed into one integer whose order is that of the ranking, so that torch's
top-k breaks ties deterministically. `plain` and `plain_of` are the reference implementations of the tests.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.topk_bodies import Scores, select_for
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
    return _filled(labels, best, k)


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
    label_to_row = None if row_to_label is None else _label_to_row(row_to_label, n_rows)
    cpu, threads = device.type == "cpu", thread_count(device)
    if chunk is None:
        budget = _CACHE_BYTES if cpu else _DEVICE_BYTES
        chunk = even_chunk(n_rows, max(128, budget // (4 * (width + n_texts))), threads)
    chunk = min(chunk, n_rows)
    scores = _without(exclude, label_to_row, Scores(score, n_rows, n_texts, chunk, device, row_to_label))
    keep = min(k, n_rows)
    select = select_for(device)
    ranges = chunk_ranges(n_rows, chunk, threads)
    parts = run_ranges(lambda numbers: select(scores, numbers, keep), ranges)
    best = parts[0]
    if len(parts) > 1:
        labels = torch.cat([part.ids for part in parts], dim=1)
        best = best_of(labels, torch.cat([part.scores for part in parts], dim=1), keep)
    _all_found(best.ids, scores, keep)
    return _filled(best.ids, best.scores, k)


def _filled(labels: Tensor, scores: Tensor, k: int) -> TopK:
    missing = (0, k - scores.shape[1])
    return TopK(
        torch.nn.functional.pad(labels, missing, value=-1),
        torch.nn.functional.pad(scores, missing, value=-torch.inf),
    )


def _without(exclude: Positives | None, label_to_row: Tensor | None, scores: Scores) -> Scores:
    """The scores without the excluded pairs; label_to_row (L,) is None where row r is label r."""
    if exclude is None or len(exclude) == 0:
        return scores
    rows, order = (exclude.labels if label_to_row is None else label_to_row[exclude.labels]).sort()
    n_chunks = -(-scores.n_rows // scores.chunk)
    starts = torch.arange(n_chunks + 1, device=rows.device) * scores.chunk
    cuts = torch.searchsorted(rows, starts).tolist()
    return replace(scores, excluded_texts=exclude.rows[order], excluded_rows=rows, cuts=cuts)


def _label_to_row(row_to_label: Tensor, n_rows: int) -> Tensor:
    """The row of each label, (L,) int64; SettingError unless `row_to_label` is a permutation."""
    fits = row_to_label.shape == (n_rows,) and row_to_label.dtype == torch.int64
    if fits and 0 <= int(row_to_label.min()) and int(row_to_label.max()) < n_rows:
        rows = torch.full_like(row_to_label, -1)
        rows[row_to_label] = torch.arange(n_rows, device=row_to_label.device)
        if int(rows.min()) >= 0:
            return rows
    raise SettingError(
        f"row_to_label of shape {tuple(row_to_label.shape)} and {row_to_label.dtype} is not a permutation",
        wanted=f"({n_rows},) int64, a permutation of 0 to {n_rows - 1}",
        where="row_to_label",
    )


def _all_found(labels: Tensor, scores: Scores, keep: int) -> None:
    """Checks that fewer than `keep` labels occur only where pairs were excluded: else a score was NaN or -inf."""
    short = (labels < 0).sum(1)
    if not short.any():
        return
    allowed = torch.zeros_like(short)
    if scores.excluded_texts is not None:
        allowed.index_add_(0, scores.excluded_texts, torch.ones_like(scores.excluded_texts))
    left = scores.n_rows - allowed  # repeated pairs only make this check more lenient
    if (keep - short < torch.minimum(left, torch.full_like(left, keep))).any():
        raise SettingError(
            "scores that are NaN or -inf",
            wanted="finite embeddings, weights and biases",
            next_step="look for a diverged training run, and take an earlier checkpoint",
        )


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

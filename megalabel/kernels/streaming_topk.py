"""The k best labels of each text, exactly, without ever holding more than a chunk of the scores.

    score[b, l] = x[b] · weight[l] + bias[l], in float32
    labels[b]   = the k labels of highest score, ties to the lower label id, excluded pairs never

Which body runs: on a CPU each of torch's threads owns a range of labels, multiplies a chunk at a time and
passes it to numba's selection (`_cpu/select.py`), which skips blocks below the k-th best score so far.
Elsewhere score and label id are packed into one integer, whose order is the order wanted, so that torch's
top-k is deterministic under ties. `plain` is the definition: tests trust it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.errors import DataError, SettingError
from megalabel.kernels._cpu.label_threads import chunk_ranges, even_chunk, run_ranges, thread_count
from megalabel.types import Positives, TopK

_CACHE_BYTES = 3 << 19  # 1.5 MiB: weights and scores of one chunk in a core's own cache
_DEVICE_BYTES = 256 << 20
_NONE = torch.iinfo(torch.int64).min  # below the key of every label


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, k: int, exclude: Positives | None = None) -> TopK:
    """The same answer from one (B, L) matrix of scores and a stable sort."""
    scores = (x.to(weight.dtype) @ weight.t() + (0 if bias is None else bias)).float()
    if exclude is not None:
        scores[exclude.rows, exclude.labels] = -torch.inf
    best, labels = scores.sort(dim=1, descending=True, stable=True)
    best, labels = best[:, :k], labels[:, :k].masked_fill(best[:, :k] == -torch.inf, -1)
    missing = (0, k - best.shape[1])
    return TopK(
        torch.nn.functional.pad(labels, missing, value=-1),
        torch.nn.functional.pad(best, missing, value=-torch.inf),
    )


@torch.no_grad()
def streaming_topk(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    k: int,
    exclude: Positives | None = None,
    *,
    chunk: int | None = None,
) -> TopK:
    """Exact top k over all labels.

    Args:
        x: embeddings (B, D), any floating type.
        weight: (L, D).
        bias: (L,), or None.
        k: 1 or more. Where fewer than k labels are left, label -1 with score -inf fills the row.
        exclude: pairs that are never given, in any order.
        chunk: labels at a time, None for what suits the caches.

    Returns:
        Labels (B, k) int64 and scores (B, k) float32 on x's device, best first.

    Raises:
        SettingError: k or shapes that do not fit, or scores that are not finite.
        DataError: an excluded pair outside (B, L).
    """
    _check(x, weight, bias, k, exclude)
    n_labels = weight.shape[0]
    threads = thread_count(x.device)
    if chunk is None:
        budget = _CACHE_BYTES if x.device.type == "cpu" else _DEVICE_BYTES
        chunk = even_chunk(n_labels, max(128, budget // (4 * (weight.shape[1] + x.shape[0]))), threads)
    chunk = min(chunk, n_labels)
    scores = _Scores(x.to(weight.dtype), weight, bias, exclude, chunk)
    keep = min(k, n_labels)
    body = _select_cpu if x.device.type == "cpu" else _select_keys
    ranges = chunk_ranges(n_labels, chunk, threads)
    parts = run_ranges(lambda numbers: body(scores, numbers, keep), ranges)
    best = torch.cat([part.scores for part in parts], dim=1)
    labels = torch.cat([part.labels for part in parts], dim=1)
    if len(parts) > 1:  # ranges lie in the order of their labels, so a stable sort gives ties to the lower id
        best, order = best.sort(dim=1, descending=True, stable=True)
        best, labels = best[:, :keep], labels.gather(1, order[:, :keep])
    _all_found(labels, scores, keep)
    missing = (0, k - keep)
    return TopK(
        torch.nn.functional.pad(labels, missing, value=-1),
        torch.nn.functional.pad(best, missing, value=-torch.inf),
    )


class _Scores:
    """Scores of a chunk (B, n) float32, with -inf where a pair is excluded."""

    def __init__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, exclude: Positives | None, chunk: int
    ) -> None:
        self.x, self.weight, self.bias, self.chunk = x, weight.detach(), bias, chunk
        n_chunks = -(-weight.shape[0] // chunk)
        self.rows = self.labels = None
        self.cuts = [0] * (n_chunks + 1)
        if exclude is not None and len(exclude):
            self.labels, order = exclude.labels.sort()
            self.rows = exclude.rows[order]
            starts = torch.arange(n_chunks + 1, device=x.device) * chunk
            self.cuts = torch.searchsorted(self.labels, starts).tolist()

    def of_chunk(self, number: int, buffer: Tensor) -> Tensor:
        start = number * self.chunk
        w = self.weight[start : start + self.chunk]
        z = buffer[: len(self.x) * len(w)].view(len(self.x), len(w))
        torch.mm(self.x, w.t(), out=z)
        if self.bias is not None:
            z += self.bias[start : start + self.chunk]
        z = z.float()
        a, b = self.cuts[number], self.cuts[number + 1]
        if self.rows is not None and self.labels is not None and a < b:
            z[self.rows[a:b], self.labels[a:b] - start] = -torch.inf
        return z

    def buffer(self) -> Tensor:
        return torch.empty(len(self.x) * self.chunk, dtype=self.x.dtype, device=self.x.device)


def _select_cpu(scores: _Scores, numbers: range, k: int) -> TopK:
    from megalabel.kernels._cpu.select import merge_chunk  # numba takes half a second to import

    best = torch.full((len(scores.x), k), -torch.inf)
    labels = torch.full((len(scores.x), k), -1, dtype=torch.int64)
    buffer = scores.buffer()
    for number in numbers:
        z = scores.of_chunk(number, buffer)
        merge_chunk(z.numpy(), number * scores.chunk, best.numpy(), labels.numpy())
    return TopK(labels, best)


def _select_keys(scores: _Scores, numbers: range, k: int) -> TopK:
    device = scores.x.device
    best = torch.full((len(scores.x), k), _NONE, dtype=torch.int64, device=device)
    buffer = scores.buffer()
    for number in numbers:
        z = scores.of_chunk(number, buffer)
        ids = torch.arange(z.shape[1], device=device) + number * scores.chunk
        keys = torch.where(z > -torch.inf, pack(z, ids), _NONE)  # NaN is no label either
        best = torch.cat([best, keys.topk(min(k, z.shape[1]), dim=1).values], dim=1).topk(k, dim=1).values
    values, labels = unpack(best)
    nothing = best == _NONE
    return TopK(labels.masked_fill(nothing, -1), values.masked_fill(nothing, -torch.inf))


def pack(scores: Tensor, labels: Tensor) -> Tensor:
    """One int64 for each float32 score and label below 2³²: greater score first, then lower label."""
    bits = (scores + 0.0).view(torch.int32).to(torch.int64)  # adding 0 makes −0 equal 0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # negative floats count backwards
    return (ordered << 32) | (0xFFFFFFFF - labels)


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scores float32 and labels int64 of packed keys."""
    ordered = keys >> 32
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(torch.int32)
    return bits.view(torch.float32), 0xFFFFFFFF - (keys & 0xFFFFFFFF)


def _all_found(labels: Tensor, scores: _Scores, keep: int) -> None:
    """A row may lack a label only where pairs were excluded: else a score was NaN or -inf."""
    short = (labels < 0).sum(1)
    if not short.any():
        return
    allowed = torch.zeros_like(short)
    if scores.rows is not None:
        allowed.index_add_(0, scores.rows, torch.ones_like(scores.rows))
    left = scores.weight.shape[0] - allowed  # pairs that occur twice only make this more lenient
    if (keep - short < torch.minimum(left, torch.full_like(left, keep))).any():
        raise SettingError(
            "scores that are NaN or -inf",
            wanted="finite embeddings, weights and biases",
            next_step="look for a diverged training run, and take an earlier checkpoint",
        )


def _check(x: Tensor, weight: Tensor, bias: Tensor | None, k: int, exclude: Positives | None) -> None:
    if k < 1:
        raise SettingError(f"k={k}", wanted="1 or more", next_step="ask for at least one label", where="k")
    if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1] or weight.shape[0] == 0:
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
    if exclude is not None and len(exclude):
        ends = torch.stack([exclude.rows.min(), exclude.rows.max(), exclude.labels.min(), exclude.labels.max()])
        low_row, high_row, low, high = ends.tolist()
        if low_row < 0 or high_row >= x.shape[0] or low < 0 or high >= weight.shape[0]:
            raise DataError(
                f"excluded pairs with rows {low_row} to {high_row} and labels {low} to {high}",
                wanted=f"rows below {x.shape[0]} and labels below {weight.shape[0]}",
                next_step="number rows within the batch, and check that filter and head have the same labels",
            )

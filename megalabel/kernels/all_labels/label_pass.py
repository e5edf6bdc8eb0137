"""A pass over all labels in chunks: the computation behind `all_labels_loss`, for any device.

A chunk of n labels is small enough for a core's second-level cache, so its weights are read from memory once for
the logits, the gradient of the embedding and the update. Logits are laid out as (n, B), one row per label, since
positives are sorted by label and the update reads them in that order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.kernels.all_labels.label_loss import gradient_, value_
from megalabel.kernels.all_labels.request import Gradients, Request, learning
from megalabel.kernels.core.checks import check_range, check_vectors
from megalabel.kernels.core.threads import chunk_ranges, even_chunk, run_ranges, thread_count
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.updates.rule import LabelRows, accumulator_dtype
from megalabel.storage.tables import release_pages
from megalabel.types import Positives

_CACHE_BYTES = 2 << 20  # weights, accumulator and logits of one chunk in a core's own cache
_DEVICE_BYTES = 64 << 20  # on an accelerator a chunk only has to be large enough to fill it


def chunk_bytes(device: torch.device) -> int:
    """The memory that a chunk of labels may need, with everything computed from it."""
    return _CACHE_BYTES if device.type == "cpu" else _DEVICE_BYTES


@dataclass(frozen=True)
class Chunks:
    """How the labels are divided: chunks of `size` labels, assigned to threads as `ranges` of chunk numbers."""

    n_labels: int
    size: int
    ranges: list[range]

    @classmethod
    def for_shape(
        cls, n_labels: int, dim: int, n_texts: int, device: torch.device, size: int | None = None
    ) -> Chunks:
        """Chunks of `size` labels; None to choose the size by the caches."""
        threads = thread_count(device)
        if size is None:
            per_label = 4 * (2 * dim + n_texts)
            size = even_chunk(n_labels, max(128, chunk_bytes(device) // per_label), threads)
        return cls(n_labels, min(size, n_labels), chunk_ranges(n_labels, min(size, n_labels), threads))

    def bounds(self, chunk: int) -> tuple[int, int]:
        """The first label of a chunk, and the one after its last."""
        return chunk * self.size, min((chunk + 1) * self.size, self.n_labels)


@dataclass(frozen=True)
class PositiveCells:
    """The distinct cells with target 1, indexed by chunk.

    cells (P,) are indices into a flattened chunk (n, B); those of chunk c are cells[cuts[c]:cuts[c + 1]].
    """

    cells: Tensor
    cuts: list[int]

    @classmethod
    def from_positives(cls, positives: Positives, n_texts: int, chunks: Chunks) -> PositiveCells:
        """Indexes the positives; raises DataError if a pair lies outside (n_texts, n_labels)."""
        rows, labels = positives.rows, positives.labels
        n_chunks = chunks.ranges[-1].stop
        check_vectors(positives)
        if rows.numel() == 0:
            return cls(rows, [0] * (n_chunks + 1))
        pairs = labels * n_texts + rows
        starts = torch.arange(n_chunks + 1, device=pairs.device) * (chunks.size * n_texts)
        facts = torch.stack([rows.min(), rows.max(), labels.min(), labels.max(), _out_of_order(pairs)])
        # One transfer for both, since each waits for a GPU; the cuts hold if the pairs are in order.
        found = torch.cat([facts, torch.searchsorted(pairs, starts)]).tolist()
        ends, cuts = found[:5], found[5:]
        advice = "check that data and head agree on the number of labels, batch and positives on texts"
        check_range("row", ends[0], ends[1], n_texts, advice)
        check_range("label", ends[2], ends[3], chunks.n_labels, advice)
        if ends[4]:  # unsorted, or a pair twice; made by hand, since Positives.from_pairs sorts
            pairs = torch.unique(pairs)
            cuts = torch.searchsorted(pairs, starts).tolist()
        return cls(pairs % (chunks.size * n_texts), cuts)

    def of_chunk(self, chunk: int) -> Tensor:
        """The cells of one chunk, (P_chunk,)."""
        return self.cells[self.cuts[chunk] : self.cuts[chunk + 1]]


def _out_of_order(pairs: Tensor) -> Tensor:
    return (pairs[1:] <= pairs[:-1]).any().to(torch.int64)


class _Product:
    """Logits of a chunk in a buffer that is used again for the next, in the type that products run in.

    The weights of a chunk of a narrow table are read into a second buffer, `values` (n, D) float32; of other
    weights `values` is None.
    """

    def __init__(self, x: Tensor, weight: Tensor | NarrowTable, bias: Tensor | None, chunks: Chunks) -> None:
        self.x, self.weight, self.bias = x, weight, bias
        self.buffer = torch.empty(chunks.size * x.shape[0], dtype=x.dtype, device=x.device)
        self.values: Tensor | None = None
        if isinstance(weight, NarrowTable):
            self.rows = torch.empty(chunks.size, weight.shape[1], device=x.device)

    def __call__(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """z (n, B), and the chunk's weights (n, D) as the product read them."""
        if isinstance(self.weight, NarrowTable):
            self.values = self.weight.load(start, stop, self.rows[: stop - start])
            w = self.values.to(self.x.dtype)
        else:
            w = self.weight[start:stop].to(self.x.dtype)
        z = self.buffer[: (stop - start) * self.x.shape[0]].view(stop - start, self.x.shape[0])
        if self.bias is None:
            torch.mm(w, self.x.t(), out=z)
        else:
            torch.addmm(self.bias[start:stop, None].to(self.x.dtype), w, self.x.t(), out=z)
        return z, w


def value(
    loss: str,
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    positives: PositiveCells,
    chunks: Chunks,
    text_weights: Tensor | None = None,
) -> Tensor:
    """The loss summed over texts and labels, a float64 scalar; x (B, D) in the type that products run in."""

    wide = sum_dtype(weight)

    def of_range(numbers: range) -> Tensor:
        logits = _Product(x, weight, bias, chunks)
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for c in numbers:
            z = logits(*chunks.bounds(c))[0].to(wide)
            total += value_(loss, z, positives.of_chunk(c), text_weights)
            release_pages()
        return total

    return torch.stack(run_ranges(of_range, chunks.ranges)).sum()


def gradients(
    loss: str,
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    positives: PositiveCells,
    chunks: Chunks,
    request: Request,
) -> Gradients:
    """The gradients with respect to (x, weight, bias) that are wanted.

    With a rule, weight and bias, if wanted, are updated in place and have no gradient; weights in a narrow type
    have none in any case. x (B, D) is in the dtype of the matrix products.
    """
    wants, scale, weight_scale, rule, step, text_weights = request
    text_weights = None if text_weights is None else text_weights.to(x.dtype)
    wide, table = sum_dtype(weight), weight if isinstance(weight, NarrowTable) else None
    moving = learning(weight if isinstance(weight, Tensor) else weight.codes, bias, wants)
    out = Gradients() if rule is not None else Gradients.empty_like(*moving)

    def of_range(numbers: range) -> Tensor | None:
        logits = _Product(x, weight, bias, chunks)
        embedding = torch.zeros(x.shape, dtype=wide, device=x.device) if wants[0] else None
        part = torch.empty_like(x) if wants[0] and x.dtype != wide else None
        for c in numbers:
            release_pages()
            start, stop = chunks.bounds(c)
            g, w = logits(start, stop)
            gradient_(loss, g, positives.of_chunk(c), text_weights)
            if embedding is not None:
                _add_scaled(embedding, g.t(), w, scale, part)
            if rule is not None:
                rule.update(LabelRows(*moving, start, stop, table, logits.values), g, x, step, weight_scale)
                continue
            if out.weight is not None:
                _product(out.weight[start:stop], g, x, weight_scale)
            if out.bias is not None:
                torch.mul(g.sum(1, dtype=wide), weight_scale, out=out.bias[start:stop])
        return embedding

    parts = run_ranges(of_range, chunks.ranges)
    first = parts[0]
    if first is not None:
        for other in parts[1:]:
            assert other is not None
            first += other
    out.embedding = first
    return out


def sum_dtype(weight: Tensor | NarrowTable) -> torch.dtype:
    """The dtype in which products with the weights are summed."""
    return torch.float32 if isinstance(weight, NarrowTable) else accumulator_dtype(weight.dtype)


def _add_scaled(into: Tensor, a: Tensor, b: Tensor, scale: float, part: Tensor | None) -> None:
    if part is None:
        into.addmm_(a, b, alpha=scale)
    else:  # the scale belongs inside: a float16 product of small gradients would round to 0 without it
        torch.addmm(part, a, b, beta=0, alpha=scale, out=part)
        into += part


def _product(into: Tensor, a: Tensor, b: Tensor, scale: float) -> None:
    if into.dtype == a.dtype:
        torch.addmm(into, a, b, beta=0, alpha=scale, out=into)
    else:
        torch.mul(torch.mm(a, b), scale, out=into)

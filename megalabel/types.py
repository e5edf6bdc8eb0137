"""The values that travel between packages.

One letter stands for each dimension, the same everywhere: B texts in a batch, T tokens, D width, V views,
L labels, K kept, P positive pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Reduction = Literal["sum", "mean"]  # how the loss of a batch is put together from its parts
ScoreType = Literal["logit", "probability"]  # what the scores of a ranking are


def moved(value: Any, device: torch.device | str) -> Any:
    """A value on another device.

    A tensor goes to a GPU by way of pinned memory, from which the copy runs while the host goes on; from other
    memory the host would wait for it in every step. PyTorch keeps the pinned memory until the copy is done.
    """
    import torch

    if isinstance(value, torch.Tensor) and value.device.type == "cpu" and torch.device(device).type == "cuda":
        return (value.pin_memory() if value.numel() else value).to(device, non_blocking=True)
    return value.to(device)


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class Positives:
    """Which labels each text of a batch has, as pairs sorted by label, then by row.

    rows (P,) int64 in [0, B); labels (P,) int64 in [0, L). P may be 0. A pair that occurs twice counts once.
    texts (B,) int64: which training rows the texts of the batch are, for losses that keep something per training
    row (mined negatives, soft targets); None where they are unknown, as outside training.
    weights (B,) float32: the factor of the loss of each text; None for 1 each.
    """

    rows: Tensor
    labels: Tensor
    texts: Tensor | None = None
    weights: Tensor | None = None

    @classmethod
    def from_pairs(
        cls, rows: Tensor, labels: Tensor, texts: Tensor | None = None, weights: Tensor | None = None
    ) -> Positives:
        """Makes pairs in any order, (P,) and (P,) integers, unique and sorts them by label."""
        import torch

        rows, labels = rows.to(torch.int64), labels.to(torch.int64)
        if len(rows) == 0:
            return cls(rows, labels, texts, weights)
        # A pair as one number: torch.unique of pairs takes many times as long.
        lowest, n = rows.min(), rows.max() - rows.min() + 1
        codes = torch.unique(labels * n + (rows - lowest))
        return cls(codes % n + lowest, codes.div(n, rounding_mode="floor"), texts, weights)

    def with_pairs(self, rows: Tensor, labels: Tensor) -> Positives:
        """Other pairs of the same texts, such as those of clusters, in any order; see `from_pairs`."""
        return Positives.from_pairs(rows, labels, self.texts, self.weights)

    def to(self, device: torch.device | str) -> Positives:
        """The same pairs on another device."""
        texts, weights = (None if x is None else moved(x, device) for x in (self.texts, self.weights))
        return Positives(moved(self.rows, device), moved(self.labels, device), texts, weights)

    def of_texts(self, start: int, stop: int) -> Positives:
        """The pairs of the texts from `start` to below `stop`, their rows counted from `start`."""
        inside = (self.rows >= start) & (self.rows < stop)
        texts, weights = (None if x is None else x[start:stop] for x in (self.texts, self.weights))
        return Positives(self.rows[inside] - start, self.labels[inside], texts, weights)

    def __len__(self) -> int:
        return int(self.rows.numel())


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch of texts, as a training step takes it.

    tokens (B, T) int64, padded; mask (B, T) bool, True on real tokens; rows (B,) int64, which rows of the training
    set these are; positives as above; step counts batches from 0 over the whole run.

    A subclass may add fields: tensors whose first dimension is B travel along and are cut as the rest is.
    """

    tokens: Tensor
    mask: Tensor
    rows: Tensor
    positives: Positives
    step: int

    def to(self, device: torch.device | str) -> Self:
        """The same batch on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: moved(v, device) for name, v in values.items() if hasattr(v, "to")})

    def of_texts(self, start: int, stop: int) -> Self:
        """The texts from `start` to below `stop` as a batch of their own."""
        cut: dict[str, Any] = {"positives": self.positives.of_texts(start, stop)}
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in cut and hasattr(value, "shape") and value.shape[:1] == (len(self.rows),):
                cut[f.name] = value[start:stop]
        return replace(self, **cut)

    def __len__(self) -> int:
        return int(self.rows.numel())


@dataclass(frozen=True, eq=False)
class TopK:
    """The best labels of each text, best first; ties go to the lower label id.

    Scores that differ only beyond float32 (a product of probabilities that prints as 1) stand in their true order.
    ids (B, k) int64, the ids of the labels, -1 where there are fewer than k; scores (B, k) float32, -inf there.
    Heads return torch tensors, classifiers numpy arrays.
    """

    ids: Any
    scores: Any

    def numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """ids (B, k) int64 and scores (B, k) float32 as numpy arrays on the host."""
        import numpy as np

        def array(x: Any, dtype: Any) -> np.ndarray:
            if hasattr(x, "detach"):
                x = x.detach().cpu().numpy()
            return np.ascontiguousarray(x, dtype=dtype)

        return array(self.ids, np.int64), array(self.scores, np.float32)

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    @property
    def k(self) -> int:
        """The number of labels per text."""
        return int(self.ids.shape[1])

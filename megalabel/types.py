"""The values that travel between the rooms.

One letter per dimension, the same everywhere: B texts in a batch, T tokens, D width, V views,
L labels, K kept, P positive pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

Gives = Literal["logits", "probabilities"]  # what the scores of a ranking are


@dataclass(frozen=True)
class Positives:
    """Which labels each text of a batch truly has, as pairs sorted by label, then by row.

    rows (P,) int64 in [0, B); labels (P,) int64 in [0, L). P may be 0. A pair that occurs twice
    counts once.
    """

    rows: Tensor
    labels: Tensor

    @classmethod
    def of(cls, rows: Tensor, labels: Tensor) -> Positives:
        """Pairs in any order, repeated or not: (P,) and (P,) integers, made unique and sorted by label."""
        import torch

        rows, labels = rows.to(torch.int64), labels.to(torch.int64)
        if len(rows) == 0:
            return cls(rows, labels)
        # A pair as one number: torch.unique of pairs takes many times as long.
        lowest, n = rows.min(), rows.max() - rows.min() + 1
        codes = torch.unique(labels * n + (rows - lowest))
        return cls(rows=codes % n + lowest, labels=codes.div(n, rounding_mode="floor"))

    def to(self, device: torch.device | str) -> Positives:
        """The same pairs on another device."""
        return Positives(self.rows.to(device), self.labels.to(device))

    def __len__(self) -> int:
        return int(self.rows.numel())


@dataclass(frozen=True)
class Batch:
    """One batch of texts as a training step wants it.

    tokens (B, T) int64, padded; mask (B, T) bool, True on real tokens; rows (B,) int64, which rows of
    the training set these are; positives as above; step counts batches from 0 over the whole run.
    """

    tokens: Tensor
    mask: Tensor
    rows: Tensor
    positives: Positives
    step: int

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.tokens.to(device),
            self.mask.to(device),
            self.rows.to(device),
            self.positives.to(device),
            self.step,
        )


@dataclass(frozen=True)
class TopK:
    """The best labels of each text, best first; ties go to the lower label id.

    Scores that differ only beyond float32 (a product of probabilities that prints as 1) stand in their true order.
    labels (B, k) int64, -1 where there are fewer than k labels to give; scores (B, k) float32, -inf there.
    Torch tensors or numpy arrays: what heads make are tensors, what files hold are arrays.
    """

    labels: Any
    scores: Any

    def numpy(self) -> tuple[np.ndarray, np.ndarray]:
        """labels (B, k) int64 and scores (B, k) float32 as numpy arrays on the host."""
        import numpy as np

        def array(x: Any, dtype: Any) -> np.ndarray:
            if hasattr(x, "detach"):
                x = x.detach().cpu().numpy()
            return np.ascontiguousarray(x, dtype=dtype)

        return array(self.labels, np.int64), array(self.scores, np.float32)

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def k(self) -> int:
        """How many labels each text got."""
        return int(self.labels.shape[1])

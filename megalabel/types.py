"""The values that travel between packages.

One letter stands for each dimension, the same everywhere: B texts in a batch, T tokens, D width, V views,
L labels, K kept, P positive pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from megalabel.display import NAME, ROWS, cut, html_table

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp
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


@dataclass(frozen=True, eq=False, repr=False)
class TopK:
    """The best labels of each text, best first; ties go to the lower label id.

    It is a sequence of lists of pairs (label, score), one list per text; two rankings are equal if all labels and
    scores are. Scores that differ only beyond float32 (a product of probabilities that prints as 1) stand in their
    true order.
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
        return len(self.ids)

    @property
    def k(self) -> int:
        """The number of labels per text."""
        return int(self.ids.shape[1])

    def label(self, i: int) -> Any:
        """What stands for a label in pairs and on the screen: its id."""
        return i

    def __iter__(self) -> Iterator[list[tuple[Any, float]]]:
        ids, scores = self.numpy()
        for row, values in zip(ids, scores, strict=True):
            yield self._pairs(row, values)

    def __getitem__(self, at: int | slice) -> Any:
        """The pairs (label, score) of one text; of a slice, the ranking of these texts."""
        if isinstance(at, slice):
            return replace(self, ids=self.ids[at], scores=self.scores[at])
        ids, scores = self.numpy()
        return self._pairs(ids[at], scores[at])

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TopK):
            pairs = zip(self.numpy(), other.numpy(), strict=True)
            return all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)
        return list(self) == other if isinstance(other, list) else NotImplemented

    def __hash__(self) -> int:
        return hash(len(self.ids))

    def __repr__(self) -> str:
        shown = [f"  {i}: {self._shown(row) or 'no label'}" for i, row in enumerate(self[:ROWS])]
        more = ["  …"] if len(self) > len(shown) else []
        return "\n".join([f"{type(self).__name__}({len(self):,} texts, k = {self.k})", *shown, *more])

    def _repr_html_(self) -> str:
        """The first texts as a table, for notebooks."""
        rows = [(i, *(self._shown([pair]) for pair in row[:ROWS])) for i, row in enumerate(self[:ROWS])]
        header = ["text", *(f"label {i + 1}" for i in range(min(self.k, ROWS)))]
        more = [f"{len(self) - len(rows):,} more texts"] if len(self) > len(rows) else []
        more += [f"{self.k - ROWS:,} more labels"] if self.k > ROWS else []
        return html_table(
            f"{type(self).__name__}: {len(self):,} texts, k = {self.k}", header, rows, ", ".join(more)
        )

    def _shown(self, row: list[tuple[Any, float]]) -> str:
        """The first labels of a text with their scores, on a line."""
        pairs = ", ".join(f"{cut(str(label), NAME)} {score:.3g}" for label, score in row[:ROWS])
        return pairs + (", …" if len(row) > ROWS else "")

    def csr(self, n_labels: int) -> sp.csr_matrix:
        """The scores as a scipy matrix (B, n_labels) float32; entries with the score 0 are stored too."""
        import numpy as np
        import scipy.sparse as sp

        ids, scores = self.numpy()
        there = ids >= 0
        starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        found = sp.csr_matrix((scores[there], ids[there], starts), shape=(len(ids), n_labels))
        found.sort_indices()
        return found

    def _pairs(self, ids: np.ndarray, scores: np.ndarray) -> list[tuple[Any, float]]:
        return [(self.label(i), s) for i, s in zip(ids.tolist(), scores.tolist(), strict=True) if i >= 0]

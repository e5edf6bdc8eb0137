"""`LabelIndex`, the base class of indexes: finds candidates, and ranks them by the scores of the head."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.search.exact_scores import exact_scores
from megalabel.types import Positives, TopK

DEPTH = 10  # default for the most labels per text that an index finds
_ROWS = 65536  # rows of weights that are read at a time


class LabelTable(NamedTuple):
    """What is searched: the score of label l for the vector x is x · weight[l] + bias[l]."""

    weight: Tensor | NarrowTable  # (L, D), on the CPU
    bias: Tensor | None  # (L,)

    def rows(self, ids: np.ndarray) -> np.ndarray:
        """The vectors of labels (n,) int64 as (n, D) float32."""
        at = torch.from_numpy(ids)
        rows = self.weight.load_rows(at) if isinstance(self.weight, NarrowTable) else self.weight.detach()[at]
        found: np.ndarray = rows.float().numpy()
        return found

    def biases(self) -> np.ndarray | None:
        """The biases (L,) float32, or None."""
        return None if self.bias is None else self.bias.detach().float().numpy()

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All labels (n,) and their vectors (n, D), some at a time."""
        for start in range(0, self.weight.shape[0], _ROWS):
            ids = np.arange(start, min(start + _ROWS, self.weight.shape[0]))
            yield ids, self.rows(ids)

    def exact(self, x: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The exact k best labels of vectors x (B, D)."""
        return streaming_topk(x, self.weight, self.bias, k, exclude)


class LabelIndex(ABC):
    """Finds the best labels of texts among L.

    An index finds candidates; `topk` computes their scores from the weights of the head, and so returns the scores
    that the head has. Where an index cannot answer (more labels than `depth` are asked for, or fewer were reached
    than there are), every label is scored instead.

    Attributes:
        kind: how `build.build_index` calls it.
        depth: the most labels per text that it finds.
        shape: L and D of the table that it was built from.
        report: what was measured when it was built, as JSON.
    """

    kind: str

    def __init__(self, shape: tuple[int, int], depth: int) -> None:
        self.shape, self.depth = shape, depth
        self.report: list[dict[str, Any]] = []

    def topk(self, table: LabelTable, x: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The k best labels of each text that the index finds.

        Args:
            table: the weights of the head that the index was built from.
            x: (B, D), what is multiplied with the vectors of labels.
            k: labels per text.
            exclude: pairs of text and label that are left out.

        Returns:
            Labels (B, k) int64 and scores (B, k) float32, best first, ties to the lower label.

        Raises:
            SettingError: the table has another shape, or vectors are not finite.
            DataError: an excluded pair outside (B, L).
        """
        if tuple(table.weight.shape) != self.shape:
            raise SettingError(
                f"an index of {self.shape} for weights {tuple(table.weight.shape)}",
                wanted="the weights from which it was built",
                next_step="build it again with megalabel index",
            )
        if not 1 <= k <= self.depth or len(x) == 0:
            return table.exact(x, k, exclude)
        x = x.detach().float().contiguous()
        if exclude is not None and len(exclude):
            return self._without(table, x, k, exclude)
        ids, bound = self.candidates(x.numpy(), k)
        best = _best(table, x, ids, k)
        again = best[0][:, -1] < 0 if k <= self.shape[0] else (best[0] >= 0).sum(1) < self.shape[0]
        return _completed(table, x, best, again if bound is None else again | (best[1][:, -1] <= bound), None)

    def _without(self, table: LabelTable, x: Tensor, k: int, exclude: Positives) -> TopK:
        """The same without the excluded pairs: as many more candidates are found as a text has pairs."""
        n_labels = self.shape[0]
        check_excluded(exclude, len(x), n_labels)
        rows, labels = exclude.rows.numpy(), exclude.labels.numpy()
        counts = np.bincount(rows, minlength=len(x))
        ids, bound = self.candidates(x.numpy(), min(n_labels, k + int(counts.max())))
        hidden = np.isin(ids + np.arange(len(x))[:, None] * n_labels, rows * n_labels + labels)
        best = _best(table, x, np.where(hidden, -1, ids), k)
        again = (best[0] >= 0).sum(1) < np.minimum(n_labels - counts, k)
        return _completed(table, x, best, again if bound is None else again | (best[1][:, -1] <= bound), exclude)

    @abstractmethod
    def candidates(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The labels among which the k best of each text are sought.

        Args:
            x: (B, D) float32.
            k: 1 or more.

        Returns:
            Distinct labels (B, n) int64, −1 for none; and an upper bound (B,) float32 of the scores of all labels
            that are not among them, or None where nothing is known of them.
        """

    @abstractmethod
    def widths(self) -> list[int]:
        """Numbers, ascending, for `with_width`; empty if an index has nothing to choose."""

    @abstractmethod
    def with_width(self, width: int) -> LabelIndex:
        """The same index with another width: a wider search takes longer and finds more."""

    @abstractmethod
    def save_files(self, folder: Path) -> dict[str, Any]:
        """Writes the arrays into a folder; returns the facts that `load_files` needs, as JSON."""

    @classmethod
    @abstractmethod
    def load_files(cls, folder: Path, facts: dict[str, Any], shape: tuple[int, int], depth: int) -> LabelIndex:
        """Reads what `save_files` wrote, memory-mapped."""


def _best(table: LabelTable, x: Tensor, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of distinct labels (B, n) by their scores, ties to the lower label; −1 and −inf for none.

    In numpy, which for a single text takes a third of the time of the same operations in torch.
    """
    scores = exact_scores(x, table.weight, table.bias, torch.from_numpy(ids)).numpy()
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    found, best = np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1)
    if found.shape[1] < k:
        missing = ((0, 0), (0, k - found.shape[1]))
        return np.pad(found, missing, constant_values=-1), np.pad(best, missing, constant_values=-np.inf)
    return found, best


def _completed(
    table: LabelTable, x: Tensor, best: tuple[np.ndarray, np.ndarray], again: np.ndarray, exclude: Positives | None
) -> TopK:
    """The result, for which the texts `again` (B,) bool are ranked by scores of all labels."""
    ids, scores = map(torch.from_numpy, best)
    if not again.any():
        return TopK(ids, scores)
    rows, pairs = torch.from_numpy(again.nonzero()[0]), None
    if exclude is not None:
        places = torch.full((len(x),), -1).index_copy_(0, rows, torch.arange(len(rows)))
        kept = places[exclude.rows] >= 0
        pairs = Positives.from_pairs(places[exclude.rows[kept]], exclude.labels[kept])
    exact = table.exact(x[rows], ids.shape[1], pairs)
    return TopK(ids.index_copy(0, rows, exact.ids), scores.index_copy(0, rows, exact.scores))

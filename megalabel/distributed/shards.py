"""Which labels each process owns: contiguous ranges of label ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError

Ids = TypeVar("Ids", np.ndarray, Tensor)


@dataclass(frozen=True)
class LabelShards:
    """Label ids divided among W processes: rank r owns the labels from bounds[r] to below bounds[r + 1].

    Attributes:
        bounds: W + 1 label ids, ascending, from 0 to the number of labels L; a rank whose bounds are equal owns no
            label.

    Raises:
        SettingError: the bounds do not ascend from 0.
    """

    bounds: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds", tuple(int(bound) for bound in self.bounds))
        if len(self.bounds) < 2 or self.bounds[0] != 0 or any(a > b for a, b in pairwise(self.bounds)):
            raise SettingError(
                f"bounds {', '.join(map(str, self.bounds))}",
                wanted="one more than there are processes, ascending from 0 to the number of labels",
                where="bounds",
            )

    @classmethod
    def even(cls, n_labels: int, size: int) -> Self:
        """Ranges for `size` processes that are equally long, or the first ones longer by one label.

        With fewer labels than processes the last ones own no label.
        """
        if size < 1 or n_labels < 0:
            raise SettingError(
                f"{n_labels} labels for {size} processes", wanted="1 or more processes", where="size"
            )
        each, more = divmod(n_labels, size)
        return cls(tuple(rank * each + min(rank, more) for rank in range(size + 1)))

    @classmethod
    def at(cls, *borders: int) -> Self:
        """Ranges with the given W + 1 borders, such as the first labels of subtrees: 0, …, L."""
        return cls(borders)

    @property
    def n_labels(self) -> int:
        """L, the number of labels of all processes."""
        return self.bounds[-1]

    @property
    def size(self) -> int:
        """W, the number of processes."""
        return len(self.bounds) - 1

    @property
    def sizes(self) -> list[int]:
        """The number of labels of each process, W numbers."""
        return [stop - start for start, stop in pairwise(self.bounds)]

    def range(self, rank: int) -> range:
        """The ids of the labels that a process owns; empty if it owns none."""
        if not 0 <= rank < self.size:
            raise SettingError.range("rank", rank, 0, self.size - 1, integer=True)
        return range(self.bounds[rank], self.bounds[rank + 1])

    def owner(self, labels: Ids) -> Ids:
        """The rank that owns each label: ids in [0, L) of any shape, to int64 of the same shape and kind."""
        if isinstance(labels, Tensor):
            ends = torch.tensor(self.bounds[1:], dtype=torch.int64, device=labels.device)
            return torch.searchsorted(ends, labels.to(torch.int64).contiguous(), right=True)
        return np.searchsorted(np.array(self.bounds[1:], np.int64), labels, side="right").astype(np.int64)

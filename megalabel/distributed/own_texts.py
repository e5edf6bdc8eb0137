"""Batches of which each process encodes its own texts, while all of them know the labels of all texts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch

from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.inputs.batches import Batches
from megalabel.types import Batch, Positives


def shares(n_texts: int, size: int) -> list[int]:
    """How many texts of a batch each process encodes: they differ by one at most, the larger ones first."""
    return list(LabelShards.even(n_texts, size).sizes)


def n_texts_of(positives: Positives) -> int:
    """The number of texts of a batch, of which each process has encoded its own; SettingError if it is unknown."""
    if positives.texts is None:
        raise SettingError(
            "positives without texts",
            wanted="positives.texts, the training rows of the whole batch",
            next_step="take the batches of megalabel.inputs.batches, or pass texts to Positives.from_pairs",
            where="positives",
        )
    return len(positives.texts)


def own_positives(positives: Positives, world: World) -> tuple[Positives, float]:
    """The positives of this process's own texts of a batch, and the fraction of the batch that these texts are."""
    n_texts = n_texts_of(positives)
    sizes = shares(n_texts, world.size)
    stop, n = sum(sizes[: world.rank + 1]), sizes[world.rank]
    return positives.of_texts(stop - n, stop), n / max(n_texts, 1)


@dataclass(frozen=True, eq=False)
class OwnTexts(Batch):
    """A micro-batch as one process takes it.

    tokens, mask and rows are those of its own texts, or of one other text where it has none; positives are those
    of all texts of the micro-batch, whose rows count all of them. n_own is the number of its own texts.
    """

    n_own: int = 0


@dataclass(frozen=True, eq=False)
class RankBatch(Batch):
    """A batch as one process takes it: rows (B,) and positives are those of all texts, tokens are in `parts`."""

    parts: tuple[OwnTexts, ...] = ()


class RankBatches(Batches):
    """The batches of another object, of which this process pads the tokens of its own texts alone.

    Order and size of the batches do not depend on the number of processes. Micro-batches are cut from a batch
    first, and shares of the processes from each micro-batch.

    Args:
        whole: the batches of a run in one process.
        world: the processes.
        parts: the number of micro-batches.
    """

    def __init__(self, whole: Batches, world: World, parts: int = 1) -> None:
        super().__init__(whole.rows, whole.size, whole.epochs, seed=whole.seed, pad_id=whole.pad_id)
        self.whole, self.world, self.parts = whole, world, parts

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch, as without other processes."""
        return self.whole.plan(epoch)

    def collate(self, rows: np.ndarray, step: int) -> Batch:
        """One padded batch of the rows (B,), as without other processes."""
        return self.whole.collate(rows, step)

    def batch(self, rows: np.ndarray, step: int) -> RankBatch:
        """The batch of the rows (B,) as this process takes it."""
        parts = [part for part in np.array_split(rows, self.parts) if len(part)]
        own = tuple(self._own(part, step) for part in parts)
        texts = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        nothing = texts[:0]
        return RankBatch(own[0].tokens, own[0].mask, texts, Positives(nothing, nothing, texts), step, own)

    def _own(self, rows: np.ndarray, step: int) -> OwnTexts:
        sizes = shares(len(rows), self.world.size)
        ends = list(accumulate(sizes))
        n = sizes[self.world.rank]
        mine = rows[ends[self.world.rank] - n : ends[self.world.rank]] if n else rows[:1]
        own = self.whole.collate(mine, step)
        return OwnTexts(own.tokens, own.mask, own.rows, self.positives(rows), step, n)

"""Ranks the labels of a dense head in several processes, each with its own range of them, and merges the rankings.

For heads that are too large for one GPU, or for the memory of one process.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
import torch

from megalabel.data.filters import FilterPairs
from megalabel.distributed.collectives import gather_rows
from megalabel.distributed.merged_topk import merged_topk
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.models.base import Advance, Classifier
from megalabel.models.neural import NeuralClassifier
from megalabel.types import Positives, TopK


class LabelSharded(Classifier):
    """An encoder with a dense head, of whose labels each process ranks its own range.

    Every process is asked for the same texts and gets the whole answer. It encodes its share of them; the vectors
    of all texts are gathered, and then k labels per text and process.

    Args:
        model: loaded on the CPU with `mapped=True`, so that a process reads only what it needs.
        world: this process among those of the job, within `distributed.world.join`.
        device: where the encoder and the labels of this process go.

    Raises:
        SettingError: the model is no encoder with a dense head.
    """

    def __init__(self, model: Classifier, world: World, device: str | torch.device = "cpu") -> None:
        head = model.head if isinstance(model, NeuralClassifier) else None
        if not isinstance(model, NeuralClassifier) or type(head) is not DenseHead:
            found = type(model).__name__ if head is None else f"a model with a {type(head).__name__}"
            raise SettingError(
                f"{found}",
                wanted="an encoder with a dense head, as renee trains it, whose labels can be divided",
                next_step="leave --shard-labels out; processes then share the texts",
                where="shard_labels",
            )
        self.world, self.device = world, torch.device(device)
        self.shards = LabelShards.even(head.n_labels, world.size)
        own = self.shards.range(world.rank)
        rows, table = slice(own.start, own.stop), head.table(frozen=True)
        self.first = own.start
        self.table: Any
        if isinstance(table, NarrowTable):
            exponents = None if table.exponents is None else table.exponents[rows].to(self.device)
            self.table = NarrowTable(table.kind, table.codes[rows].detach().to(self.device), exponents)
        else:
            self.table = table[rows].detach().to(self.device)
        self.bias = None if head.bias is None else head.bias[rows].detach().to(self.device)
        model.encoder.to(self.device)
        # With a head that is not used, so that the labels of other processes are not kept.
        unused = DenseHead(1, head.dim).to(self.device)
        self.encoding = NeuralClassifier(model.encoder, unused, model.label_texts, model.max_length)
        self.label_texts, self.trained_on = model.label_texts, model.trained_on
        self.score_type, self.loss_name = model.score_type, model.loss_name
        self.calibration, self.metadata = model.calibration, model.metadata

    @torch.no_grad()
    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, in all processes."""
        views = self._views(texts, batch_size)
        forbidden = FilterPairs(exclude, len(texts))
        ids, scores = np.full((len(texts), k), -1, np.int64), np.full((len(texts), k), -np.inf, np.float32)
        for start in range(0, len(texts), batch_size):
            rows = np.arange(start, min(start + batch_size, len(texts)))
            own = self._own(views[rows].to(self.device), k, forbidden.for_rows(rows, self.device))
            ids[rows], scores[rows] = merged_topk(own, self.first, k, self.world).numpy()
            advance(len(rows))
        return TopK(ids, scores)

    def _views(self, texts: Sequence[str], batch_size: int) -> torch.Tensor:
        """The vectors of all texts, (N, D), each of which one process has computed."""
        shares = LabelShards.even(len(texts), self.world.size)
        own = shares.range(self.world.rank)
        found = self.encoding.encode(texts[own.start : own.stop], batch_size=batch_size)[:, 0]
        return gather_rows(torch.from_numpy(found), shares.sizes, self.world)

    def _own(self, views: torch.Tensor, k: int, exclude: Positives | None) -> TopK:
        """The k best labels of this process, counted from its first one."""
        n = len(self.shards.range(self.world.rank))
        if not n:
            return TopK(views.new_empty(len(views), 0, dtype=torch.int64), views.new_empty(len(views), 0))
        if exclude is not None:
            here = (exclude.labels >= self.first) & (exclude.labels < self.first + n)
            exclude = Positives.from_pairs(exclude.rows[here], exclude.labels[here] - self.first)
        return streaming_topk(views, self.table, self.bias, min(k, n), exclude)

    def save(self, folder: str | Path) -> NoReturn:
        """Refused: the model that it was made from is saved."""
        raise SettingError("a part of a model", wanted="the whole model", where="model")

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Refused: see `LabelSharded`."""
        raise SettingError("a part of a model", wanted="a whole model", where="model")

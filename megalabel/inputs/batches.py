"""Shuffled batches of texts of like length: the same for the same seed, and from any step on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.types import Batch, Positives

BUCKET = 32  # batches that are sorted by length together
AHEAD = 4  # batches made before they are asked for


class Batches:
    """The batches of a whole run.

    Each epoch is shuffled, cut into buckets of 32 batches that are sorted by length inside, and the
    batches are shuffled again: little padding, and yet random. Every batch is a function of (seed, step)
    alone, so a run can go on at any step. The last batch of an epoch is smaller where the rows do not
    divide.

    Args:
        rows: what to train on.
        size: B, texts a step.
        epochs: how often every row is seen.
        seed: decides the order.
        pad_id: the token that fills short rows.
    """

    def __init__(self, rows: Rows, size: int, epochs: int, *, seed: int = 0, pad_id: int = 0) -> None:
        if len(rows) == 0:
            raise SettingError(
                "no training rows", wanted="at least one text", next_step="look at the data with `data check`"
            )
        if size < 1 or epochs < 1:
            raise SettingError(
                f"batch_size = {size}, epochs = {epochs}",
                wanted="at least 1 of each",
                next_step="raise the one that is below 1",
            )
        self.rows, self.size, self.epochs, self.seed, self.pad_id = rows, size, epochs, seed, pad_id
        self.per_epoch = -(-len(rows) // size)

    @property
    def steps(self) -> int:
        """Batches in the whole run."""
        return self.per_epoch * self.epochs

    def from_step(self, step: int = 0) -> Generator[Batch]:
        """Batches `step`, `step` + 1, … to the end, made ahead by a thread that ends when this is closed."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=AHEAD)
        stop = threading.Event()

        def offer(item: Batch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def make() -> None:
            try:
                for batch in self._make(step):
                    offer(batch)
                    if stop.is_set():
                        return
                offer(None)
            except BaseException as error:
                offer(error)

        thread = threading.Thread(target=make, daemon=True, name="megalabel-batches")
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _make(self, step: int) -> Iterator[Batch]:
        for epoch in range(step // self.per_epoch, self.epochs):
            plan = self._plan(epoch)
            for i in range(step - epoch * self.per_epoch if step > epoch * self.per_epoch else 0, len(plan)):
                yield self.collate(plan[i], epoch * self.per_epoch + i)

    def _plan(self, epoch: int) -> list[np.ndarray]:
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.rows))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), self.size * BUCKET):
            bucket = order[start : start + self.size * BUCKET]
            bucket = bucket[np.argsort(self.rows.lengths[bucket], kind="stable")]
            batches.extend(bucket[i : i + self.size] for i in range(0, len(bucket), self.size))
        return [batches[i] for i in random.permutation(len(batches))]

    def collate(self, rows: np.ndarray, step: int) -> Batch:
        """The rows (B,) as one padded batch."""
        tokens, mask = pad(self.rows.tokens(rows), self.pad_id)
        where, labels = self.rows.positives(rows)
        return Batch(
            tokens=tokens,
            mask=mask,
            rows=torch.from_numpy(np.asarray(rows, dtype=np.int64)),
            positives=Positives.of(torch.from_numpy(where), torch.from_numpy(labels)),
            step=step,
        )


def pad(token_ids: list[np.ndarray], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of ids to tokens (B, T) int64 and mask (B, T) bool; T is the longest row's, at least 1."""
    lengths = np.fromiter((len(ids) for ids in token_ids), np.int64, len(token_ids))
    mask = np.arange(max(int(lengths.max(initial=0)), 1))[None, :] < lengths[:, None]
    tokens = np.full(mask.shape, pad_id, dtype=np.int64)
    if lengths.any():
        tokens[mask] = np.concatenate(token_ids)
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def split(batch: Batch, parts: int) -> list[Batch]:
    """A batch as `parts` micro-batches of nearly equal size, in order, for gradient accumulation."""
    if parts == 1:
        return [batch]
    pieces, start = [], 0
    for tokens, mask, rows in zip(
        batch.tokens.tensor_split(parts),
        batch.mask.tensor_split(parts),
        batch.rows.tensor_split(parts),
        strict=True,
    ):
        inside = (batch.positives.rows >= start) & (batch.positives.rows < start + len(rows))
        positives = Positives(batch.positives.rows[inside] - start, batch.positives.labels[inside])
        start += len(rows)
        if len(rows):
            pieces.append(Batch(tokens, mask, rows, positives, batch.step))
    return pieces


def hold_out(n: int, share: float, seed: int, most: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Which of n rows to train on and which to validate on, both sorted; at most `most` to validate."""
    if not 0 <= share < 1:
        raise SettingError(
            f"validation = {share}", wanted="a share in [0, 1)", next_step="give e.g. 0.05, or 0 for none"
        )
    held = min(int(n * share), most)
    if share > 0 and held == 0:
        raise SettingError(
            f"validation = {share} of {n} texts is no text",
            wanted="at least one text to validate on",
            next_step="raise the share, or give 0 for none",
        )
    order = np.random.default_rng([seed, 1]).permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])

"""Shuffled batches of texts of similar length, reproducible from any step of a run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np

from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.types import Batch, Positives

if TYPE_CHECKING:
    import torch

BUCKET = 32  # batches per bucket, in which rows are sorted by length
AHEAD = 4  # batches prepared in advance


class Batches:
    """The batches of a whole run.

    Each epoch is shuffled, cut into buckets of 32 batches that are sorted by length, and the batches are shuffled
    again: this keeps padding small and the order random. The plan of an epoch is a function of (seed, epoch), so a
    run can resume at any step. The last batch of an epoch is smaller if the batch size does not divide the number
    of rows.

    A subclass with another order overrides `plan`, and `collate` if its batches contain more. If its plan depends
    on the model, for example on clusters that a head computes, it sets `ahead = False`.

    Args:
        rows: the training rows.
        size: B, texts per step.
        epochs: number of passes over the rows.
        seed: seeds the order.
        pad_id: the padding token.

    Attributes:
        ahead: whether an epoch may be planned before the previous one has ended. If not, the first batch of an
            epoch is made after the last step of the previous epoch, and a resumed run makes the same plan as an
            uninterrupted one.
    """

    ahead: bool = True

    def __init__(self, rows: Rows, size: int, epochs: int, *, seed: int = 0, pad_id: int = 0) -> None:
        if len(rows) == 0:
            raise SettingError(
                "no training rows",
                wanted="at least one text",
                next_step="check the data with `megalabel data check`",
            )
        if size < 1 or epochs < 1:
            raise SettingError(
                f"batch_size = {size}, epochs = {epochs}",
                wanted="at least 1 of each",
            )
        self.rows, self.size, self.epochs, self.seed, self.pad_id = rows, size, epochs, seed, pad_id
        self.per_epoch = -(-len(rows) // size)

    @property
    def steps(self) -> int:
        """The number of batches of the run."""
        return self.per_epoch * self.epochs

    def from_step(self, step: int = 0) -> Generator[Batch]:
        """Yields batches `step`, `step` + 1, … to the end; a thread prepares them until this is closed."""
        ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=AHEAD)
        stop, requests = threading.Event(), _Requests(step)

        def offer(item: Batch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def make() -> None:
            try:
                for batch in self._make(step, requests, stop):
                    offer(batch)
                    if stop.is_set():
                        return
                offer(None)
            except BaseException as error:
                offer(error)

        thread = threading.Thread(target=make, daemon=True, name="megalabel-batches")
        thread.start()
        try:
            while True:
                requests.requested()
                item = ready.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _make(self, step: int, requests: _Requests, stop: threading.Event) -> Iterator[Batch]:
        for epoch in range(step // self.per_epoch, self.epochs):
            first = epoch * self.per_epoch
            if not self.ahead and not requests.wait_for(max(first, step), stop):
                return
            plan = self.plan(epoch)
            if len(plan) != self.per_epoch:
                raise SettingError(
                    f"a plan of {len(plan)} batches for epoch {epoch}",
                    wanted=f"{self.per_epoch} batches, as in every epoch",
                    next_step=f"let {type(self).__name__}.plan return as many batches as there are steps",
                )
            for i in range(max(step - first, 0), len(plan)):
                yield self.batch(plan[i], first + i)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch: `per_epoch` arrays (B,) int64."""
        return self.shuffled(epoch)

    def shuffled(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch: random, but of similar length within a batch; a function of (seed, epoch)."""
        random = np.random.default_rng([self.seed, epoch])
        order = random.permutation(len(self.rows))
        batches: list[np.ndarray] = []
        for start in range(0, len(order), self.size * BUCKET):
            bucket = order[start : start + self.size * BUCKET]
            bucket = bucket[np.argsort(self.rows.lengths[bucket], kind="stable")]
            batches.extend(bucket[i : i + self.size] for i in range(0, len(bucket), self.size))
        return [batches[i] for i in random.permutation(len(batches))]

    def collate(self, rows: np.ndarray, step: int) -> Batch:
        """Makes one padded batch of the rows (B,)."""
        tokens, mask = pad(self.rows.tokens(rows), self.pad_id)
        positives = self.positives(rows)
        assert positives.texts is not None
        return Batch(tokens=tokens, mask=mask, rows=positives.texts, positives=positives, step=step)

    def batch(self, rows: np.ndarray, step: int) -> Batch:
        """The batch of the rows (B,) that the training takes."""
        return self.collate(rows, step)

    def positives(self, rows: np.ndarray) -> Positives:
        """The labels and weights of the rows (B,)."""
        import torch

        where, labels = self.rows.positives(rows)
        texts = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        of_rows = getattr(self.rows, "weights", None)
        weights = None if of_rows is None else torch.from_numpy(of_rows[rows])
        return Positives.from_pairs(torch.from_numpy(where), torch.from_numpy(labels), texts, weights)


class _Requests:
    """Counts the batches that the training loop has requested; a request means that earlier batches are done."""

    def __init__(self, step: int) -> None:
        self._next, self._changed = step - 1, threading.Condition()

    def requested(self) -> None:
        """Called when the loop requests the next batch."""
        with self._changed:
            self._next += 1
            self._changed.notify_all()

    def wait_for(self, step: int, stop: threading.Event) -> bool:
        """Waits until the loop requests batch `step`; False if it has ended instead."""
        with self._changed:
            while self._next < step and not stop.is_set():
                self._changed.wait(timeout=0.1)
        return not stop.is_set()


def pad(token_ids: list[np.ndarray], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads rows of ids to tokens (B, T) int64 and mask (B, T) bool; T is the longest row's length, at least 1."""
    import torch

    lengths = np.fromiter((len(ids) for ids in token_ids), np.int64, len(token_ids))
    mask = np.arange(max(int(lengths.max(initial=0)), 1))[None, :] < lengths[:, None]
    tokens = np.full(mask.shape, pad_id, dtype=np.int64)
    if lengths.any():
        tokens[mask] = np.concatenate(token_ids)
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def split(batch: Batch, parts: int) -> list[Batch]:
    """Splits a batch into `parts` micro-batches of nearly equal size, in order, for gradient accumulation."""
    if parts == 1:
        return [batch]
    sizes = [len(rows) for rows in batch.rows.tensor_split(parts)]
    starts = [0, *accumulate(sizes)]
    return [batch.of_texts(start, stop) for start, stop in pairwise(starts) if stop > start]


def hold_out(n: int, fraction: float, seed: int, most: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Draws the rows to train on and those to validate on, both sorted.

    Args:
        n: number of rows.
        fraction: fraction to validate on, from 0 to below 1.
        seed: seeds the draw.
        most: maximum number of rows to validate on.

    Raises:
        SettingError: the fraction is out of range, or so small that no row would be held out.
    """
    if not 0 <= fraction < 1:
        raise SettingError(
            f"validation_fraction = {fraction}", wanted="a number from 0 to below 1", where="validation_fraction"
        )
    held = min(int(n * fraction), most)
    if fraction > 0 and held == 0:
        raise SettingError(
            f"validation_fraction = {fraction} of {n} texts is less than one text",
            wanted="at least one text to validate on",
            next_step="raise it, or set it to 0",
            where="validation_fraction",
        )
    order = np.random.default_rng([seed, 1]).permutation(n)
    return np.sort(order[held:]), np.sort(order[:held])

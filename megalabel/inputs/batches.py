"""Shuffled batches of texts of like length: the same for the same seed, and from any step on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from itertools import accumulate, pairwise

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.inputs.augment import Rows
from megalabel.types import Batch, Positives

BUCKET = 32  # batches that are sorted by length together
AHEAD = 4  # batches made before they are asked for


class Batches:
    """The batches of a whole run.

    Each epoch is shuffled, cut into buckets of 32 batches that are sorted by length inside, and the batches are
    shuffled again: little padding, and still random. The plan of an epoch is a function of (seed, epoch), so a run
    can resume at any step. The last batch of an epoch is smaller where the rows do not divide.

    A subclass with an order of its own overrides `plan`, and `collate` where its batches hold more. If the plan
    looks at the model, at clusters of texts that a head renews for instance, it sets `ahead = False`.

    Args:
        rows: what to train on.
        size: B, texts per step.
        epochs: how often every row is seen.
        seed: decides the order.
        pad_id: the token that fills short rows.

    Attributes:
        ahead: whether an epoch may be planned before the one before it is over. Where it may not, the first batch
            of an epoch is made when the last step of the epoch before has ended, and a resumed run plans what the
            uninterrupted one planned.
    """

    ahead: bool = True

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
        stop, turn = threading.Event(), _Turn(step)

        def offer(item: Batch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return ready.put(item, timeout=0.1)
                except queue.Full:
                    continue

        def make() -> None:
            try:
                for batch in self._make(step, turn, stop):
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
                turn.asked()
                item = ready.get()
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()

    def _make(self, step: int, turn: _Turn, stop: threading.Event) -> Iterator[Batch]:
        for epoch in range(step // self.per_epoch, self.epochs):
            first = epoch * self.per_epoch
            if not self.ahead and not turn.wait_for(max(first, step), stop):
                return
            plan = self.plan(epoch)
            if len(plan) != self.per_epoch:
                raise SettingError(
                    f"a plan of {len(plan)} batches for epoch {epoch}",
                    wanted=f"{self.per_epoch} batches, as in every epoch",
                    next_step=f"let {type(self).__name__}.plan return as many batches as there are steps",
                )
            for i in range(max(step - first, 0), len(plan)):
                yield self.collate(plan[i], first + i)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch, `per_epoch` arrays (B,) int64."""
        return self.shuffled(epoch)

    def shuffled(self, epoch: int) -> list[np.ndarray]:
        """The rows of each batch: random, but of like length within a batch; by (seed, epoch) alone."""
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
        texts = torch.from_numpy(np.asarray(rows, dtype=np.int64))
        positives = Positives.from_pairs(torch.from_numpy(where), torch.from_numpy(labels), texts)
        return Batch(tokens=tokens, mask=mask, rows=texts, positives=positives, step=step)


class _Turn:
    """How many batches the training loop has asked for; who asks for the next one is done with those before."""

    def __init__(self, step: int) -> None:
        self._next, self._changed = step - 1, threading.Condition()

    def asked(self) -> None:
        """The loop asks for the next batch."""
        with self._changed:
            self._next += 1
            self._changed.notify_all()

    def wait_for(self, step: int, stop: threading.Event) -> bool:
        """Waits until the loop asks for batch `step`; False where it has ended instead."""
        with self._changed:
            while self._next < step and not stop.is_set():
                self._changed.wait(timeout=0.1)
        return not stop.is_set()


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
    sizes = [len(rows) for rows in batch.rows.tensor_split(parts)]
    starts = [0, *accumulate(sizes)]
    return [batch.of_texts(start, stop) for start, stop in pairwise(starts) if stop > start]


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

"""Exchanges of tensors between the processes of a job, with a count of the bytes that they move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from megalabel.distributed.world import World
from megalabel.errors import SettingError


@dataclass
class Traffic:
    """Bytes that this process has sent to others, by kind of exchange.

    Counted are the bytes of tensors that each exchange needs at least: to hand n bytes to W - 1 others is to send
    (W - 1) n bytes; a sum over all processes of n bytes takes 2 n (W - 1) / W bytes, as in a ring. Headers and
    objects are not counted.
    """

    sent: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """All bytes sent."""
        return sum(self.sent.values())

    def add(self, kind: str, n_bytes: int) -> None:
        """Counts an exchange."""
        self.sent[kind] += n_bytes


# Its name since PyTorch 2.13, and the one before.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


def gather_rows(rows: Tensor, sizes: Sequence[int], world: World, traffic: Traffic | None = None) -> Tensor:
    """The rows of all processes, in the order of their ranks: (n_r, ...) each to (n_0 + n_1 + …, ...).

    Parts are padded to the longest one on their way.

    Args:
        rows: (n_r, ...), the rows of this process.
        sizes: n_r of each process, the same list in all of them.
        world: the processes.
        traffic: counts the bytes; None to count none.
    """
    _check_sizes(sizes, world, len(rows), sizes[world.rank])
    if world.size == 1:
        return rows
    longest = max(sizes)
    sent = rows.contiguous()
    if len(rows) < longest:
        sent = torch.cat([sent, sent.new_zeros(longest - len(rows), *rows.shape[1:])])
    found = sent.new_empty(world.size * longest, *rows.shape[1:])
    if found.numel():
        _all_gather(found, sent)
    if traffic is not None:
        traffic.add("gather", (world.size - 1) * sent.numel() * sent.element_size())
    if all(size == longest for size in sizes):
        return found
    return torch.cat([found[r * longest : r * longest + size] for r, size in enumerate(sizes)])


class Pending:
    """An exchange that runs while the process computes; `wait` returns its result."""

    def __init__(self, work: Any, received: Tensor, n_parts: int, sent: Tensor) -> None:
        self._work, self._received, self._n_parts = work, received, n_parts
        self._sent = sent  # kept alive until the exchange is done

    def wait(self) -> Tensor:
        """The sum over all processes, in the order of their ranks."""
        if self._work is not None:
            self._work.wait()
        first, *others = self._received.chunk(self._n_parts) if self._received.numel() else (self._received,)
        total = first.clone() if others else first
        for part in others:
            total += part
        return total


def reduce_scatter_rows(
    rows: Tensor, sizes: Sequence[int], world: World, traffic: Traffic | None = None
) -> Pending:
    """Starts summing over all processes; each one receives its own rows of the sum: (Σ n_r, ...) to (n_r, ...).

    The terms of each sum are added in the order of the ranks, so that results are the same in every run. It takes
    the memory of `rows` once more.

    Args:
        rows: (n_0 + n_1 + …, ...), the terms of this process; not to be changed before `wait`.
        sizes: n_r of each process, the same list in all of them.
        world: the processes.
        traffic: counts the bytes; None to count none.
    """
    _check_sizes(sizes, world, len(rows), sum(sizes))
    if world.size == 1:
        return Pending(None, rows, 1, rows)
    own, sent = sizes[world.rank], rows.contiguous()
    received = sent.new_empty(world.size * own, *rows.shape[1:])
    work = dist.all_to_all_single(received, sent, [own] * world.size, list(sizes), async_op=True)
    if traffic is not None:
        row = sent[:1].numel() * sent.element_size()
        traffic.add("reduce_scatter", (len(rows) - own) * row)
    return Pending(work, received, world.size, sent)


def swap_rows(
    rows: Tensor, sent: Sequence[int], received: Sequence[int], world: World, traffic: Traffic | None = None
) -> Tensor:
    """Sends each process its own rows; returns those that all processes have sent to this one, by their ranks.

    Args:
        rows: (n, ...), first those for rank 0.
        sent: the number of rows for each process.
        received: the number of rows that each process sends to this one.
        world: the processes.
        traffic: counts the bytes; None to count none.
    """
    _check_sizes(sent, world, len(rows), sum(sent))
    if world.size == 1:
        return rows
    rows = rows.contiguous()
    found = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(found, rows, list(received), list(sent))
    if traffic is not None:
        others = len(rows) - sent[world.rank]
        traffic.add("swap", others * rows[:1].numel() * rows.element_size() if others else 0)
    return found


def sum_of_all(value: Tensor, world: World, traffic: Traffic | None = None) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if world.size > 1:
        dist.all_reduce(value)
        if traffic is not None:
            traffic.add("sum", 2 * (world.size - 1) * value.numel() * value.element_size() // world.size)
    return value


def broadcast(value: Tensor, source: int, world: World) -> Tensor:
    """The tensor of process `source`, written to the tensor of the same shape and type that the others pass."""
    if world.size > 1 and value.numel():
        dist.broadcast(value, source)
    return value


def _check_sizes(sizes: Sequence[int], world: World, found: int, wanted: int) -> None:
    if len(sizes) != world.size or found != wanted:
        raise SettingError(
            f"{found} rows, and {len(sizes)} sizes for {world.size} processes",
            wanted=f"{wanted} rows, and the number of rows of each process",
            where="sizes",
        )

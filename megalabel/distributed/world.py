"""The processes of one job: which of them this one is, and how it joins and leaves the others."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from megalabel.distributed.failures import cannot_join
from megalabel.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch.distributed import Store  # type: ignore[attr-defined]

TIMEOUT = 1800.0  # seconds that a process waits for the others; one that has ended is noticed at once
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")  # as torchrun sets them
START = "start the command with torchrun, for example torchrun --nproc-per-node 2 -m megalabel train ..."


@dataclass(frozen=True)
class World:
    """This process among those of the job, as torchrun numbers them.

    Attributes:
        rank: the number of this process, from 0 to size - 1.
        size: the number of processes, W; 1 for a job of one process, which needs no process group.
        local_rank: the number of this process among those of its machine, by which it chooses its GPU.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 <= self.rank < self.size or self.local_rank < 0:
            raise SettingError(
                f"process {self.rank} of {self.size}, number {self.local_rank} of its machine",
                wanted="a rank from 0 to below the number of processes",
                next_step=START,
                where="world",
            )

    @classmethod
    def current(cls) -> Self:
        """The world of the process group, or that of one process where there is no group."""
        if "torch" not in sys.modules:  # then nothing can have made a group
            return cls()
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", 0)))

    @classmethod
    def announced(cls) -> Self:
        """The world that torchrun's environment variables announce; that of one process without them.

        Raises:
            SettingError: some of the variables are missing, or are not numbers that fit each other.
        """
        found = {name: os.environ[name] for name in NAMES if name in os.environ}
        if "WORLD_SIZE" not in found:
            return cls()
        try:
            return cls(int(found["RANK"]), int(found["WORLD_SIZE"]), int(found.get("LOCAL_RANK", 0)))
        except (KeyError, ValueError) as error:
            raise SettingError(
                "the environment variables " + ", ".join(f"{name}={value}" for name, value in found.items()),
                wanted="RANK, WORLD_SIZE and LOCAL_RANK as torchrun sets them",
                next_step=START,
                where="world",
            ) from error

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints: rank 0."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """The device of this process: its GPU where there are GPUs, else the CPU.

        Raises:
            SettingError: the machine has fewer GPUs than processes.
        """
        import torch

        if not torch.cuda.is_available():
            return torch.device("cpu")
        if self.local_rank >= torch.cuda.device_count():
            raise SettingError(
                f"process {self.local_rank} of a machine with {torch.cuda.device_count()} GPUs",
                wanted="at most one process per GPU",
                next_step="lower --nproc-per-node",
                where="world",
            )
        return torch.device("cuda", self.local_rank)


@contextlib.contextmanager
def join(timeout: float = TIMEOUT, store: Store | None = None) -> Iterator[World]:
    """Joins the processes that torchrun has started, and leaves them at the end; yields this process's `World`.

    Tensors on the CPU are exchanged by gloo, those on GPUs by nccl. Without torchrun, and with one process, there
    is no process group; if a group exists already, it is used and stays.

    Args:
        timeout: seconds that a process waits for the others, at the start and in each exchange.
        store: where the processes meet; None for the one that torchrun announces.

    Raises:
        SettingError: the environment variables are incomplete, or there are more processes than GPUs.
        CannotJoin: the others have not come in time, or the port at which they are to meet is in use.
    """
    import torch
    import torch.distributed as dist

    from megalabel.distributed.meeting import open_store

    if dist.is_available() and dist.is_initialized():
        yield World.current()
        return
    world = World.announced()
    if world.size == 1:
        yield world
        return
    backend = "gloo"
    if world.device.type == "cuda":
        torch.cuda.set_device(world.device)
        backend = "cpu:gloo,cuda:nccl"
    store = open_store(world.rank, world.size, timeout) if store is None else store
    limit = timedelta(seconds=timeout)
    try:
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=limit)
    except RuntimeError as error:  # of gloo, nccl and the store
        raise cannot_join(error, world.size, timeout) from error
    try:
        yield world
    finally:
        dist.destroy_process_group()

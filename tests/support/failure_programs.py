"""Jobs of several processes that fail in some way, for `Ranks.ends` of `ranks.py`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch

from megalabel.cli.streams import fail
from megalabel.distributed import same_job
from megalabel.distributed.agreement import together
from megalabel.distributed.objects import barrier
from megalabel.distributed.session import session
from megalabel.distributed.world import World
from megalabel.errors import MegalabelError, SettingError

same_job.PATIENCE = 0.3


def job(work: str, *arguments: Any, timeout: float = 60.0) -> None:
    """Does a work of this file in a session, and ends as the command line does."""
    try:
        with session(timeout) as world:
            WORKS[work](world, *arguments)
    except (MegalabelError, OSError, MemoryError) as error:
        fail(error)


def at_port(port: int) -> None:
    """A job that meets at a port; waits a second only."""
    os.environ["MASTER_PORT"] = str(port)
    job("nothing", timeout=1.0)


def without_last() -> None:
    """A job whose last process does not come in time."""
    if os.environ["RANK"] == str(int(os.environ["WORLD_SIZE"]) - 1):
        return
    job("nothing", timeout=1.0)


def hang(rank: int) -> None:
    """A job of which a process does not answer for longer than the others wait."""
    job("hang", rank, timeout=1.0)


def command(arguments: list[list[str]]) -> None:
    """The command line, with arguments for each process."""
    import numba

    from megalabel.cli.main import main

    numba.set_num_threads(1)
    sys.argv = ["megalabel", *arguments[int(os.environ["RANK"])]]
    try:
        main()
    except SystemExit as stop:  # of commands that succeed
        os._exit(int(stop.code or 0))


def _compare(world: World, facts: list[dict[str, Any]]) -> None:
    same_job.check_same_job(facts[world.rank], world)


def _share(world: World, folders: list[Path]) -> None:
    same_job.check_shared(folders[world.rank], world)


def _die(world: World, rank: int) -> None:
    barrier(world)
    if world.rank == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    barrier(world)


def _take_memory(world: World, rank: int) -> None:
    barrier(world)
    if world.rank == rank:
        torch.empty(1 << 52)
    barrier(world)


def _refuse(world: World, rank: int) -> None:
    def work() -> None:
        if world.rank == rank:
            raise SettingError("one", wanted="two", where="number")

    together(world, work)


def _stumble(world: World, rank: int) -> None:
    together(world, lambda: 1 // (world.rank - rank))


def _open_checkpoint(world: World, folder: Path, *rest: Any) -> None:
    from megalabel.distributed.checkpoints import load_parts
    from megalabel.storage.shard_manifest import ShardManifest

    load_parts(folder, ShardManifest.read(folder, next_step="-"), {}, world, next_step="-")


def _hang(world: World, rank: int) -> None:
    if world.rank == rank:
        time.sleep(3)
        os._exit(0)
    barrier(world)


WORKS = {
    "nothing": lambda world: None,
    "compare": _compare,
    "share": _share,
    "die": _die,
    "take memory": _take_memory,
    "refuse": _refuse,
    "stumble": _stumble,
    "open": _open_checkpoint,
    "hang": _hang,
}

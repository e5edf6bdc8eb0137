"""The work of a process in a job of several: joins the others, and lets one of them print what went wrong."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator

import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]

from megalabel.distributed.failures import ProcessLost, as_error
from megalabel.distributed.meeting import open_store
from megalabel.distributed.world import TIMEOUT, World, join
from megalabel.errors import MegalabelError

_GRACE = 2.0  # seconds in which the processes that are left say so
_FAILED = "failed"  # in the store: how many processes have failed by themselves or noticed it


@contextlib.contextmanager
def session(timeout: float = TIMEOUT) -> Iterator[World]:
    """Joins the processes that torchrun has started; yields this process's `World`.

    An error inside is raised again with `speaker` set, the number of the process that is to print it, so that a
    job that fails prints one message: that of the first process that fails, or, if it was killed and cannot speak,
    that of another which finds that it no longer answers. With one process, errors are raised as they are.

    Args:
        timeout: seconds that a process waits for the others, at the start and in each exchange.

    Raises:
        CannotJoin: the port is in use, or not all processes have come in time.
        ProcessLost: another process has ended.
    """
    world = World.announced()
    if world.size == 1 or dist.is_initialized():
        with join(timeout) as joined:
            yield joined
        return
    store = open_store(world.rank, world.size, timeout)
    try:
        with join(timeout, store) as joined:
            try:
                yield joined
            except Exception as raised:  # the others notice when `join` leaves the group, so this comes first
                error = as_error(raised, world.rank)
                _choose_speaker(error, store, world)
                if error is raised:
                    raise
                raise error from raised
    except MegalabelError as error:
        _choose_speaker(error, store, world)  # of an error in joining
        raise


def _choose_speaker(error: BaseException, store: Store, world: World) -> None:
    """Sets `speaker`, unless it is set: the first process that comes here, or -1 for one of the others.

    A process that was lost cannot come here; the error names those that do not come.
    """
    # torchrun ends all processes as soon as one has ended, which must not prevent the message.
    if threading.current_thread() is threading.main_thread():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if isinstance(error, MegalabelError) and error.speaker is not None:
        return
    speaks = True
    with contextlib.suppress(RuntimeError):  # the store is gone as well: each process speaks for itself
        store.set(f"here/{world.rank}", "")
        if isinstance(error, ProcessLost):
            _name_lost(error, store, world)
        speaks = store.add(_FAILED, 1) == 1
    if isinstance(error, MegalabelError):
        error.speaker = world.rank if speaks else -1


def _name_lost(error: ProcessLost, store: Store, world: World) -> None:
    """Waits for the others to come, and writes into the error who has not."""
    end = time.monotonic() + _GRACE
    missing = list(range(world.size))
    while missing and time.monotonic() < end:
        missing = [rank for rank in missing if not store.check([f"here/{rank}"])]
        time.sleep(0.05)
    if missing:
        names = " and ".join(map(str, missing[:4])) + (" and others" if len(missing) > 4 else "")
        some = f"processes {names} have ended or no longer answer"
        error.found = some if len(missing) > 1 else f"process {names} has ended or no longer answers"
        error.args = (error.detail,)

"""Where the processes of a job meet: the store of torchrun, without what an earlier attempt has left there."""

from __future__ import annotations

import json
import secrets
import threading
import time
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from megalabel.distributed.failures import cannot_join

_HELLO, _WELCOME, _CAME = "megalabel/hello", "megalabel/welcome", "megalabel/came"
_PAUSE = 0.02  # seconds between two looks at the store


def open_store(rank: int, size: int, timeout: float) -> Store:
    """A store that only the living processes of a job use.

    After a failure torchrun starts all processes again, which find at the same store what the ones before have
    written, addresses of dead processes among it. So each process says hello with a new number, and uses the part
    of the store that process 0 names in an answer to this number.

    Args:
        rank: the number of this process.
        size: the number of processes.
        timeout: seconds in which all of them have to come.

    Raises:
        CannotJoin: they did not, or the port is in use.
    """
    end = time.monotonic() + timeout
    try:
        store = _announced(rank, size, timeout)
        name = _welcome(store, size, end) if rank == 0 else _hello(store, rank, end)
    except (RuntimeError, ValueError) as error:  # ValueError: MASTER_ADDR or MASTER_PORT is missing
        raise cannot_join(error, size, timeout) from error
    return PrefixStore(f"megalabel/{name}", store)


def _announced(rank: int, size: int, timeout: float) -> Store:
    """The store of torchrun's environment variables."""
    found: list[Any] = []

    def meet() -> None:
        try:
            found.append(next(rendezvous("env://", rank, size, timeout=timedelta(seconds=timeout)))[0])
        except (RuntimeError, ValueError) as error:
            found.append(error)

    # In a thread, since PyTorch waits without end for a program of another kind that listens at the port.
    thread = threading.Thread(target=meet, daemon=True)
    thread.start()
    thread.join(timeout + 1)
    if not found:
        raise RuntimeError("no answer")
    if isinstance(found[0], Exception):
        raise found[0]
    store: Store = found[0]
    return store


def _welcome(store: Store, size: int, end: float) -> str:
    """Answers to all other processes until each has confirmed; returns the name of their part of the store."""
    name = secrets.token_hex(8)
    said: dict[str, str] = {}
    missing = list(range(1, size))
    while missing:
        if time.monotonic() > end:
            raise RuntimeError(f"process {missing[0]} has not come")
        heard = {
            str(rank): store.get(f"{_HELLO}/{rank}").decode()
            for rank in range(1, size)
            if store.check([f"{_HELLO}/{rank}"])
        }
        if heard != said:
            store.set(_WELCOME, json.dumps({"name": name, "heard": heard}))
            said = heard
        missing = [rank for rank in missing if not store.check([f"{_CAME}/{name}/{rank}"])]
        time.sleep(_PAUSE)
    return name


def _hello(store: Store, rank: int, end: float) -> str:
    """Says hello until process 0 has answered; returns the name of their part of the store."""
    number = secrets.token_hex(8)
    store.set(f"{_HELLO}/{rank}", number)
    while time.monotonic() < end:
        if store.check([_WELCOME]):
            answer = json.loads(store.get(_WELCOME))
            if answer["heard"].get(str(rank)) == number:
                store.set(f"{_CAME}/{answer['name']}/{rank}", "")
                return str(answer["name"])
        time.sleep(_PAUSE)
    raise RuntimeError("process 0 has not answered")

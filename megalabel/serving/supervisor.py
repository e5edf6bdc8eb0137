"""`Supervisor`, the process that loads the models and starts the workers, which share its memory.

Workers are forked after the models are loaded, so that all of them use one copy of weights, vocabularies and
label names. A new version of a model is loaded here while the workers go on answering; then new workers are forked
and accept connections, and the old ones end when they have answered what they accepted. A worker that dies is
replaced. This process runs no thread of its own, as a fork would not take it along.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from types import FrameType

from megalabel.errors import ResourceError
from megalabel.serving.listening import say_where
from megalabel.serving.metrics import SHARED
from megalabel.serving.settings import Settings
from megalabel.serving.versions import Models
from megalabel.serving.worker import forked

STARTING = 60.0  # seconds within which a worker has to accept connections
PAUSE = 1.0  # seconds between two starts of a worker that dies
PATIENCE = 5.0  # seconds after the time of a request, until a worker that does not end is killed
TICK = 0.5


class _Stop(BaseException):
    """The server had to stop while it loaded a model."""


class Supervisor:
    """Starts and replaces workers.

    Args:
        settings: how the server runs.
        sockets: a listening socket for each worker.
        models: loads the models.
    """

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket], models: Models) -> None:
        self.settings, self.sockets, self.models = settings, sockets, models
        self._workers: dict[int, int] = {}  # the socket of each worker by its process id
        self._leaving: dict[int, float] = {}  # when each old worker is killed
        self._stopping = self._reload = self._loading = False
        self._wake, self._waker = os.pipe()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT, and then until all accepted requests are answered."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        if not self._start_all():
            self._stop()
            raise ResourceError(
                "the workers did not start", wanted="processes that answer", next_step="read the log above"
            )
        say_where(self.settings, self.sockets)
        looked = time.monotonic()
        while not self._stopping:
            self._wait(TICK)
            self._reap()
            due = self.settings.watch and time.monotonic() - looked >= self.settings.watch
            if (due or self._reload) and not self._stopping:
                self._renew(now=self._reload)
                looked = time.monotonic()
        self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stopping = True
            if self._loading:
                self._loading = False
                raise _Stop
        elif number == signal.SIGHUP:
            self._reload = True

    def _renew(self, *, now: bool) -> None:
        """Replaces the workers where a model has a new version."""
        self._reload = False
        try:
            self._loading = True
            changed = self.models.renew(now=now)
            self._loading = False
        except _Stop:
            return
        if changed:
            swapped = self._replace_all()
            self.settings.log.event("swapped" if swapped else "not swapped", models=", ".join(changed))

    def _replace_all(self) -> bool:
        """Starts new workers; the old ones end when these accept connections, or stay if they do not."""
        old = list(self._workers)
        started = self._start_all()
        for pid in old if started else set(self._workers) - set(old):
            self._end(pid)
        return started

    def _start_all(self) -> bool:
        gc.collect()
        gc.freeze()  # so that no worker writes to the objects of the models, which would copy their pages
        return all(self._start(i) for i in range(len(self.sockets)))

    def _start(self, i: int) -> bool:
        """Forks a worker and waits until it accepts connections; returns whether it does."""
        ready, told = os.pipe()
        pid = forked(self.settings, self.models(), self.sockets, i, told)
        os.close(told)
        self._workers[pid] = i
        started = bool(select.select([ready], [], [], STARTING)[0] and os.read(ready, 1))
        if not started:
            self.settings.log.event("worker did not start", pid=pid)
        os.close(ready)
        return started

    def _end(self, pid: int) -> None:
        """Tells a worker to answer what it accepted, and to end."""
        self._workers.pop(pid, None)
        self._leaving[pid] = time.monotonic() + self.settings.limits.seconds + PATIENCE
        _signal(pid, signal.SIGTERM)

    def _reap(self) -> None:
        """Takes note of workers that have ended, replaces those that died, and kills those that do not end."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            self._forget(pid, status)
        for pid, until in list(self._leaving.items()):
            if time.monotonic() > until:
                _signal(pid, signal.SIGKILL)

    def _forget(self, pid: int, status: int) -> None:
        if SHARED in os.environ:
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(pid)  # type: ignore[no-untyped-call]
        if self._leaving.pop(pid, None) is not None:
            return
        i = self._workers.pop(pid, None)
        if i is not None and not self._stopping:
            self.settings.log.event("worker died", pid=pid, status=os.waitstatus_to_exitcode(status))
            time.sleep(PAUSE)
            self._start(i)

    def _stop(self) -> None:
        """Ends all workers; a second signal does not hurry them, as they end by themselves in time."""
        self.settings.log.event("stopping")
        for one in self.sockets:  # so that nobody connects any more once the workers have closed theirs
            one.close()
        for pid in list(self._workers):
            self._end(pid)
        while self._leaving:
            self._wait(TICK)
            self._reap()
        self.settings.log.event("stopped")

    def _wait(self, seconds: float) -> None:
        """Waits for a signal."""
        if select.select([self._wake], [], [], seconds)[0]:
            os.read(self._wake, 4096)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass

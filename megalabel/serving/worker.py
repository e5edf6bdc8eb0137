"""A worker: a process, forked from one that has loaded the models, that answers requests."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence

import torch

from megalabel.serving.feedback import FeedbackFile
from megalabel.serving.served import ServedModel
from megalabel.serving.server import Server
from megalabel.serving.service import Service
from megalabel.serving.settings import Settings


def forked(
    settings: Settings, models: Sequence[ServedModel], sockets: Sequence[socket.socket], i: int, ready: int
) -> int:
    """Starts a worker; returns its process id.

    Args:
        settings: how the server runs.
        models: the models.
        sockets: the listening sockets of all workers.
        i: the number of that of this worker.
        ready: a file descriptor to which it writes a byte when it accepts connections.
    """
    parent, pid = os.getpid(), os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # uvicorn raises its own again at its end
            signal.signal(number, signal.SIG_IGN)
        for k, other in enumerate(sockets):
            if k != i:
                other.close()
        torch.set_num_threads(settings.threads_per_worker)
        service = service_of(settings, models)
        service.warm_up()
        server = Server(service, settings.origins, lambda: _tell(ready), parent)
        server.run([sockets[i]])
        status = 0
    except Exception as error:
        settings.log.failure("worker failed", error, pid=os.getpid())
    finally:
        os._exit(status)  # nothing of the process that forked is to run here


def service_of(settings: Settings, models: Sequence[ServedModel]) -> Service:
    """The service of a worker."""
    feedback = None if settings.feedback is None else FeedbackFile(settings.feedback)
    return Service(models, settings.limits, feedback=feedback, tokens=settings.tokens, log=settings.log)


def _tell(ready: int) -> None:
    os.write(ready, b"1")
    os.close(ready)

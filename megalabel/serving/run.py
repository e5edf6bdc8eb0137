"""Starts the server: models, sockets, and workers where the system can fork them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
from typing import TYPE_CHECKING

import torch

from megalabel.device import pick
from megalabel.errors import MissingExtra, SettingError
from megalabel.serving.settings import Settings

if TYPE_CHECKING:
    from megalabel.serving.versions import Models

PACKAGES = ("httptools", "prometheus_client", "starlette", "uvicorn")


def run(settings: Settings) -> None:
    """Serves until the process gets a signal to stop.

    Raises:
        MissingExtra: the packages of the extra `serve` are not installed.
        SettingError: the address cannot be used, or a model reads bags of words.
        FormatError: there is no model, or it is damaged.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"{', '.join(missing)} not installed",
            wanted="the packages of the server",
            next_step="run pip install 'megalabel[serve]'",
        )
    from megalabel.serving.feedback import FeedbackFile
    from megalabel.serving.listening import bound
    from megalabel.serving.versions import Models

    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads would not outlive a fork
    if settings.feedback is not None:
        FeedbackFile(settings.feedback)  # fails now where it cannot be written
    forks = hasattr(os, "fork") and pick(settings.device).type == "cpu"
    if forks:
        torch.set_num_threads(1)  # nor would those of torch
    elif settings.workers > 1:
        raise SettingError(
            f"{settings.workers} workers on {settings.device or 'a GPU'} or a system without fork",
            wanted="workers on CPUs, on Linux or macOS",
            next_step="start one server per GPU, on ports of their own",
            where="workers",
        )
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in bound(settings.host, settings.port, settings.workers)]
        models = Models(settings)
        if forks:
            _supervise(settings, sockets, models)
        else:
            _alone(settings, sockets, models)


def _supervise(settings: Settings, sockets: list[socket.socket], models: Models) -> None:
    from megalabel.serving.metrics import share_between_workers
    from megalabel.serving.supervisor import Supervisor

    folder = share_between_workers()
    if folder is None and settings.workers > 1:
        settings.log.event("no temporary folder can be written: /metrics shows one worker at a time")
    with folder or contextlib.nullcontext():
        Supervisor(settings, sockets, models).run()


def _alone(settings: Settings, sockets: list[socket.socket], models: Models) -> None:
    """Serves in this process; a new version of a model needs another start."""
    from megalabel.serving.listening import say_where
    from megalabel.serving.server import Server
    from megalabel.serving.worker import service_of

    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    server = Server(service_of(settings, models()), settings.origins, lambda: say_where(settings, sockets))
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them once more when it has ended
        signal.signal(number, signal.SIG_IGN)
    server.run(sockets)
    settings.log.event("stopped")

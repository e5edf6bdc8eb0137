"""A program that trains, predicts and serves after it has removed what Unix has and other systems have not."""

from __future__ import annotations

import importlib
import json
import mmap
import os
import pkgutil
import signal
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numba
import torch
import torch.distributed.checkpoint as checkpoint
import transformers
import uvicorn

UNIX = {
    os: "fork forkpty register_at_fork sched_getaffinity posix_fallocate O_NOFOLLOW O_CLOEXEC O_NONBLOCK uname "
    "getuid geteuid WNOHANG mkfifo statvfs getloadavg pread killpg getpgid setsid",
    signal: "SIGKILL SIGHUP SIGCHLD SIGUSR1 SIGUSR2 SIGPIPE pthread_sigmask alarm setitimer",
    socket: "SO_REUSEPORT",
    mmap: "MADV_WILLNEED MADV_DONTNEED MADV_SEQUENTIAL",
}
LIBRARIES = (
    checkpoint,
    numba,
    torch,
    transformers,
    uvicorn,
)  # imported before, as they have their own ways elsewhere
for module, names in UNIX.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("resource", "pwd", "grp", "termios", "pty", "uvloop"):
    sys.modules[name] = None  # type: ignore[assignment]

import megalabel  # noqa: E402
from megalabel.errors import MissingExtra, SettingError  # noqa: E402

EXTRAS = {
    *("annif", "faiss", "matplotlib", "mlflow", "onnx", "onnxruntime", "onnxscript", "ray", "rdflib", "sklearn"),
    "triton",
}


def import_everything() -> None:
    """Imports every module of megalabel whose optional packages are installed."""
    for found in pkgutil.walk_packages(megalabel.__path__, "megalabel."):
        if found.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except MissingExtra:
            continue
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in EXTRAS:
                raise
    print("modules imported")


def command(*arguments: str) -> None:
    """Runs a command, whose arguments arrive as the system decodes them."""
    from megalabel.cli.main import main

    sys.argv = ["megalabel", *(os.fsdecode(argument.encode()) for argument in arguments)]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise


def serve(run: str) -> None:
    """Refuses two processes, then serves until a request was answered."""
    from megalabel.serving.run import run as start
    from megalabel.serving.settings import Settings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = {"run": Path(os.fsdecode(run.encode()))}
    try:
        start(Settings(runs, port=port, workers=2))
    except SettingError as error:
        print(error)

    def ask() -> None:
        body = json.dumps({"texts": ["w1 word6"], "k": 2}).encode()
        for _ in range(600):
            try:
                request = urllib.request.Request(
                    f"http://127.0.0.1:{port}/v1/predict", body, {"Content-Type": "application/json"}
                )
                answer = urllib.request.urlopen(request).read().decode()
                print("served:", "größe" if "größe" in answer else answer)
                break
            except OSError as error:
                last = error
                time.sleep(0.1)
        else:
            print("not served:", last)
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=ask, daemon=True).start()
    start(Settings(runs, port=port))


if __name__ == "__main__":
    import_everything()
    data, run, out = "größe-数据.csv", "läufe-数据", "aus-数.jsonl"
    command("data", "check", data)
    command("train", "linear", data, "--out", run)
    command("predict", run, data, "-o", out)
    command("export", run)
    serve(run)

"""`Running`, a server process for benchmarks: its port, and the time and memory of all its processes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Self

import psutil


class Running:
    """Starts `megalabel serve`; a context manager, which stops it at its end.

    Args:
        run: the run.
        options: further arguments.
    """

    def __init__(self, run: str, *options: str) -> None:
        self._command = [sys.executable, "-m", "megalabel", "serve", run, "--port", "0", "--log-format", "json"]
        self._command += options
        self.events: list[dict[str, object]] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        listening = threading.Event()
        self._reading = threading.Thread(target=self._read, args=(listening,))
        self._reading.start()
        if not listening.wait(300) or self.process.poll() is not None:
            raise RuntimeError(f"the server did not start: {self.events}")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(120)
        self._reading.join()

    def wait_for(self, event: str, n: int, seconds: float = 300) -> dict[str, object]:
        """The n-th event with a name."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = [one for one in self.events if one["event"] == event]
            if len(found) >= n:
                return found[n - 1]
            time.sleep(0.05)
        raise TimeoutError(f"no {event} number {n}: {self.events[-5:]}")

    def processes(self) -> list[psutil.Process]:
        """The process that was started and its workers."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """The CPU time of all processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def megabytes(self) -> float:
        """The memory of all processes, shared pages divided among those that share them (PSS)."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 1e6

    def _read(self, listening: threading.Event) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event = json.loads(line) if line.startswith("{") else {"event": line}
            if event["event"] != "request":
                self.events.append(event)
            if event["event"] == "listening":
                self.port = int(str(event["url"]).rpartition(":")[2])
                listening.set()
        listening.set()

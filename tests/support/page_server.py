"""Starts `megalabel serve` of a page on a free port, and waits until it answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from support.programs import ROOT, SCRIPT


class Server:
    """A server process; `printed` is what it has said up to the line with its address."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            [*SCRIPT, "serve", *arguments, "--port", "0", "--log-format", "json"],
            cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stderr is not None
        self.printed, events = "", self.process.stderr
        for line in events:
            self.printed += line
            if line.startswith("{") and json.loads(line)["event"] == "listening":
                self.port = int(json.loads(line)["url"].rpartition(":")[2])
                return
        raise AssertionError(f"megalabel serve {arguments} ended: {self.printed}")

    def close(self) -> None:
        """Ends the process, which takes its workers with it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)

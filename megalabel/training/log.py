"""The log of a run: JSON lines in `log.jsonl`, a progress bar or plain lines on stderr."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megalabel.progress import Progress
from megalabel.storage.reading import parse_json


class Log:
    """Writes measurements of a run as they come.

    Every line holds `step`, `epoch` and `seconds` (of this process); training lines hold `loss` (per text, or a
    head's own mean), rates and `texts_per_second`; validation lines hold metrics in percent.

    Args:
        path: of log.jsonl, which is appended to.
        step, steps, per_epoch: the step that comes next, those of the run and those of an epoch.
        quiet: show nothing on stderr.
        callback: called with each line, as a dictionary, after it is written.
    """

    def __init__(
        self,
        path: Path,
        *,
        step: int,
        steps: int,
        per_epoch: int,
        quiet: bool = False,
        callback: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self._callback = callback
        self._file = open(path, "a", encoding="utf-8")
        self._progress = None if quiet else Progress("training", steps, done=step)
        self._per_epoch, self._start, self._note = per_epoch, time.monotonic(), ""
        self._texts, self._since = 0, self._start
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Log:
        self._stack.enter_context(contextlib.closing(self._file))
        if self._progress:
            self._stack.enter_context(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self, step: int, texts: int, loss: float, metrics: dict[str, float]) -> None:
        """A training step is done. `loss` is NaN where it was not computed; `metrics` are rates and the head's."""
        self._texts += texts
        if loss == loss:
            now = time.monotonic()
            speed = self._texts / max(now - self._since, 1e-9)
            self._texts, self._since = 0, now
            recall = " ".join(f"{value:.0f}%" for name, value in metrics.items() if name.startswith("recall"))
            self._note = f"epoch {step // self._per_epoch + 1}  loss {loss:.4g}"
            self._note += f"  shortlist recall {recall}" if recall else ""
            self.line(step, loss=loss, **metrics, texts_per_second=round(speed, 1), **peaks())
        if self._progress:
            self._progress.advance(1, self._note)

    def line(self, step: int, **facts: Any) -> None:
        """One line in `log.jsonl`."""
        fixed = {"step": step, "epoch": step / self._per_epoch, "seconds": time.monotonic() - self._start}
        rounded = {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in {**fixed, **facts}.items()}
        self._file.write(json.dumps(rounded) + "\n")
        self._file.flush()
        if self._callback is not None:
            self._callback(rounded)

    def say(self, text: str) -> None:
        """Shows a line on stderr, unless the log is quiet."""
        if self._progress:
            with contextlib.suppress(OSError):  # of a terminal that was closed
                self._progress.write(text)


def truncate_log(path: Path, step: int) -> None:
    """Drops the lines of a log from `step` on, which will be written again."""
    if not path.exists():
        return
    kept = [line for line in path.read_bytes().split(b"\n") if _step(line) < step]
    temporary = path.with_suffix(".new")
    temporary.write_bytes(b"".join(line + b"\n" for line in kept))
    os.replace(temporary, path)


def _step(line: bytes) -> float:
    """The step of a line; infinite for one that a crash cut short, or that is no line of a log at all."""
    try:
        return float(parse_json(line).get("step", -1))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return float("inf")


def trim_memory() -> None:
    """Returns memory that Python freed to the system, where the C library can: what building a recipe took would
    otherwise stay beside the training's own and count in its peak.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)


def peaks() -> dict[str, float]:
    """`peak_mb`, and on a GPU `gpu_peak_mb`: the most memory that tensors on it have taken, in MB of 10⁶ bytes."""
    import torch

    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return {"peak_mb": peak_mb()}
    return {"peak_mb": peak_mb(), "gpu_peak_mb": torch.cuda.max_memory_allocated() / 1e6}


def peak_mb() -> float:
    """The most memory this process has held, in MB of 10⁶ bytes; 0 where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

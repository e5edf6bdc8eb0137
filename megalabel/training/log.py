"""The log of a run: JSON lines in `log.jsonl`, a progress bar or plain lines on stderr."""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
import time
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.progress import Progress
from megalabel.storage.files import naming, write_bytes_atomically
from megalabel.storage.reading import parse_json

if TYPE_CHECKING:
    import torch


class Log:
    """Writes the measurements of a run.

    Every line contains `step`, `epoch` and `seconds` (since the start of this process); training lines contain
    `loss` (per text, or the head's own mean), learning rates and `texts_per_second`; validation lines contain
    metrics in percent.

    Args:
        path: the path of log.jsonl, to which lines are appended.
        device: the device of the run, of whose memory the peak is logged if it is a GPU.
        step, steps, per_epoch: the next step, the number of steps of the run, and of an epoch.
        quiet: whether to show nothing on stderr.
        callback: called with each line, as a dictionary, after it is written.

    Attributes:
        ended: whether the callback has returned True, which ends the training.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device | str = "cpu",
        *,
        step: int,
        steps: int,
        per_epoch: int,
        quiet: bool = False,
        callback: Callable[[dict[str, Any]], Any] | None = None,
    ) -> None:
        self._callback, self.ended, self._device, self._path = callback, False, device, path
        self._file = open(path, "a", encoding="utf-8")
        self._progress = None if quiet else Progress("training", steps, done=step)
        self._per_epoch, self._start, self._note = per_epoch, time.monotonic(), ""
        self._texts, self._since = 0, self._start
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Log:
        self._stack.callback(self._close)
        if self._progress:
            self._stack.enter_context(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self, step: int, texts: int, loss: float, metrics: dict[str, float]) -> None:
        """Logs a training step. `loss`: NaN if it was not computed; `metrics`: rates and metrics of the head."""
        self._texts += texts
        if loss == loss:
            now = time.monotonic()
            speed = self._texts / max(now - self._since, 1e-9)
            self._texts, self._since = 0, now
            recall = " ".join(f"{value:.0f}%" for name, value in metrics.items() if name.startswith("recall"))
            self._note = f"epoch {step // self._per_epoch + 1}  loss {loss:.4g}"
            self._note += f"  shortlist recall {recall}" if recall else ""
            self.line(step, loss=loss, **metrics, texts_per_second=round(speed, 1), **peaks(self._device))
        if self._progress:
            self._progress.advance(1, self._note)

    def line(self, step: int, **facts: Any) -> None:
        """Writes one line to `log.jsonl`."""
        fixed = {"step": step, "epoch": step / self._per_epoch, "seconds": time.monotonic() - self._start}
        rounded = {k: float(f"{v:.7g}") if isinstance(v, float) else v for k, v in {**fixed, **facts}.items()}
        with naming(self._path):
            self._file.write(json.dumps(rounded) + "\n")
            self._file.flush()
        if self._callback is not None:
            self.ended = self._callback(rounded) is True or self.ended

    def _close(self) -> None:
        with naming(self._path):  # closing it tries again to write what a full disk did not take
            self._file.close()

    def say(self, text: str) -> None:
        """Shows a line on stderr, unless the log is quiet."""
        if self._progress:
            with contextlib.suppress(OSError):  # the terminal may have been closed
                self._progress.write(text)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that have a step and an epoch; [] where there is no log.

    What a crash left incomplete, and anything else, is left out; the metrics of a validation are a dictionary.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, AttributeError, RecursionError):
            value = parse_json(line)
            if isfinite(value.get("step")) and isfinite(value.get("epoch")):
                found.append(
                    {**value, "validation": dict(value["validation"])} if "validation" in value else value
                )
    return found


def truncate_log(path: Path, step: int) -> None:
    """Removes the lines of a log from `step` on, which a resumed run writes again."""
    if not path.exists():
        return
    kept = [line for line in path.read_bytes().split(b"\n") if _step(line) < step]
    with write_bytes_atomically(path) as file:
        file.write(b"".join(line + b"\n" for line in kept))


def _step(line: bytes) -> float:
    """The step of a line; infinite if the line is incomplete after a crash, or not a line of a log."""
    try:
        return float(parse_json(line).get("step", -1))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return float("inf")


def trim_memory() -> None:
    """Returns freed memory to the system if the C library supports it.

    Otherwise the memory that building a recipe took would add to the peak of the training.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # not every C library has it
            ctypes.CDLL(None).malloc_trim(0)


def peaks(device: torch.device | str = "cpu") -> dict[str, float]:
    """The peaks of memory so far, in MB of 10⁶ bytes.

    `peak_mb` is that of the process. For a GPU `peak_device_mb` is the most memory that tensors have taken, and
    `peak_device_reserved_mb` the most that PyTorch's allocator has held, to which CUDA's own memory comes.
    """
    if not str(device).startswith("cuda"):
        return {"peak_mb": peak_mb()}
    import torch

    return {
        "peak_mb": peak_mb(),
        "peak_device_mb": torch.cuda.max_memory_allocated(device) / 1e6,
        "peak_device_reserved_mb": torch.cuda.max_memory_reserved(device) / 1e6,
    }


def peak_mb() -> float:
    """The peak memory of this process in MB (10⁶ bytes); 0 if the system does not report it, as on Windows."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # Linux; `ru_maxrss` starts from that of the parent
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

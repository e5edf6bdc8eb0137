"""Chooses the device that a model runs on, and says how many cores and threads a CPU has for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from megalabel.errors import SettingError

if TYPE_CHECKING:
    import torch

OTHER_NAMES = {
    "gpu": "cuda", "nvidia": "cuda", "cuda0": "cuda:0", "0": "cuda:0", "1": "cuda:1", "metal": "mps",
    "apple": "mps",
}  # fmt: skip


def pick(device: str | torch.device | None) -> torch.device:
    """Returns the given device, by default the first GPU or, without a GPU, the CPU.

    Raises:
        SettingError: the device does not exist or cannot be used.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).sum().item()  # the device "meta" makes tensors, but holds no values
        return chosen
    except (RuntimeError, AssertionError) as error:
        reason, step = str(error).strip().splitlines()[0], "leave it out, for the first GPU or the CPU"
        if "device string" in reason:  # torch then lists twenty kinds of devices
            reason = "no such device"
            meant = OTHER_NAMES.get(str(device).strip().lower().replace(" ", ""))
            step = f"did you mean {meant}?" if meant else step
        raise SettingError(
            f"{str(device)!r} cannot be used ({reason})",
            wanted="cpu, or a GPU that `megalabel doctor` lists, such as cuda or cuda:1",
            next_step=step,
            where="device",
        ) from error


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_threads() -> int:
    """The number of threads that torch uses on a CPU by default: OMP_NUM_THREADS, or one per core."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) > 0 else cores()

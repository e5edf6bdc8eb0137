"""The device that a command runs on."""

from __future__ import annotations

import torch

from megalabel.errors import SettingError


def pick(device: str | None) -> torch.device:
    """The one asked for, or the first GPU, or the CPU; SettingError where it is not there."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        raise SettingError(
            f"device {device!r} cannot be used ({first})",
            wanted="cpu, or a GPU that `megalabel doctor` lists",
            next_step="leave --device out",
        ) from error

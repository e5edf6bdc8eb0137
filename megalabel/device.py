"""The device that a model runs on."""

from __future__ import annotations

import torch

from megalabel.errors import SettingError


def pick(device: str | torch.device | None) -> torch.device:
    """The one asked for, or the first GPU, or the CPU; SettingError where it is not there."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).sum().item()  # "meta" makes tensors, but holds no numbers
        return found
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        raise SettingError(
            f"device {str(device)!r} cannot be used ({first})",
            wanted="cpu, or a GPU that `megalabel doctor` lists",
            next_step="leave the device out",
        ) from error

"""Chooses the device that a model runs on."""

from __future__ import annotations

import torch

from megalabel.errors import SettingError


def pick(device: str | torch.device | None) -> torch.device:
    """Returns the given device, by default the first GPU or, without a GPU, the CPU.

    Raises:
        SettingError: the device does not exist or cannot be used.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    usual = {"gpu": "cuda", "nvidia": "cuda", "cuda0": "cuda:0", "metal": "mps", "apple": "mps"}
    meant = usual.get(str(device).strip().lower().replace(" ", ""))
    if meant is not None:
        raise SettingError(
            f"device {str(device)!r} is none; did you mean {meant}?",
            wanted="cpu, or a GPU that `megalabel doctor` lists",
            where="device",
        )
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen).sum().item()  # the device "meta" makes tensors, but holds no values
        return chosen
    except (RuntimeError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        raise SettingError(
            f"device {str(device)!r} cannot be used ({first})",
            wanted="cpu, or a GPU that `megalabel doctor` lists",
        ) from error

"""Chooses the body of an operation: compiled for the CPU, Triton on CUDA, or the plain version."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor


def fast_body(package: str, operation: str, weight: Tensor) -> Any:
    """The module whose functions run for a table like this, or None where the plain version does.

    `_cpu/<operation>.py` (numba) of the family `package` takes float32 tables on CPUs, `_triton/<operation>.py`
    those on CUDA; both offer the same functions, which take checked tensors.
    """
    if weight.dtype != torch.float32 or not weight.is_contiguous():
        return None
    if weight.device.type == "cpu":
        return importlib.import_module(f"{package}._cpu.{operation}")
    if weight.device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        return importlib.import_module(f"{package}._triton.{operation}")
    return None

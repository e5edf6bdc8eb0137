"""Tensors to safetensors files and back, without a second copy in memory.

The safetensors library builds a whole file in memory before it writes, and maps a whole file to read it:
for a head of gigabytes that is the difference between fitting and not. The format is eight bytes of length,
a JSON header and raw numbers; files are exchanged freely with the library (a test does it).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from megalabel.errors import FormatError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes tensors, one after the other."""
    header, at = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors.values():
            if tensor.numel():
                file.write(_bytes(tensor.detach().cpu().contiguous()))


def load_tensors(path: str | Path, *, next_step: str) -> dict[str, Tensor]:
    """Reads every tensor; FormatError if the file is missing or damaged."""
    with _opened(path, next_step) as (file, header, start):
        found = {}
        for name, entry in header.items():
            found[name] = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]])
            _read(file, start, entry, found[name])
        return found


def fill(module: nn.Module, path: str | Path, *, next_step: str) -> None:
    """Reads a file straight into a module that has tensors of the same names, shapes and dtypes."""
    wanted = module.state_dict()
    with _opened(path, next_step) as (file, header, start):
        for name in [*(header.keys() - wanted.keys()), *(wanted.keys() - header.keys())]:
            raise FormatError(
                f"tensor {name!r} is {'missing' if name in wanted else 'not in the module'}",
                wanted="the same tensors in file and module",
                next_step=next_step,
                where=path,
            )
        for name, tensor in wanted.items():
            entry = header[name]
            if entry["shape"] != list(tensor.shape) or _DTYPES[entry["dtype"]] != tensor.dtype:
                raise FormatError(
                    f"tensor {name!r} is {entry['shape']} {entry['dtype']}",
                    wanted=f"{list(tensor.shape)} {_NAMES[tensor.dtype]}",
                    next_step=next_step,
                    where=path,
                )
        for name, tensor in wanted.items():
            direct = tensor.device.type == "cpu" and tensor.is_contiguous()
            target = tensor.detach() if direct else torch.empty(tensor.shape, dtype=tensor.dtype)
            _read(file, start, header[name], target)
            if not direct:
                with torch.no_grad():
                    tensor.copy_(target)
            elif not tensor.is_inference():  # torch does not see the read: who looked at the tensor looks again
                torch.autograd.graph.increment_version(tensor)


class _opened:
    """The file, its header without remarks, and where the numbers begin; sizes checked."""

    def __init__(self, path: str | Path, next_step: str) -> None:
        self.path, self.next_step = Path(path), next_step

    def __enter__(self) -> tuple[BinaryIO, dict[str, Any], int]:
        try:
            self.file: BinaryIO = open(self.path, "rb")
            (length,) = struct.unpack("<Q", self.file.read(8))
            if length > self.path.stat().st_size:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(self.file.read(length))
            header.pop("__metadata__", None)
            end = 8 + length + max((_end(entry) for entry in header.values()), default=0)
            if end != self.path.stat().st_size:
                raise ValueError(f"{self.path.stat().st_size} bytes instead of {end}")
            return self.file, header, 8 + length
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            if hasattr(self, "file"):
                self.file.close()
            raise FormatError(
                f"the weights do not load ({error})",
                wanted="a whole safetensors file",
                next_step=self.next_step,
                where=self.path,
            ) from error

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _end(entry: dict[str, Any]) -> int:
    """Where a tensor's numbers end; ValueError or the like if its facts do not agree."""
    start, end = entry["data_offsets"]
    if start < 0 or end - start != math.prod(entry["shape"]) * _DTYPES[entry["dtype"]].itemsize:
        raise ValueError(f"{entry['shape']} {entry['dtype']} in {end - start} bytes")
    return int(end)


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU that is not empty."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def _read(file: BinaryIO, start: int, entry: dict[str, Any], target: Tensor) -> None:
    if target.numel():
        file.seek(start + entry["data_offsets"][0])
        file.readinto(_bytes(target))  # type: ignore[attr-defined]

"""Writes and reads tensors as safetensors files, without a second copy in memory.

The safetensors library builds the whole file in memory before it writes, and maps the whole file to read it, which
a head of several gigabytes may not have the memory for. The format is eight bytes of length, a JSON header and raw
numbers; a test exchanges files with the library.
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
from megalabel.storage.migrate import tensor_names

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
    """Writes tensors to a file, one after the other."""
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


def load_tensors(path: str | Path, *, next_step: str | None) -> dict[str, Tensor]:
    """Reads all tensors of a file; FormatError if the file is missing or damaged."""
    with _open_file(path, next_step) as (file, header, start):
        tensors = {}
        for name, entry in header.items():
            tensors[name] = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]])
            _read(file, start, entry, tensors[name])
        return tensors


def fill(module: nn.Module, path: str | Path, *, next_step: str | None) -> None:
    """Reads a file directly into the tensors of a module.

    Raises:
        FormatError: the file is missing or damaged, or its tensors have other names, shapes or dtypes than the
            module's.
    """
    expected = module.state_dict()
    with _open_file(path, next_step) as (file, header, start):
        header = tensor_names(header, expected)
        for name in [*(header.keys() - expected.keys()), *(expected.keys() - header.keys())]:
            raise FormatError(
                f"tensor {name!r} is {'missing' if name in expected else 'not in the module'}",
                wanted="the same tensors in the file and the module",
                next_step=next_step,
                where=path,
            )
        for name, tensor in expected.items():
            entry = header[name]
            if entry["shape"] != list(tensor.shape) or _DTYPES[entry["dtype"]] != tensor.dtype:
                raise FormatError(
                    f"tensor {name!r} is {entry['shape']} {entry['dtype']}",
                    wanted=f"{list(tensor.shape)} {_NAMES[tensor.dtype]}",
                    next_step=next_step,
                    where=path,
                )
        for name, tensor in expected.items():
            direct = tensor.device.type == "cpu" and tensor.is_contiguous()
            target = tensor.detach() if direct else torch.empty(tensor.shape, dtype=tensor.dtype)
            _read(file, start, header[name], target)
            if not direct:
                with torch.no_grad():
                    tensor.copy_(target)
            elif not tensor.is_inference():  # torch does not notice the read, so the version must change
                torch.autograd.graph.increment_version(tensor)


class _open_file:
    """Opens a file, checks its sizes, and yields it with its header and the offset of its data."""

    def __init__(self, path: str | Path, next_step: str | None) -> None:
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
                f"the weights cannot be loaded ({error})",
                wanted="a complete safetensors file",
                next_step=self.next_step,
                where=self.path,
            ) from error

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _end(entry: dict[str, Any]) -> int:
    """The offset of the end of a tensor; ValueError or similar if its header entry is inconsistent."""
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

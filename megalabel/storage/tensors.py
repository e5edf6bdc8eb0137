"""Writes and reads tensors as safetensors files, without a second copy in memory.

The safetensors library builds the whole file in memory before it writes, and maps the whole file to read it, which
a head of several gigabytes may not have the memory for. The format is eight bytes of length, a JSON header and raw
numbers; a test exchanges files with the library.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from megalabel.errors import FormatError
from megalabel.storage.mapped_weights import are_weights_mapped, map_large
from megalabel.storage.migrate import tensor_names
from megalabel.storage.reading import open_regular, refused
from megalabel.storage.tables import release_pages
from megalabel.storage.tensor_header import read_header

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_PIECE = 16 << 20  # bytes that are moved at once
NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Streamed:
    """A tensor that is written piece by piece, such as one whose rows other processes hold.

    Attributes:
        shape, dtype: of the whole tensor.
        pieces: yields its rows in their order, some at a time.
        own, first: the rows that this process holds, the first of which is row `first`.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: Callable[[], Iterator[Tensor]]
    own: Tensor
    first: int


def save_tensors(
    path: str | Path,
    tensors: Mapping[str, Tensor | Streamed],
    seen: Callable[[str, bytes | memoryview], Any] | None = None,
) -> int:
    """Writes tensors to a file, one after the other; returns the size of the file in bytes.

    seen: called with the header, under the name "", and with each piece of a tensor, under its name.
    """
    header, at = {}, 0
    for name, tensor in tensors.items():
        size = math.prod(tensor.shape) * tensor.dtype.itemsize
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    text = struct.pack("<Q", len(text)) + text
    with open(path, "wb") as file:
        file.write(text)
        if seen is not None:
            seen("", text)
        for name, tensor in tensors.items():
            for piece in tensor.pieces() if isinstance(tensor, Streamed) else [tensor]:
                if not piece.numel():
                    continue
                content = _bytes(piece.detach().cpu().contiguous())
                for start in range(0, len(content), _PIECE):
                    file.write(content[start : start + _PIECE])
                    if seen is not None:
                        seen(name, content[start : start + _PIECE])
                    release_pages()
    return len(text) + at


def load_tensors(
    path: str | Path, *, next_step: str | None, make: Callable[[Sequence[int], torch.dtype], Tensor] | None = None
) -> dict[str, Tensor]:
    """Reads all tensors of a file; FormatError if the file is missing or damaged.

    make: makes the tensors to fill, by shape and dtype; default: in memory.
    """
    with open_tensors(path, next_step) as (file, header, start):
        tensors = {}
        for name, entry in header.items():
            shape, dtype = entry["shape"], DTYPES[entry["dtype"]]
            tensors[name] = torch.empty(shape, dtype=dtype) if make is None else make(shape, dtype)
            read_into(file, start, entry, tensors[name])
        return tensors


def fill(module: nn.Module | Mapping[str, Tensor | Streamed], path: str | Path, *, next_step: str | None) -> None:
    """Reads a file directly into the tensors of a module, or into named ones; of a `Streamed`, its own rows.

    Within `weights_mapped`, large tensors of a module stay in the file.

    Raises:
        FormatError: the file is missing or damaged, or its tensors have other names, shapes or dtypes than the
            module's.
    """
    expected = module.state_dict() if isinstance(module, nn.Module) else module
    with open_tensors(path, next_step) as (file, header, start):
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
            if entry["shape"] != list(tensor.shape) or DTYPES[entry["dtype"]] != tensor.dtype:
                raise FormatError(
                    f"tensor {name!r} is {entry['shape']} {entry['dtype']}",
                    wanted=f"{list(tensor.shape)} {NAMES[tensor.dtype]}",
                    next_step=next_step,
                    where=path,
                )
        mapped: set[str] = set()
        if are_weights_mapped() and isinstance(module, nn.Module):
            mapped = map_large(module, file, header, start)
        for name, found in expected.items():
            if name in mapped:
                continue
            tensor, entry, begin = found, header[name], start
            if isinstance(found, Streamed):
                tensor = found.own
                begin += found.first * math.prod(found.shape[1:]) * found.dtype.itemsize
            assert isinstance(tensor, Tensor)
            direct = tensor.device.type == "cpu" and tensor.is_contiguous()
            target = tensor.detach() if direct else torch.empty(tensor.shape, dtype=tensor.dtype)
            read_into(file, begin, entry, target)
            if not direct:
                with torch.no_grad():
                    tensor.copy_(target)
            elif not tensor.is_inference():  # torch does not notice the read, so the version must change
                torch.autograd.graph.increment_version(tensor)


def stored_size(path: str | Path, *, next_step: str | None) -> tuple[int, int]:
    """How many bytes a file of tensors holds, and how many tensors; FormatError if it is missing or damaged."""
    with open_tensors(path, next_step) as (_, header, _start):
        return Path(path).stat().st_size, len(header)


class open_tensors:
    """Opens a file, checks its sizes, and yields it with its header and the offset of its data."""

    def __init__(self, path: str | Path, next_step: str | None) -> None:
        self.path, self.next_step = Path(path), next_step

    def __enter__(self) -> tuple[BinaryIO, dict[str, Any], int]:
        try:
            self.file: BinaryIO = open_regular(self.path)
            size = os.fstat(self.file.fileno()).st_size
            header, start = read_header(self.file)
            end = start + _end(header)
            if end != size:
                raise ValueError(f"{size} bytes instead of {end}")
            return self.file, header, start
        except Exception as error:
            if hasattr(self, "file"):
                self.file.close()
            raise refused(
                error,
                wanted="a complete safetensors file",
                next_step=self.next_step,
                where=self.path,
                what="the weights cannot be loaded",
            ) from error

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _end(header: dict[str, Any]) -> int:
    """The end of the tensors, which lie one after the other; ValueError or similar if they do not."""
    spans = []
    for entry in header.values():
        start, end = entry["data_offsets"]
        shape = entry["shape"]
        if any(type(number) is not int or number < 0 for number in (start, end, *shape)):
            raise ValueError(f"a tensor of shape {shape!s:.80} at {start!s:.20} to {end!s:.20}")
        if end - start != math.prod(shape) * DTYPES[entry["dtype"]].itemsize:
            raise ValueError(f"{shape!s:.80} {entry['dtype']} in {end - start} bytes")
        spans.append((start, end))
    at = 0
    for start, end in sorted(spans):
        if start != at:
            raise ValueError(f"tensors that overlap or leave room, at byte {start}")
        at = end
    return at


def _bytes(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU that is not empty."""
    return memoryview(tensor.reshape(-1).view(torch.uint8).numpy())


def read_into(file: BinaryIO, start: int, entry: dict[str, Any], target: Tensor, first_row: int = 0) -> None:
    """Fills a contiguous tensor on the CPU from its entry in a header, or with its rows from `first_row` on."""
    if target.numel():
        row = target[:1].numel() * target.element_size() if target.dim() else 0
        file.seek(start + entry["data_offsets"][0] + first_row * row)
        wanted, found = memoryview(_bytes(target)), 0
        while found < len(wanted):
            n = file.readinto(wanted[found : found + _PIECE])  # type: ignore[attr-defined]
            release_pages()
            if not n:
                raise FormatError(
                    "the file ended early", wanted="the tensors that its header names", where=file.name
                )
            found += n

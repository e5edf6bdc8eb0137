"""Writes the file that the runtime maps: safetensors, with what the model is in the metadata of the header."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.errors import SettingError
from megalabel.runtime.container import FORMAT, NAME
from megalabel.storage.files import write_bytes_atomically
from megalabel.version import __version__

DTYPES = {
    np.dtype(np.float64): "F64", np.dtype(np.int64): "I64", np.dtype(np.float32): "F32", np.dtype(np.int32): "I32",
    np.dtype(np.uint32): "U32", np.dtype(np.int16): "I16", np.dtype(np.uint16): "U16", np.dtype(np.uint8): "U8",
    np.dtype(np.int8): "I8",
}  # fmt: skip
START = f'{{"__metadata__": {{"what": "{NAME}"'  # of the header
_PIECE = 1 << 24  # bytes that are hashed and written at once


def check_replaceable(path: str | Path) -> None:
    """SettingError for a file that `write_container` did not write, which it would replace."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size == 0:
        return
    with open(path, "rb") as file:
        if START.encode() not in file.read(8 + len(START)):
            raise SettingError(
                f"{path} is another file",
                wanted="a new file, or an older export",
                next_step="choose another name, or remove the file first",
                where="out",
            )


def write_container(path: str | Path, model: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
    """Writes a file, completely or not at all; returns its bytes.

    Arrays are written by falling size of their items, so that each is aligned where the file is mapped. They may
    lie in other files; little of them is in memory at once.

    Args:
        path: the file, which is replaced.
        model: what the runtime has to know of the model, as JSON.
        arrays: of any shape, and of the types in `DTYPES`.
    """
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    digest, header, at = hashlib.sha256(), {}, 0
    for name in names:
        array = arrays[name]
        for piece in _pieces(array):
            digest.update(piece)
        dtype, shape = DTYPES[array.dtype], list(array.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    about = {
        "what": NAME,
        "format": str(FORMAT),
        "version": __version__,
        "sha256": digest.hexdigest(),
        "model": json.dumps(model),
    }
    text = json.dumps({"__metadata__": about, **header}).encode()
    assert text.startswith(START.encode())
    text += b" " * (-len(text) % 8)
    with write_bytes_atomically(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            for piece in _pieces(arrays[name]):
                file.write(piece)
    return 8 + len(text) + at


def _pieces(array: np.ndarray) -> Iterator[memoryview]:
    """The bytes of an array, little-endian, in its order."""
    flat = np.ascontiguousarray(array).reshape(-1)
    step = max(1, _PIECE // array.itemsize)
    for start in range(0, len(flat), step):
        piece = flat[start : start + step]
        yield memoryview(piece.astype(piece.dtype.newbyteorder("<"), copy=False).view(np.uint8)).cast("B")

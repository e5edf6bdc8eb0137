"""The header of a safetensors file, read without torch: eight bytes of length, then JSON."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

from megalabel.storage.reading import parse_json

LONGEST = 100_000_000  # bytes of a header, the limit of the format itself


def read_header(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """The entry of each tensor (`dtype`, `shape`, `data_offsets`), and where the numbers begin in the file.

    Raises:
        ValueError, struct.error: the file is shorter than its header, or the header is not a JSON object.
    """
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(os.fstat(file.fileno()).st_size, LONGEST):
        raise ValueError(f"a header of {length} bytes")
    header = parse_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"a header of the type {type(header).__name__}")
    header.pop("__metadata__", None)
    return header, 8 + length

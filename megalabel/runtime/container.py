"""A file of named arrays that stay on disk: safetensors, mapped into memory without numpy.

Eight bytes of length, a JSON header, raw little-endian numbers. What the model is stands in the header's
`__metadata__` under "model". The system reads a page when it is first used, and processes share pages.
"""

from __future__ import annotations

import json
import mmap
import sys
from array import array

from .errors import ModelError

TYPE_CHECKING = False  # importing typing would take a tenth of a cold start
if TYPE_CHECKING:
    from typing import Any

NAME, FORMAT = "megalabel", 1
AGAIN = "write the file again with `megalabel export`, or copy it again"
# Item formats of `memoryview`; bfloat16 and float8 are stored as unsigned integers of their size.
ITEMS = {
    "F64": "d", "I64": "q", "F32": "f", "I32": "i", "U32": "I",
    "I16": "h", "U16": "H", "U8": "B", "I8": "b",
}  # fmt: skip


class Container:
    """An open file.

    Attributes:
        path: where it is.
        model: what the header says of the model.
        pages: the mapped bytes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            with open(path, "rb") as file:
                self.pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError for an empty file
            if isinstance(error, FileNotFoundError):
                raise ModelError("no such file", wanted="a file of `megalabel export`", where=path) from None
            raise self.refused(f"it cannot be read ({error})") from error
        if sys.byteorder != "little":
            raise ModelError("a processor that stores the highest byte first", wanted="one with the lowest first")
        try:
            self._start = 8 + int.from_bytes(self.pages[:8], "little")
            if self._start > len(self.pages):
                raise ValueError("a header that is longer than the file")
            header = json.loads(self.pages[8 : self._start])
            about = header.pop("__metadata__", {})
            if about.get("what") != NAME:
                raise ValueError("not written by `megalabel export`")
            if int(about["format"]) > FORMAT:
                raise ModelError(
                    f"format {about['format']}",
                    wanted=f"{FORMAT} or lower",
                    next_step="update the runtime",
                    where=path,
                )
            self.model = json.loads(about["model"])
            self.digest: str = about["sha256"]
            self._entries = {name: self._span(entry) for name, entry in header.items()}
        except ModelError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self.refused(f"no model of the runtime, or a damaged one ({error})") from error
        end = max((end for _, _, end in self._entries.values()), default=self._start)
        if end != len(self.pages):
            raise self.refused(f"{len(self.pages):,} bytes instead of {end:,}")
        self._view = memoryview(self.pages)

    def _span(self, entry: dict[str, Any]) -> tuple[str, int, int]:
        first, last = entry["data_offsets"]
        item, n = ITEMS[entry["dtype"]], 1
        for size in entry["shape"]:
            n *= int(size)
        if not 0 <= first <= last or n * array(item).itemsize != last - first:
            raise ValueError("an array of another size than its header says")
        return item, self._start + first, self._start + last

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def array(self, name: str, items: str) -> Any:
        """The numbers of an array in one dimension, mapped.

        Args:
            name: the array.
            items: the item formats that fit, such as "Ii".

        Raises:
            ModelError: there is none, or its numbers have another type.
        """
        item, first, last = self._entries.get(name, ("", 0, 0))
        if not item or item not in items:
            raise self.refused(f"{'no' if not item else 'another'} array {name!r}")
        if first == last:
            return memoryview(array(item))
        view: Any = self._view[first:last]
        return view.cast(item)

    def bytes_of(self, name: str) -> tuple[int, int]:
        """Where the bytes of an array of uint8 begin and end in `pages`."""
        item, first, last = self._entries.get(name, ("", 0, 0))
        if item != "B":
            raise self.refused(f"no bytes {name!r}")
        return first, last

    def refused(self, found: str) -> ModelError:
        """The error for a file that is not what it should be."""
        return ModelError(found, wanted="a file of `megalabel export`", next_step=AGAIN, where=self.path)

    def verify(self) -> None:
        """Reads the whole file; ModelError unless its numbers have the hash that its header names."""
        from hashlib import sha256

        if sha256(self._view[self._start :]).hexdigest() != self.digest:
            raise self.refused("the numbers differ from the hash in the header")

"""Reads CBOR (RFC 8949) with arrays of numbers as numpy arrays: a file of weights holds some hundred million.

Read are maps with text keys, arrays, text, numbers, booleans and null, all of definite length, as Omikuji writes
them. Numbers have 1, 2, 3, 5 or 9 bytes; those of equal length that follow each other are read at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_UNSIGNED, _TEXT, _ARRAY, _MAP = 0, 3, 4, 5  # major types
_SHORT = 24  # smaller numbers stand in the first byte
_INTEGERS = {0x18: ">u1", 0x19: ">u2", 0x1A: ">u4", 0x1B: ">u8"}  # by the first byte
_FLOATS = {0xF9: ">f2", 0xFA: ">f4", 0xFB: ">f8"}
_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}
_DEEPEST = 200  # nested values
_FIRST_RUN = 64  # numbers that are compared at first; ten times as many wherever all are of one length


class Cbor:
    """The values of a file; ValueError for anything that is not read, or goes beyond the end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._bytes = np.frombuffer(self._data, np.uint8)
        self._at = 0

    def whole(self) -> Any:
        """The one value of which the file consists."""
        value = self._value(0)
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes after the end")
        return value

    def _value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ValueError(f"more than {_DEEPEST} values within each other")
        first = self._byte(self._at)
        if first in _SIMPLE:
            self._at += 1
            return _SIMPLE[first]
        if first in _FLOATS:
            return float(self._numbers(1, _FLOATS)[0])
        kind = first >> 5
        if kind == _UNSIGNED:
            return int(self._numbers(1, _INTEGERS)[0])
        if kind not in (_TEXT, _ARRAY, _MAP):
            raise ValueError(f"the byte {first:#x} at {self._at}")
        length = self._length(first)
        if kind == _TEXT:
            return str(self._taken(length), "utf-8")
        if kind == _ARRAY:
            return self._array(length, depth)
        found = {}
        for _ in range(length):
            key = self._value(depth + 1)
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r:.40}")
            found[key] = self._value(depth + 1)
        return found

    def _array(self, length: int, depth: int) -> Any:
        """Numbers as an array, other values as a list."""
        if length > len(self._data) - self._at:
            raise ValueError(f"an array of {length} values in {len(self._data) - self._at} bytes")
        first = self._byte(self._at) if length else 0
        if first in _FLOATS:
            return self._numbers(length, _FLOATS)
        if first >> 5 == _UNSIGNED:
            return self._numbers(length, _INTEGERS)
        return [self._value(depth + 1) for _ in range(length)]

    def _numbers(self, n: int, kinds: dict[int, str]) -> np.ndarray:
        """The next n numbers: float32 (float64 if there are such), or int64."""
        parts, left = [], n
        while left:
            first = self._byte(self._at)
            short = kinds is _INTEGERS and first < _SHORT
            if not short and first not in kinds:
                raise ValueError(f"the byte {first:#x} among numbers at {self._at}")
            width = 1 if short else 1 + np.dtype(kinds[first]).itemsize
            run = self._run(left, width, first, short)
            part = self._taken(run * width)
            if short:
                parts.append(np.frombuffer(part, np.uint8).astype(np.int64))
            else:
                kind = np.dtype([("first", "u1"), ("value", kinds[first])])
                wanted = np.int64 if kinds is _INTEGERS else np.float64 if first == 0xFB else np.float32
                parts.append(np.frombuffer(part, kind)["value"].astype(wanted))
            left -= run
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _run(self, most: int, width: int, first: int, short: bool) -> int:
        """How many numbers of this length follow each other, at most `most`."""
        done, step = 0, _FIRST_RUN
        while done < most:
            start = self._at + done * width
            heads = self._bytes[start : start + min(step, most - done) * width : width]
            same = heads < _SHORT if short else heads == first
            if not same.all():
                return done + int(np.argmin(same))
            if not len(heads):
                raise ValueError("an end among numbers")
            done, step = done + len(heads), 10 * step
        return done

    def _length(self, first: int) -> int:
        """The length of a value, whose first byte it stands in or follows."""
        short = first & 0x1F
        self._at += 1
        if short < _SHORT:
            return short
        if short > 0x1B:
            raise ValueError(f"the byte {first:#x} at {self._at - 1}")
        return int.from_bytes(self._taken(1 << (short - _SHORT)), "big")

    def _taken(self, n: int) -> memoryview:
        part = self._data[self._at : self._at + n]
        if len(part) < n:
            raise ValueError(f"an end in the middle of {n} bytes")
        self._at += n
        return part

    def _byte(self, at: int) -> int:
        if at >= len(self._data):
            raise ValueError("an end where a value should be")
        return int(self._data[at])

"""The manifest of a folder of shards: which file holds which rows of each tensor, and the hash of these rows."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import torch

from megalabel.errors import FormatError
from megalabel.storage.manifest import plain_name, read_manifest, write_manifest
from megalabel.storage.reading import open_regular, reading
from megalabel.storage.tensor_header import read_header
from megalabel.storage.tensors import DTYPES

FORMAT = 1
KIND = "checkpoint of several processes"
_HEX = re.compile(r"[0-9a-f]{64}")
_PIECE = 4 << 20  # bytes that are hashed at once


class DamagedShard(FormatError):
    """A file of a checkpoint of several processes is missing or was changed."""

    exit_code = 5


@dataclass(frozen=True)
class Shard:
    """Some rows of a tensor.

    Attributes:
        file: the name of the file in the folder.
        start: the first row, counted in the whole tensor.
        rows: the number of rows; 1 for a tensor without dimensions.
        sha256: of their bytes, in hexadecimal.
    """

    file: str
    start: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that is divided into shards along its first dimension.

    Attributes:
        dtype: as safetensors names it, such as F32.
        shape: of the whole tensor.
        shards: ascending; together they are the tensor.
    """

    dtype: str
    shape: tuple[int, ...]
    shards: tuple[Shard, ...]

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype in torch."""
        return DTYPES[self.dtype]


@dataclass(frozen=True)
class ShardFile:
    """A file of shards: its size in bytes, and the SHA-256 of its header."""

    size: int
    header_sha256: str


@dataclass(frozen=True)
class ShardManifest:
    """The content of a folder of shards.

    Attributes:
        tensors: by name.
        files: by name.
        facts: whatever else the folder is to hold, as JSON.
    """

    tensors: dict[str, StoredTensor]
    files: dict[str, ShardFile]
    facts: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Writes the manifest of a folder whose files are complete."""
        tensors = {name: asdict(tensor) for name, tensor in self.tensors.items()}
        files = {name: asdict(file) for name, file in self.files.items()}
        write_manifest(folder, FORMAT, {"tensors": tensors, "files": files, "facts": self.facts}, hashed=False)

    @classmethod
    def read(cls, folder: Path, *, next_step: str) -> Self:
        """Reads and checks the manifest; the files are checked by `check_files`.

        Raises:
            FormatError: the manifest is missing or damaged, or its shards do not make whole tensors.
        """
        wanted = ("tensors", "files", "facts")
        found = read_manifest(folder, KIND, FORMAT, facts=wanted, next_step=next_step)
        with reading(folder, wanted="the manifest that megalabel wrote", next_step=next_step):
            tensors = {name: _tensor(name, entry) for name, entry in found["tensors"].items()}
            files = {
                plain_name(name, folder, next_step=next_step): ShardFile(**entry)
                for name, entry in found["files"].items()
            }
            listed = {shard.file for tensor in tensors.values() for shard in tensor.shards}
            if listed != files.keys():
                raise ValueError(f"files {sorted(listed ^ files.keys())!s:.80} without tensors or sizes")
            return cls(tensors, files, dict(found["facts"]))

    def check_files(self, folder: Path, names: Iterable[str], *, next_step: str) -> None:
        """Reads files and compares them with their hashes, byte by byte.

        Args:
            folder: the folder.
            names: the files to check.
            next_step: for the message.

        Raises:
            DamagedShard: a file is missing, has another size, or one of its bytes was changed; the message names
                the tensors in question.
        """
        for name in names:
            path, inside = folder / name, self._inside(name)
            try:
                if path.exists() and path.resolve().parent != folder.resolve():
                    raise ValueError("a link to outside of the folder")
                with open_regular(path) as file:
                    problem = self._problem(file, name, inside)
            except OSError as error:
                problem = f"{_named(inside)} cannot be read ({error.strerror})"
            except (ValueError, KeyError, TypeError) as error:
                problem = f"{_named(inside)}: the file cannot be used ({error!s:.80})"
            if problem:
                raise DamagedShard(problem, wanted="the shards that were written", next_step=next_step, where=path)

    def _inside(self, name: str) -> dict[str, tuple[StoredTensor, Shard]]:
        """The tensors of a file."""
        return {
            key: (tensor, shard)
            for key, tensor in self.tensors.items()
            for shard in tensor.shards
            if shard.file == name
        }

    def _problem(self, file: BinaryIO, name: str, inside: dict[str, tuple[StoredTensor, Shard]]) -> str:
        """What is wrong with a file; "" if nothing."""
        wanted = self.files[name]
        file.seek(0, 2)
        found = file.tell()
        if found != wanted.size:
            kind = "is cut off" if found < wanted.size else "is padded"
            return f"{_named(inside)}: the file {kind}, with {found:,} bytes instead of {wanted.size:,}"
        file.seek(0)
        header, start = read_header(file)
        file.seek(0)
        if hashlib.sha256(file.read(start)).hexdigest() != wanted.header_sha256:
            return f"{_named(inside)}: the header of the file was changed"
        for key, (tensor, shard) in inside.items():
            entry = header[key]
            if entry["dtype"] != tensor.dtype or tuple(entry["shape"]) != _own_shape(tensor, shard):
                return f"the tensor {key!r} is {entry['shape']} {entry['dtype']} in the file"
            if _hash(file, start, *entry["data_offsets"]) != shard.sha256:
                rows = f"rows {shard.start:,} to {shard.start + shard.rows - 1:,} of " if tensor.shape else ""
                return f"{rows}the tensor {key!r} were changed" if rows else f"the tensor {key!r} was changed"
        return ""


def _own_shape(tensor: StoredTensor, shard: Shard) -> tuple[int, ...]:
    return (shard.rows, *tensor.shape[1:]) if tensor.shape else ()


def _named(inside: Iterable[str]) -> str:
    """The tensors of a file, at most three of them."""
    names = list(inside)
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"the tensor{'s' * (len(names) > 1)} {', '.join(map(repr, names[:3]))}{more}"


def _hash(file: BinaryIO, start: int, first: int, last: int) -> str:
    digest = hashlib.sha256()
    file.seek(start + first)
    for piece in _pieces(file, last - first):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        piece = file.read(min(size, _PIECE))
        if not piece:
            return
        size -= len(piece)
        yield piece


def _tensor(name: str, entry: dict[str, Any]) -> StoredTensor:
    """An entry of the manifest; ValueError or similar unless its shards follow each other to the end."""
    shape = tuple(entry["shape"])
    shards = tuple(Shard(**shard) for shard in entry["shards"])
    numbers = [*shape, *(number for shard in shards for number in (shard.start, shard.rows))]
    if any(type(number) is not int or number < 0 for number in numbers) or entry["dtype"] not in DTYPES:
        raise ValueError(f"{name!r:.80} of shape {shape!s:.80}")
    at = 0
    for shard in shards:
        if shard.start != at or not (isinstance(shard.sha256, str) and _HEX.fullmatch(shard.sha256)):
            raise ValueError(f"shards of {name!r:.80} that overlap or are missing, at row {at}")
        at += shard.rows
    if not shards or at != (shape[0] if shape else 1) or math.prod(shape) >= 1 << 62:
        raise ValueError(f"{at} rows of {name!r:.80} of shape {shape!s:.80}")
    return StoredTensor(entry["dtype"], shape, shards)

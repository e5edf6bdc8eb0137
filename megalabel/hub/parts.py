"""Files above a size are stored as numbered parts, since hubs and proxies limit the size of a file."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from megalabel.errors import FormatError
from megalabel.storage.files import naming, write_bytes_atomically

PART_BYTES = 5_000_000_000
_PART = re.compile(r"(.+)\.part-(\d{5})-of-(\d{5})")
_PIECE = 16 << 20  # bytes that are copied at once


def divided(file: Path, folder: Path, part_bytes: int = PART_BYTES) -> Iterator[Path]:
    """The file itself or, if it is larger than `part_bytes`, its parts, which are written into `folder`."""
    size = file.stat().st_size
    if size <= part_bytes:
        yield file
        return
    n = -(-size // part_bytes)
    with open(file, "rb") as source:
        for i in range(n):
            part = folder / f"{file.name}.part-{i + 1:05}-of-{n:05}"
            left = min(part_bytes, size - i * part_bytes)
            with naming(part), open(part, "wb") as target:
                while left:
                    left -= target.write(source.read(min(left, _PIECE)))
            yield part


def join_parts(folder: Path) -> None:
    """Puts the files of a folder and its folders together that were stored as parts; the parts are removed.

    Raises:
        FormatError: a part is missing.
    """
    found: dict[Path, dict[int, Path]] = {}
    numbers: dict[Path, int] = {}
    for path in sorted(folder.rglob("*.part-*")):
        match = _PART.fullmatch(path.name)
        if match and path.is_file():
            whole = path.with_name(match[1])
            found.setdefault(whole, {})[int(match[2])] = path
            numbers[whole] = int(match[3])
    for whole, parts in found.items():
        missing = [i for i in range(1, numbers[whole] + 1) if i not in parts]
        if missing:
            raise FormatError(
                f"part {missing[0]} of {numbers[whole]} is missing",
                wanted="all parts of the file",
                next_step="download the model again",
                where=whole,
            )
        with write_bytes_atomically(whole) as target:
            for i in sorted(parts):
                with open(parts[i], "rb") as source:
                    shutil.copyfileobj(source, target, _PIECE)
        for part in parts.values():
            part.unlink()

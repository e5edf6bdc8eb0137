"""Splits of several Parquet files: shards of Hugging Face and of Spark, and label names in their metadata.

| written by | files |
|---|---|
| Hugging Face | data/train-00000-of-00002.parquet, ..., or the same without data/ |
| Spark | train.parquet/part-00000-*.parquet, train/part-*.parquet, or part-*.parquet without a test side |
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalabel.data.formats.contract import Found
from megalabel.errors import DataError

_NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})(-[0-9a-f]+)?\.parquet")


def find(folder: Path) -> Found | None:
    """The data set of shards in a folder, or None; a split is its first file or the folder of its parts."""
    for place in (folder, folder / "data"):
        train, test = _numbered(place, "train"), _numbered(place, "test")
        if train:
            return Found(folder, train[0], test[0] if test else None)
    for name in ("{}.parquet", "{}"):
        train_folder, test_folder = (folder / name.format(side) for side in ("train", "test"))
        if parts(train_folder):
            return Found(folder, train_folder, test_folder if parts(test_folder) else None)
    return Found(folder, folder, None) if parts(folder) else None


def files_of(split: Path) -> list[Path]:
    """The files of a split in order.

    Raises:
        DataError: one of the numbered shards is missing.
    """
    if split.is_dir():
        return parts(split)
    match = _NUMBERED.search(split.name)
    if match is None or match.start() == 0:
        return [split]
    shards = _numbered(split.parent, split.name[: match.start()])
    numbers = [int(_number(path).group(1)) for path in shards]
    if numbers != list(range(int(match.group(2)))):
        raise DataError(
            f"{len(shards)} of {int(match.group(2))} shards: {', '.join(path.name for path in shards[:4])}",
            wanted="all shards of the split",
            next_step="copy or download the missing ones",
            where=split.parent,
        )
    return shards


def parts(folder: Path) -> list[Path]:
    """The parts that Spark wrote into a folder, in order."""
    return sorted(folder.glob("part-*.parquet")) if folder.is_dir() else []


def _numbered(folder: Path, side: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"{side}-*.parquet") if _NUMBERED.fullmatch(path.name[len(side) :]))


def _number(path: Path) -> re.Match[str]:
    match = _NUMBERED.search(path.name)
    assert match is not None
    return match


def class_names(metadata: Any, column: str) -> list[str] | None:
    """The names of the ClassLabel that Hugging Face's `datasets` keeps in a file's metadata for a column, or None.

    metadata: of a pyarrow schema, a dictionary of bytes, or None.
    """
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[column]
    except (KeyError, TypeError, ValueError):
        return None
    while isinstance(feature, dict | list) and feature:
        if isinstance(feature, list):  # as older versions write a sequence
            feature = feature[0]
            continue
        names = feature.get("names")
        if feature.get("_type") == "ClassLabel" and isinstance(names, list):
            return [str(name) for name in names]
        feature = feature.get("feature")
    return None


@contextmanager
def damaged_file(path: Path) -> Iterator[None]:
    """Turns an error of pyarrow about a damaged file into a DataError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot be read as Parquet ({str(error).splitlines()[0][:200]})",
            wanted="a complete Parquet file",
            next_step="copy or write it again; a Parquet file must not be gzipped as a whole",
            where=path,
        ) from error

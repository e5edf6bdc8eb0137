"""Divides many Parquet files into parts of whole row groups, and writes the answers of one part."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from megalabel.errors import DataError
from megalabel.inference.predictor import Predictor
from megalabel.storage.files import write_bytes_atomically
from megalabel.storage.paths import as_path

ROWS = 8192  # that are in memory at once
_END = 8  # bytes at the end of a Parquet file: the length of its footer, and four letters


class LakePart(NamedTuple):
    """Row groups of one file, which become one part of the answers.

    file: the path.
    groups: the numbers of its row groups.
    n_rows: their rows.
    """

    file: str
    groups: tuple[int, ...]
    n_rows: int


def parquet_files(inputs: str | Path | Sequence[str | Path]) -> list[Path]:
    """The Parquet files that are named, or lie in the folders that are named; those of a folder sorted by path.

    Files and folders in a folder whose names begin with a dot or an underscore are left out.

    Raises:
        DataError: there is no such file or folder, or none of the files is a Parquet file.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    found: list[Path] = []
    for each in given:
        path = as_path(each, "inputs")
        if not path.exists():
            step = "mount the storage, or copy the files to a folder" if "://" in str(each) else "correct the path"
            raise DataError("no such file or folder", wanted="Parquet files", next_step=step, where=path)
        found += (
            [path] if path.is_file() else sorted(file for file in path.rglob("*.parquet") if _is_seen(file, path))
        )
    if not found:
        raise DataError(
            "no file that ends in .parquet",
            wanted="Parquet files",
            next_step="name the folder that holds them",
            where=given[0] if given else "inputs",
        )
    return found


def lake_parts(
    files: Sequence[Path], columns: Sequence[str], part_size: int
) -> tuple[list[LakePart], dict[str, Any]]:
    """The parts of many files, in their order, and facts that say which content they have.

    A part has row groups of one file, as many as hold `part_size` rows at least, or those that are left. The facts
    are read from the ends of the files, which hold sizes, places and statistics of all columns.

    Args:
        files: Parquet files.
        columns: those that each file must have; texts first.
        part_size: rows.

    Raises:
        DataError: a file is damaged, or lacks a column.
    """
    parts: list[LakePart] = []
    base, digest, n_rows = os.path.commonpath([file.absolute().parent for file in files]), hashlib.sha256(), 0
    for file in files:
        footer, counts = _read_end(file, columns)
        digest.update(
            f"{os.path.relpath(file.absolute(), base)}\0{file.stat().st_size}\0".encode("utf-8", "replace")
        )
        digest.update(footer)
        groups: list[int] = []
        rows = 0
        for group, count in enumerate(counts):
            groups, rows = [*groups, group], rows + count
            if rows and (rows >= part_size or group == len(counts) - 1):
                parts.append(LakePart(str(file.absolute()), tuple(groups), rows))
                n_rows, groups, rows = n_rows + rows, [], 0
    return parts, {"files": len(files), "rows": n_rows, "sha256": digest.hexdigest()}


def write_lake_part(predictor: Predictor, part: LakePart, path: Path) -> int:
    """Writes the columns that are kept and the labels of the rows of a part; returns the number of rows."""
    n = 0
    with pq.ParquetFile(part.file) as source, write_bytes_atomically(path) as file:
        columns = _columns(source.schema_arrow.names, predictor)
        empty = predictor(source.schema_arrow.empty_table().select(columns))
        schema = empty.schema.with_metadata({"score_type": predictor.score_type})
        with pq.ParquetWriter(file, schema) as writer:
            for batch in source.iter_batches(ROWS, row_groups=list(part.groups), columns=columns):
                writer.write_table(predictor(batch).cast(schema))
                n += len(batch)
    if n != part.n_rows:
        raise DataError(f"{n:,} rows", wanted=f"{part.n_rows:,}, as when the job began", where=part.file)
    return n


def _columns(names: Sequence[str], predictor: Predictor) -> list[str]:
    """The columns to read: texts, and those that are kept."""
    others = (name for name in names if name not in predictor.new)
    kept = list(others if predictor.keep is None else predictor.keep)
    return [predictor.text_field, *(name for name in kept if name != predictor.text_field)]


def _is_seen(file: Path, folder: Path) -> bool:
    return not any(name.startswith((".", "_")) for name in file.relative_to(folder).parts)


def _read_end(file: Path, columns: Sequence[str]) -> tuple[bytes, list[int]]:
    """The footer of a Parquet file, and the number of rows of each row group."""
    try:
        with open(file, "rb") as raw, pq.ParquetFile(raw) as found:
            missing = [name for name in columns if name not in found.schema_arrow.names]
            if missing:
                raise DataError(
                    f"the columns {', '.join(map(repr, found.schema_arrow.names))[:200]}",
                    wanted=f"a column {missing[0]!r}",
                    next_step="name the column of the texts with text_field, and those to keep with keep",
                    where=file,
                )
            kind = found.schema_arrow.field(columns[0]).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if kind not in (pa.string(), pa.large_string(), pa.string_view(), pa.null()):
                raise DataError(
                    f"values of type {kind} in the column {columns[0]!r}",
                    wanted="strings",
                    next_step="name the column of the texts with text_field",
                    where=file,
                )
            counts = [found.metadata.row_group(i).num_rows for i in range(found.metadata.num_row_groups)]
            raw.seek(-_END, os.SEEK_END)
            length = int.from_bytes(raw.read(4), "little")
            raw.seek(-_END - length, os.SEEK_END)
            return raw.read(length), counts
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"cannot be read as Parquet ({str(error).splitlines()[0][:200]})",
            wanted="a complete Parquet file",
            next_step="copy or write it again",
            where=file,
        ) from error

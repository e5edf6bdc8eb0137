"""Shared by the writers of all formats: text files, label lists, filter pairs, and values a format cannot hold."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np

from megalabel.data.formats.contract import Sink
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError

_LINE_BREAKS = re.compile(r"[\r\n]+")


@contextmanager
def line_writer(sink: Sink, name: str) -> Iterator[Callable[[str], None]]:
    """Opens NAME (NAME.gz if `sink.gz`) and yields a function that writes one line in UTF-8 with a newline."""
    with open_bytes(sink, name) as file:
        yield lambda line: cast(None, file.write(line.encode() + b"\n"))


@contextmanager
def open_bytes(sink: Sink, name: str) -> Iterator[BinaryIO]:
    """Opens NAME, or NAME.gz without a time stamp, so that equal data makes equal files."""
    if not sink.gz:
        with (sink.folder / name).open("wb") as plain:
            yield cast(BinaryIO, plain)
        return
    with (sink.folder / f"{name}.gz").open("wb") as under:
        with gzip.GzipFile(filename="", fileobj=under, mode="wb", compresslevel=6, mtime=0) as packed:
            yield cast(BinaryIO, packed)


def single_lines(texts: Iterable[str], sink: Sink, what: str, tabs: bool = True) -> Iterator[str]:
    """Yields the texts, each as a single line; if the sink is lossy, line breaks become spaces.

    Args:
        texts: the texts, which are written one per line.
        sink: states whether changes are allowed, and collects the notes.
        what: the kind of text, for messages: "label name".
        tabs: whether a line may hold tabs.

    Raises:
        DataError: a text is not a single line, and the sink is not lossy.
    """
    changed, first = 0, 0
    for row, text in enumerate(texts):
        fits = "\n" not in text and not text.endswith("\r") and (tabs or "\t" not in text)
        if fits and not (row == 0 and text.startswith("\ufeff")):
            yield text
            continue
        if not sink.lossy:
            kind = (
                "a line break" if _LINE_BREAKS.search(text) else "a tab" if "\t" in text else "a byte order mark"
            )
            raise cannot_hold(f"{what} {row} (counted from 0) holds {kind}", "texts that are one line each")
        changed += 1
        first = row if changed == 1 else first
        text = _LINE_BREAKS.sub(" ", text.lstrip("\ufeff") if row == 0 else text)
        yield text if tabs else text.replace("\t", " ")
    if changed:
        sink.notes.append(
            f"{changed:,} {what}s had a line break or a tab, now a space (the first: {what} {first})"
        )


def cannot_hold(found: str, wanted: str) -> DataError:
    """The error for a value that a format cannot hold."""
    return DataError(
        found,
        wanted=wanted,
        next_step="convert to jsonl, which can hold it, or allow the loss (lossy=True, --lossy)",
    )


def drop_unseen(data: CorpusData, sink: Sink, holder: str) -> None:
    """Notes that true test labels without a column are dropped; DataError if the sink is not lossy."""
    unseen = None if data.test is None else data.test.unseen
    if unseen is None or len(unseen) == 0:
        return
    if not sink.lossy:
        raise cannot_hold(
            f"{len(unseen):,} test labels have no id, the first is {unseen.names[0]!r}",
            f"labels of the training split: {holder} cannot hold others",
        )
    sink.notes.append(f"{len(unseen):,} test labels that training lacks were left out")


def write_filters(data: CorpusData, sink: Sink) -> None:
    """Writes the filter pairs of both splits, one pair `row label` per line."""
    for side, split in (("trn", data.train), ("tst", data.test)):
        if split is not None and split.filter is not None:
            with line_writer(sink, f"{side}_filter_labels.txt") as put:
                for row, label in split.filter.tolist():
                    put(f"{row} {label}")


def write_label_list(data: CorpusData, sink: Sink) -> None:
    """Writes labels.txt, one name per line, which fixes the label ids."""
    with line_writer(sink, "labels.txt") as put:
        for name in single_lines(data.label_texts, sink, "label name"):
            put(name)


def fields_of(split: Split) -> list[str]:
    """The fields that the texts of a split have besides text and labels."""
    there = {"weight": split.weights, "source": split.sources}
    return [name for name, values in there.items() if values is not None]


def more_fields(split: Split) -> Iterator[dict[str, float | str]]:
    """Yields for each text its weight and source by `fields_of`."""
    weights: Iterable[float] = [0.0] * len(split) if split.weights is None else split.weights.tolist()
    sources: Iterable[str] = [""] * len(split) if split.sources is None else split.sources
    names = fields_of(split)
    for weight, source in zip(weights, sources, strict=True):
        both: dict[str, float | str] = {"weight": weight, "source": source}
        yield {name: both[name] for name in names}


def write_row_values(data: CorpusData, sink: Sink) -> None:
    """Writes weights and sources into files beside the texts, one line per text, for formats without fields."""
    for side, split in (("trn", data.train), ("tst", data.test)):
        if split is not None and split.weights is not None:
            with line_writer(sink, f"{side}_weights.txt") as put:
                for weight in split.weights.tolist():
                    put(repr(weight))
        if split is not None and split.sources is not None:
            with line_writer(sink, f"{side}_sources.txt") as put:
                for name in single_lines(split.sources, sink, "source"):
                    put(name)


def texts_with_labels(data: CorpusData, split: Split, sink: Sink) -> Iterator[tuple[str, list[str] | list[int]]]:
    """Yields each text with its labels: as names if all names differ and are plain lines, else as ids."""
    names = list(data.label_texts)
    by_name = all(names) and len(set(names)) == len(names) and not any(_LINE_BREAKS.search(name) for name in names)
    by_name = by_name and not names[0].startswith("\ufeff")
    lost = split.unseen if split.unseen is not None and len(split.unseen) else None
    if lost is not None and not by_name:
        drop_unseen(data, sink, "labels written as ids (their names are not all different)")
        lost = None
    extra: dict[int, list[str]] = {}
    for row, name in zip(lost.rows.tolist(), lost.names, strict=True) if lost is not None else ():
        extra.setdefault(row, []).append(name)
    rows = np.split(split.labels.indices, split.labels.indptr[1:-1])
    for row, (text, columns) in enumerate(zip(split.texts, rows, strict=True)):
        ids: list[int] = columns.tolist()
        yield text, [names[i] for i in ids] + extra.get(row, []) if by_name else ids

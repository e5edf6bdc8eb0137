"""What the writers share: line files plain or gzip, refusals of what a line cannot hold, filter files."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import numpy as np

from megalabel.data.corpus import Corpus, Split
from megalabel.data.formats import Sink
from megalabel.errors import DataError

_BREAKS = re.compile(r"[\r\n]+")


@contextmanager
def line_writer(sink: Sink, name: str) -> Iterator[Callable[[str], None]]:
    """Opens NAME, or NAME.gz where asked for, and gives a function that writes a line (UTF-8, newline)."""
    with open_bytes(sink, name) as file:
        yield lambda line: cast(None, file.write(line.encode() + b"\n"))


@contextmanager
def open_bytes(sink: Sink, name: str) -> Iterator[BinaryIO]:
    """Opens NAME, or NAME.gz with no time stamp inside, so that equal data gives equal files."""
    if not sink.gz:
        with (sink.folder / name).open("wb") as plain:
            yield cast(BinaryIO, plain)
        return
    with (sink.folder / f"{name}.gz").open("wb") as under:
        with gzip.GzipFile(filename="", fileobj=under, mode="wb", compresslevel=6, mtime=0) as packed:
            yield cast(BinaryIO, packed)


def check_lines(texts: Iterable[str], sink: Sink, what: str, tabs: bool = True) -> Iterator[str]:
    """The texts, each one line that reads back as it is; if lossy, line breaks become spaces.

    Args:
        texts: what is to stand one a line.
        sink: says whether changes are allowed, and takes the notes.
        what: how messages call one of the texts.
        tabs: whether a line may hold tabs.
    """
    changed, first = 0, 0
    for row, text in enumerate(texts):
        fits = "\n" not in text and not text.endswith("\r") and (tabs or "\t" not in text)
        if fits and not (row == 0 and text.startswith("\ufeff")):
            yield text
            continue
        if not sink.lossy:
            kind = "a line break" if _BREAKS.search(text) else "a tab" if "\t" in text else "a byte order mark"
            raise cannot(f"{what} {row} (counted from 0) holds {kind}", "texts that are one line each")
        changed += 1
        first = row if changed == 1 else first
        text = _BREAKS.sub(" ", text.lstrip("\ufeff") if row == 0 else text)
        yield text if tabs else text.replace("\t", " ")
    if changed:
        sink.notes.append(
            f"{changed:,} {what}s had a line break or a tab, now a space (the first: {what} {first})"
        )


def cannot(found: str, wanted: str) -> DataError:
    """The error for what a format cannot hold."""
    return DataError(
        found,
        wanted=wanted,
        next_step="convert to jsonl, which holds it, or allow the loss (lossy=True, --lossy)",
    )


def no_unseen(corpus: Corpus, sink: Sink, holder: str) -> None:
    """Refuses, or notes as lost, true test labels that have no column."""
    unseen = None if corpus.test is None else corpus.test.unseen
    if unseen is None or len(unseen) == 0:
        return
    if not sink.lossy:
        raise cannot(
            f"{len(unseen):,} test labels have no id, the first is {unseen.names[0]!r}",
            f"labels known from training: {holder} cannot hold others",
        )
    sink.notes.append(f"{len(unseen):,} test labels unknown to training were left out")


def write_filters(corpus: Corpus, sink: Sink) -> None:
    """Writes the filter pairs, `row label` a line."""
    for side, split in (("trn", corpus.train), ("tst", corpus.test)):
        if split is not None and split.filter is not None:
            with line_writer(sink, f"{side}_filter_labels.txt") as put:
                for row, label in split.filter.tolist():
                    put(f"{row} {label}")


def write_label_list(corpus: Corpus, sink: Sink) -> None:
    """Writes labels.txt, a name a line, which fixes the ids."""
    with line_writer(sink, "labels.txt") as put:
        for name in check_lines(corpus.label_texts, sink, "label name"):
            put(name)


def written_rows(corpus: Corpus, split: Split, sink: Sink) -> Iterator[tuple[str, list[str] | list[int]]]:
    """Each text with its labels: names if all names differ, none is blank and none was changed, else ids."""
    names = list(corpus.label_texts)
    by_name = all(names) and len(set(names)) == len(names) and not any(_BREAKS.search(name) for name in names)
    by_name = by_name and not names[0].startswith("\ufeff")
    lost = split.unseen if split.unseen is not None and len(split.unseen) else None
    if lost is not None and not by_name:
        no_unseen(corpus, sink, "labels written as ids (their names are not all different)")
        lost = None
    extra: dict[int, list[str]] = {}
    for row, name in zip(lost.rows.tolist(), lost.names, strict=True) if lost is not None else ():
        extra.setdefault(row, []).append(name)
    rows = np.split(split.labels.indices, split.labels.indptr[1:-1])
    for row, (text, columns) in enumerate(zip(split.texts, rows, strict=True)):
        ids: list[int] = columns.tolist()
        yield text, [names[i] for i in ids] + extra.get(row, []) if by_name else ids

"""Annif's TSV: `text<TAB><uri> <uri> ...` a line, with a vocabulary `<uri><TAB>name` a line.

A label is its URI; its text is the vocabulary's name. Column i is line i + 1 of the vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from megalabel.data.corpus import Corpus, Split
from megalabel.data.findings import Findings
from megalabel.data.formats import Sink, Source
from megalabel.data.lines import empty, find, lines
from megalabel.data.records import Record, corpus_of_records, nothing_good
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.vocabulary import Vocabulary
from megalabel.data.writing import check_lines, line_writer, no_unseen, write_filters
from megalabel.errors import DataError, line_of

_NAMES = ("vocab.tsv", "vocabulary.tsv", "subjects.tsv")
_URI = re.compile(r"[^\s<>]+")


def read(source: Source, findings: Findings) -> Corpus:
    """Reads train.tsv, the vocabulary (vocab.tsv, vocabulary.tsv or subjects.tsv) and, if there, test.tsv."""
    file = find(source.folder, *_NAMES)
    if file is None:
        raise DataError(
            f"there is {source.train.name}, but no vocabulary",
            wanted=f"one of {', '.join(_NAMES)}: a line `<uri>`, tab, name for each label",
            next_step="put the vocabulary beside it",
            where=source.folder,
        )
    uris, names = _vocabulary(file, findings)
    return corpus_of_records(source, records, Vocabulary(uris, file, findings), findings, label_texts=names)


def _vocabulary(file: Path, findings: Findings) -> tuple[Texts, Texts]:
    uris, names, seen = TextsBuilder(), TextsBuilder(), dict[str, int]()
    for number, line in lines(file, findings):
        if not line.strip():
            findings.note("blank-line", file, "blank line, passed over", line=number)
            continue
        cells = line.split("\t")
        uri = _uri(cells[0].strip())
        problem = None
        if uri is None or len(cells) < 2:
            problem = f"{line[:80]!r} is no vocabulary line"
        elif seen.setdefault(uri, number) != number:
            problem = f"<{uri}> stands there already, on line {seen[uri]}"
        if problem is not None or uri is None:
            error = DataError(
                str(problem),
                wanted="`<uri>`, tab, name, and each URI once",
                next_step="correct the line",
                where=line_of(file, number),
            )
            findings.error("vocabulary", file, error)
            continue
        uris.add(uri)
        names.add(cells[1])
    if not len(uris):
        raise nothing_good(file) if findings.has_error(file) else empty(file)
    return uris.done(), names.done()


def _uri(token: str) -> str | None:
    """The URI within angle brackets, which may be left out, as Annif allows."""
    bare = token[1:-1] if token.startswith("<") and token.endswith(">") else token
    return bare if _URI.fullmatch(bare) else None


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Each line's text and URIs."""
    for number, line in lines(path, findings):
        if not line.strip() and "\t" not in line:  # with a tab it is a row: an empty text without labels
            findings.note("blank-line", path, "blank line, passed over", line=number)
            continue
        text, tab, rest = line.partition("\t")
        uris = [_uri(token) for token in rest.split()]
        plain = next((token for token in rest.split() if not token.startswith("<") and ":" not in token), None)
        if not tab or None in uris or plain is not None:
            found = f"{plain or rest[:60]!r} after the first tab is no URI" if tab else "no tab on the line"
            error = DataError(
                found,
                wanted="the text without tabs, one tab, then `<uri>`s with spaces or tabs between them",
                next_step="make tabs inside the text spaces",
                where=line_of(path, number),
            )
            findings.error("line", path, error)
            continue
        yield Record(number, text, uris)


def write(corpus: Corpus, sink: Sink) -> None:
    """Writes the TSV files; labels without a URI get `urn:label:ID`."""
    uris = list(corpus.label_uris) if corpus.label_uris is not None else _made(corpus.n_labels)
    with line_writer(sink, "vocab.tsv") as put:
        for uri, name in zip(uris, check_lines(corpus.label_texts, sink, "label name", tabs=False), strict=True):
            put(f"<{uri}>\t{name}")
    for side, split in (("train", corpus.train), ("test", corpus.test)):
        if split is None:
            continue
        extra = _unseen(corpus, split, sink)
        rows = np.split(split.labels.indices, split.labels.indptr[1:-1])
        texts = check_lines(split.texts, sink, f"{side} text", tabs=False)
        with line_writer(sink, f"{side}.tsv") as put:
            for row, (text, ids) in enumerate(zip(texts, rows, strict=True)):
                names = [uris[i] for i in ids.tolist()] + extra.get(row, [])
                put(f"{text}\t{' '.join(f'<{uri}>' for uri in names)}")
    write_filters(corpus, sink)


def _made(n: int) -> list[str]:
    return [f"urn:label:{i}" for i in range(n)]


def _unseen(corpus: Corpus, split: Split, sink: Sink) -> dict[int, list[str]]:
    """Labels without a column, by row, where they are URIs themselves."""
    extra: dict[int, list[str]] = {}
    if split.unseen is None:
        return extra
    if not all(_URI.fullmatch(name) and ":" in name for name in split.unseen.names):
        no_unseen(corpus, sink, "Annif TSV, whose labels are URIs,")
        return extra
    for row, name in zip(split.unseen.rows.tolist(), split.unseen.names, strict=True):
        extra.setdefault(row, []).append(name)
    return extra

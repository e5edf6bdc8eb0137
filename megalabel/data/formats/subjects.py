"""Annif's vocabularies: URIs with names and notations, from TSV, from CSV, or from SKOS (see `skos`).

Column i is line i + 1 of a TSV or CSV file; concepts of SKOS are sorted by URI. Of several languages English names
are taken, else those of the first one in the file, and what was taken is noted; all are kept in the metadata.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.concepts import Collected, Concept
from megalabel.data.formats.skos import SUFFIXES, read_skos
from megalabel.data.label_metadata import TAXONOMY, LabelMetadata
from megalabel.data.records import no_readable_line
from megalabel.data.text_lines import empty_file, find_file, lines
from megalabel.data.texts import Texts
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of

_STEMS = ("vocab", "vocabulary", "subjects")
FILES = tuple(f"{stem}.{suffix}" for suffix in ("tsv", "csv", *SUFFIXES) for stem in _STEMS)
_URI = re.compile(r"[^\s<>]+")
_NAME, _OTHERS = "label", "alt_label"  # how columns of CSV begin
_WANTED = "`<uri>`, tab, name, and each URI once"


class Subjects(Vocabulary):
    """A vocabulary that passes over URIs that it does not list, in training; `Vocabulary` raises an error there.

    A test label that is not listed stays a true label without a column.
    """

    def __init__(self, metadata: LabelMetadata, file: Path, findings: Findings) -> None:
        uris = metadata.uris or Texts.blank(0)
        super().__init__(uris, file, findings)
        self._uris, self._file = frozenset(uris), file

    def columns(self, labels: Sequence[object], file: Path, line: int) -> tuple[list[int], list[str]]:
        """The columns of one row's labels, and those test labels that have none."""
        if self._learning:
            known = [label for label in labels if label in self._uris]
            if len(known) < len(labels):
                first = next(label for label in labels if label not in self._uris)
                message = f"<{first}> is not in {self._file.name} and is left out, as Annif does"
                count = len(labels) - len(known)
                self._findings.note("taken-uris", file, message, line=line, count=count, severity="info")
            labels = known
        return super().columns(labels, file, line)


def vocabulary_file(folder: Path) -> Path | None:
    """The file of the vocabulary in a folder, or None."""
    return find_file(folder, *FILES)


def needed_vocabulary_file(folder: Path, beside: str) -> Path:
    """The file of the vocabulary in a folder; DataError where there is none."""
    file = vocabulary_file(folder)
    if file is not None:
        return file
    raise DataError(
        f"{beside} exists, but no vocabulary does",
        wanted=f"vocab.tsv with a line `<uri>`, tab, name for each label; or one of {', '.join(FILES[1:])}",
        next_step="add it; --format tsv reads a table whose header names a column of texts and one of labels",
        where=folder,
    )


def read_vocabulary(file: Path, findings: Findings) -> tuple[Texts, LabelMetadata]:
    """The names of a vocabulary, and what it says of them, their URIs included."""
    suffix = file.name.removesuffix(".gz").rsplit(".", 1)[-1]
    concepts = _tsv if suffix == "tsv" else _csv if suffix == "csv" else read_skos
    found, seen = Collected(), dict[str, int]()
    for concept in concepts(file, findings):
        problem, uri = None, concept.uri
        if uri is None or concept.name is None:
            problem = f"{concept.shown[:80]!r} is not a vocabulary line"
        elif seen.setdefault(uri, concept.line) != concept.line:
            problem = f"<{uri}> is already on line {seen[uri]}"
        if problem is not None:
            where = line_of(file, concept.line)
            findings.error("vocabulary", file, DataError(problem, wanted=_WANTED, where=where))
            continue
        found.add(concept)
    if not found.concepts:
        raise no_readable_line(file) if findings.has_error(file) else empty_file(file)
    replaced = find_file(file.parent, TAXONOMY) is not None
    return found.names(), found.metadata(file, relations=not replaced)


def uri_of(token: str) -> str | None:
    """The URI in angle brackets, which Annif allows to be left out; None for any other token."""
    bare = token[1:-1] if token.startswith("<") and token.endswith(">") else token
    return bare if _URI.fullmatch(bare) else None


def _tsv(file: Path, findings: Findings) -> Iterator[Concept]:
    for number, line in lines(file, findings):
        if not line.strip():
            findings.note("blank-line", file, "blank line, ignored", line=number)
            continue
        cells = line.split("\t")
        name, notation = (cells[i] if len(cells) > i else None for i in (1, 2))
        yield Concept(number, uri_of(cells[0].strip()), name, line, (notation or "").strip())


def _csv(file: Path, findings: Findings) -> Iterator[Concept]:
    table = csv.reader((line for _, line in lines(file, findings, keep_ends=True)), strict=True)
    try:
        header = [cell.strip() for cell in next(table, [])]
        labels = [i for i, cell in enumerate(header) if cell.startswith(_NAME)]
        if "uri" not in header or not labels:
            raise DataError(
                f"the columns {', '.join(map(repr, header))[:200]}",
                wanted="a column `uri` and a column of names, such as `label_en`",
                where=line_of(file, 1),
            )
        column = header.index("label_en") if "label_en" in header else labels[0]
        if len(labels) > 1:
            message = f"label names are those of the column {header[column]!r}"
            findings.note("taken-language", file, message, severity="info")
        for row in table:
            if row and len(row) == len(header):
                yield _of_row(table.line_num, dict(zip(header, row, strict=True)), header[column], row)
            elif row:
                yield Concept(table.line_num, None, None, ",".join(row))
    except csv.Error as error:
        raise DataError(
            f"does not parse as CSV ({error})",
            wanted="columns separated by commas: uri,label_en",
            where=line_of(file, table.line_num),
        ) from error


def _of_row(line: int, row: dict[str, str], column: str, cells: Sequence[str]) -> Concept:
    """The concept in a row of CSV; where the column of names is empty, the name is that of another language."""
    names = {_language(key): value for key, value in row.items() if key.startswith(_NAME) and value.strip()}
    others = {
        _language(key): [part.strip() for part in value.split("|") if part.strip()]
        for key, value in row.items()
        if key.startswith(_OTHERS) and value.strip()
    }
    name = row[column] if row[column].strip() else next(iter(names.values()), row[column])
    languages = {language: text for language, text in names.items() if language}
    uri, notation = uri_of(row["uri"].strip()), row.get("notation", "").strip()
    return Concept(line, uri, name, ",".join(cells), notation, languages, others)


def _language(column: str) -> str:
    """The language of a column such as `label_en`; "" for none."""
    return column.removeprefix(_OTHERS).removeprefix(_NAME).removeprefix("_")

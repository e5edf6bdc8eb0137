"""Annif's vocabularies: URIs with names, from TSV, from CSV, or from SKOS in Turtle, RDF/XML or N-Triples.

Column i is line i + 1 of a TSV or CSV file; concepts of SKOS are sorted by URI. Of several languages English is
taken, else the first one in the file, and what was taken is noted.
"""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.records import no_readable_line
from megalabel.data.text_lines import empty_file, find_file, lines
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of

_STEMS = ("vocab", "vocabulary", "subjects")
_SKOS = {"ttl": "turtle", "rdf": "xml", "nt": "nt"}
FILES = tuple(f"{stem}.{suffix}" for suffix in ("tsv", "csv", *_SKOS) for stem in _STEMS)
_URI = re.compile(r"[^\s<>]+")


class Subjects(Vocabulary):
    """A vocabulary that passes over URIs that it does not list, in training; `Vocabulary` raises an error there.

    A test label that is not listed stays a true label without a column.
    """

    def __init__(self, uris: Texts, file: Path, findings: Findings) -> None:
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


def read_vocabulary(file: Path, findings: Findings) -> tuple[Texts, Texts]:
    """The URIs and the names of a vocabulary."""
    suffix = file.name.removesuffix(".gz").rsplit(".", 1)[-1]
    rows = _tsv if suffix == "tsv" else _csv if suffix == "csv" else _skos
    uris, names, seen = TextsBuilder(), TextsBuilder(), dict[str, int]()
    for number, uri, name, shown in rows(file, findings):
        problem = None
        if uri is None or name is None:
            problem = f"{shown[:80]!r} is not a vocabulary line"
        elif seen.setdefault(uri, number) != number:
            problem = f"<{uri}> is already on line {seen[uri]}"
        if problem is not None or uri is None or name is None:
            error = DataError(
                str(problem),
                wanted="`<uri>`, tab, name, and each URI once",
                where=line_of(file, number),
            )
            findings.error("vocabulary", file, error)
            continue
        uris.add(uri)
        names.add(name)
    if not len(uris):
        raise no_readable_line(file) if findings.has_error(file) else empty_file(file)
    return uris.done(), names.done()


def uri_of(token: str) -> str | None:
    """The URI in angle brackets, which Annif allows to be left out; None for any other token."""
    bare = token[1:-1] if token.startswith("<") and token.endswith(">") else token
    return bare if _URI.fullmatch(bare) else None


_Row = tuple[int, str | None, str | None, str]  # line, URI, name, what to show of a bad line


def _tsv(file: Path, findings: Findings) -> Iterator[_Row]:
    for number, line in lines(file, findings):
        if not line.strip():
            findings.note("blank-line", file, "blank line, ignored", line=number)
            continue
        cells = line.split("\t")
        yield number, uri_of(cells[0].strip()), cells[1] if len(cells) > 1 else None, line


def _csv(file: Path, findings: Findings) -> Iterator[_Row]:
    table = csv.reader((line for _, line in lines(file, findings, keep_ends=True)), strict=True)
    try:
        header = [cell.strip() for cell in next(table, [])]
        labels = [i for i, cell in enumerate(header) if cell.startswith("label")]
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
        at = header.index("uri")
        for row in table:
            if row:
                whole = len(row) == len(header)
                name = row[column] if whole else None
                yield table.line_num, uri_of(row[at].strip()) if whole else None, name, ",".join(row)
    except csv.Error as error:
        raise DataError(
            f"does not parse as CSV ({error})",
            wanted="columns separated by commas: uri,label_en",
            where=line_of(file, table.line_num),
        ) from error


def _skos(file: Path, findings: Findings) -> Iterator[_Row]:
    rdflib = _rdflib(file)
    data = "\n".join(line for _, line in lines(file, findings))
    suffix = file.name.removesuffix(".gz").rsplit(".", 1)[-1]
    graph = rdflib.Graph()
    try:
        with _quiet("rdflib.term"):  # which prints every URI that it finds odd
            graph.parse(data=data, format=_SKOS[suffix])
    except Exception as error:  # every parser of rdflib has errors of its own
        raise DataError(
            f"does not parse as {_SKOS[suffix]} ({str(error).splitlines()[0][:120] if str(error) else error!r})",
            wanted="a SKOS vocabulary",
            next_step="check the file, or export the vocabulary as TSV: `<uri>`, tab, name",
            where=file,
        ) from error
    skos = rdflib.Namespace("http://www.w3.org/2004/02/skos/core#")
    names: dict[str, dict[str, str]] = {}
    for subject, label in graph.subject_objects(skos.prefLabel):
        if isinstance(subject, rdflib.URIRef):
            names.setdefault(str(subject), {})[getattr(label, "language", None) or ""] = str(label)
    languages = sorted({language for found in names.values() for language in found})
    chosen = "en" if "en" in languages or not languages else languages[0]
    if len(languages) > 1:
        message = f"label names are those of the language {chosen!r} where there are such, of {languages}"
        findings.note("taken-language", file, message, severity="info")
    for number, (uri, found) in enumerate(sorted(names.items()), 1):
        yield number, uri_of(uri), found.get(chosen, found[min(found)]), uri


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _rdflib(file: Path) -> Any:
    try:
        import rdflib
    except ImportError as error:
        raise DataError(
            f"{file.name} needs the package rdflib, which is not installed",
            wanted="rdflib, or the vocabulary as vocab.tsv: `<uri>`, tab, name",
            next_step="run pip install 'megalabel[annif]', or export the vocabulary as TSV with Annif",
            where=file,
        ) from error
    return rdflib

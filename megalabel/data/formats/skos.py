"""Vocabularies in SKOS, as Turtle, RDF/XML or N-Triples: names, notations, broader and narrower concepts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats.concepts import Concept
from megalabel.data.text_lines import lines
from megalabel.errors import DataError

SUFFIXES = {"ttl": "turtle", "rdf": "xml", "nt": "nt"}
_NAMESPACE = "http://www.w3.org/2004/02/skos/core#"
_ByLanguage = dict[str, dict[str, list[str]]]  # texts by concept and language


def read_skos(file: Path, findings: Findings) -> Iterator[Concept]:
    """Yields the concepts that have a `skos:prefLabel`, sorted by URI.

    Their name is the English one, else that of the first language. `skos:altLabel` and `skos:hiddenLabel` are
    alternative names.

    Raises:
        DataError: rdflib is not installed, or the file does not parse.
    """
    graph = _graph(file, findings)
    names = _literals(graph, "prefLabel")
    others = _literals(graph, "altLabel", "hiddenLabel")
    notations = _literals(graph, "notation")
    above = _broader(graph)
    languages = sorted({language for found in names.values() for language in found})
    chosen = "en" if "en" in languages or not languages else languages[0]
    if len(languages) > 1:
        message = f"label names are those of the language {chosen!r} where there are such, of {languages}"
        findings.note("taken-language", file, message, severity="info")
    for number, (uri, found) in enumerate(sorted(names.items()), 1):
        by_language = {language: texts[0] for language, texts in sorted(found.items())}
        name = by_language.get(chosen, by_language[min(found)])
        plain = " " not in uri and "<" not in uri and ">" not in uri
        own = notations.get(uri, {})
        yield Concept(
            number,
            uri if plain else None,
            name,
            uri,
            next((texts[0] for _, texts in sorted(own.items())), ""),
            by_language if set(by_language) != {""} else {},
            others.get(uri, {}),
            sorted(above.get(uri, ())),
        )


def _literals(graph: Any, *predicates: str) -> _ByLanguage:
    """The texts of some predicates by the URI of their subject and by language, sorted."""
    import rdflib

    found: _ByLanguage = {}
    for predicate in predicates:
        for subject, value in graph.subject_objects(rdflib.URIRef(_NAMESPACE + predicate)):
            if isinstance(subject, rdflib.URIRef):
                language = getattr(value, "language", None) or ""
                found.setdefault(str(subject), {}).setdefault(language, []).append(str(value))
    for by_language in found.values():
        for texts in by_language.values():
            texts.sort()
    return found


def _broader(graph: Any) -> dict[str, set[str]]:
    """The URIs of the broader concepts of each concept."""
    import rdflib

    found: dict[str, set[str]] = {}
    for child, parent in graph.subject_objects(rdflib.URIRef(f"{_NAMESPACE}broader")):
        found.setdefault(str(child), set()).add(str(parent))
    for parent, child in graph.subject_objects(rdflib.URIRef(f"{_NAMESPACE}narrower")):
        found.setdefault(str(child), set()).add(str(parent))
    return found


def _graph(file: Path, findings: Findings) -> Any:
    rdflib = _rdflib(file)
    data = "\n".join(line for _, line in lines(file, findings))
    kind = SUFFIXES[file.name.removesuffix(".gz").rsplit(".", 1)[-1]]
    graph = rdflib.Graph()
    try:
        with _quiet("rdflib.term"):  # which prints every URI that it finds odd
            graph.parse(data=data, format=kind)
    except Exception as error:  # every parser of rdflib has errors of its own
        raise DataError(
            f"does not parse as {kind} ({str(error).splitlines()[0][:120] if str(error) else error!r})",
            wanted="a SKOS vocabulary",
            next_step="check the file, or export the vocabulary as TSV: `<uri>`, tab, name",
            where=file,
        ) from error
    return graph


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

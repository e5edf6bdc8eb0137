"""`Concept`, one label of a vocabulary with all that the vocabulary says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_terms import Term, Terms, terms_of
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.texts import Texts

CYCLE = (
    "remove one of these relations, or put the relations to use into taxonomy.tsv beside the file "
    "(parent, tab, child; an empty file for none)"
)


class Concept(NamedTuple):
    """A label of a vocabulary.

    line: where it is in the file.
    uri, name: None where the line has none.
    shown: what messages show of the line.
    notation: "" for none.
    names: the name in each language.
    others: the alternative names in each language.
    broader: the URIs of broader concepts, also of some that are not in the vocabulary.
    """

    line: int
    uri: str | None
    name: str | None
    shown: str
    notation: str = ""
    names: Mapping[str, str] = {}
    others: Mapping[str, Sequence[str]] = {}
    broader: Sequence[str] = ()


class Collected:
    """Collects concepts, and makes their URIs, names and metadata."""

    def __init__(self) -> None:
        self.concepts: list[Concept] = []

    def add(self, concept: Concept) -> None:
        """Adds a concept that has a URI and a name."""
        self.concepts.append(concept)

    def names(self) -> Texts:
        """The names of the concepts."""
        return Texts.from_strings(concept.name or "" for concept in self.concepts)

    def metadata(self, where: object, *, relations: bool = True) -> LabelMetadata:
        """All that is known of the concepts, broader ones only if asked; DataError for a cycle of these."""
        uris = [concept.uri or "" for concept in self.concepts]
        at = {uri: i for i, uri in enumerate(uris)}
        terms: list[Term] = []
        pairs: list[tuple[int, int]] = []
        for i, concept in enumerate(self.concepts):
            terms += terms_of(i, concept.names, concept.others)
            pairs += [(at[uri], i) for uri in concept.broader if relations and uri in at]
        notations = [concept.notation for concept in self.concepts]
        parents, children = np.array(pairs, np.int64).reshape(-1, 2).T
        return LabelMetadata(
            len(uris),
            Texts.from_strings(uris),
            Texts.from_strings(notations) if any(notations) else None,
            Terms.of(terms) if terms else None,
            Taxonomy.of(parents, children, self.names(), str(where), CYCLE) if pairs else None,
        )

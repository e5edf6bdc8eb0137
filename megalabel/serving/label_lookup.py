"""Finds the ids of labels by their exact names, URIs and other names, without an object per label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.label_terms import URI


class LabelLookup:
    """The ids of L labels by name; 12 bytes per name, URI, notation and further name.

    Args:
        names: the names.
        metadata: what else is known of the labels: a text that is no name is looked up among their URIs, and then
            among notations, names in other languages and alternative names, which count if one label has them.
    """

    def __init__(self, names: Sequence[str], metadata: LabelMetadata | None = None) -> None:
        self._names, self._uris, self._others = _Index(names), [], []
        known = metadata or LabelMetadata(len(names))
        if known.uris is not None:
            self._uris.append(_Index(known.uris))
        if known.notations is not None:
            self._others.append(_Index(known.notations))
        if known.terms is not None:
            terms, uri = known.terms, known.terms.kinds == URI
            self._uris.append(_Index(terms.texts, terms.labels, uri))
            self._others.append(_Index(terms.texts, terms.labels, ~uri))

    def ids(self, name: str) -> list[int]:
        """The ids of all labels with a name, or of the one that it stands for; [] where no label has it."""
        found = self._names.labels(name)
        if found or not name:
            return found
        uri = name.removeprefix("<").removesuffix(">")
        for indexes, text in ((self._uris, uri), (self._others, name)):
            found = sorted({label for index in indexes for label in index.labels(text)}) if text else []
            if found:
                return found if len(found) == 1 else []
        return []

    def all_ids(self, names: Iterable[str]) -> tuple[list[int], list[str]]:
        """The ids of all labels that some names stand for, and the names that stand for no label."""
        found: list[int] = []
        unknown: list[str] = []
        for name in names:
            ids = self.ids(name)
            found += ids
            if not ids:
                unknown.append(name)
        return found, unknown


class _Index:
    """Texts by their hashes.

    Args:
        texts: the texts.
        labels: (n,) the label of each; None for their positions.
        among: (n,) bool, those that are found; None for all.
    """

    def __init__(
        self, texts: Sequence[str], labels: np.ndarray | None = None, among: np.ndarray | None = None
    ) -> None:
        self._texts, self._labels = texts, labels
        hashes = np.fromiter((hash(text) for text in texts), np.int64, len(texts))
        at = np.arange(len(texts)) if among is None else np.flatnonzero(among)
        order = at[np.argsort(hashes[at], kind="stable")]
        self._hashes, self._at = hashes[order], order.astype(np.int32)

    def labels(self, text: str) -> list[int]:
        """The labels with a text, ascending."""
        low, high = (int(np.searchsorted(self._hashes, hash(text), side)) for side in ("left", "right"))
        found = [i for i in self._at[low:high].tolist() if self._texts[i] == text]
        return found if self._labels is None else sorted({int(self._labels[i]) for i in found})

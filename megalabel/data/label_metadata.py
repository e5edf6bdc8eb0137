"""`LabelMetadata`: URIs, notations, further names and broader labels of the labels of a data set or a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megalabel.data.label_terms import ALTERNATIVE, PREFERRED, URI, NamesInLanguage, Term, Terms
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.texts import Texts

TAXONOMY, RECORDS = "taxonomy.tsv", "label_metadata.jsonl"  # files beside the data of any format
# URIs that `data convert --to annif` makes of label ids, which identify nothing.
MADE = re.compile(r"urn:label:\d+")
_BETWEEN = "merge the labels between them too, or leave them apart"


@dataclass(frozen=True, eq=False, repr=False)
class LabelMetadata:
    """What is known of L labels beside their names.

    Attributes:
        n_labels: L.
        uris: the L URIs, "" for none; None where no label has one.
        notations: the L notations, such as the class numbers of a classification; as `uris`.
        terms: names in languages, alternative names, and the URIs of labels that became one with another.
        taxonomy: which labels are broader than which; None where nothing is known of it.
    """

    n_labels: int
    uris: Texts | None = None
    notations: Texts | None = None
    terms: Terms | None = None
    taxonomy: Taxonomy | None = None

    def __len__(self) -> int:
        return self.n_labels

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.uris, self.notations, self.terms, self.taxonomy))

    def __repr__(self) -> str:
        there = [name for name in ("uris", "notations", "terms", "taxonomy") if getattr(self, name) is not None]
        return f"LabelMetadata({self.n_labels:,} labels: {', '.join(there) or 'nothing'})"

    def __getitem__(self, label: int) -> dict[str, Any]:
        """What is known of one label, as `metadata_of` takes it; the parents are ids."""
        found: dict[str, Any] = {}
        for key, texts in (("uri", self.uris), ("notation", self.notations)):
            if texts is not None and texts[label]:
                found[key] = texts[label]
        for language, kind, text in self.terms.of_label(label) if self.terms is not None else ():
            if kind == PREFERRED:
                found.setdefault("names", {}).setdefault(language, text)
            elif kind == ALTERNATIVE:
                found.setdefault("alternative_names", {}).setdefault(language, []).append(text)
            else:
                found.setdefault("other_uris", []).append(text)
        above = [] if self.taxonomy is None else self.taxonomy.parents_of(label).tolist()
        return {**found, "parents": above} if above else found

    @property
    def languages(self) -> list[str]:
        """The languages in which labels have names."""
        return [] if self.terms is None else self.terms.preferred_languages()

    def counts(self) -> dict[str, float]:
        """How many labels have URIs, notations and broader labels, and names in how many languages."""
        columns = {"labels with a URI": self.uris, "labels with a notation": self.notations}
        found: dict[str, float] = {
            key: int(np.count_nonzero(texts.lengths)) for key, texts in columns.items() if texts is not None
        }
        if self.languages:
            found["languages of label names"] = len(self.languages)
        if self.taxonomy is not None:
            found["labels with a broader label"] = int(np.count_nonzero(np.diff(self.taxonomy.starts)))
        return found

    def names_in(self, language: str, names: Sequence[str]) -> NamesInLanguage:
        """The names of the labels in a language, by default their own names; SettingError for an unknown one."""
        terms = self.terms or Terms.of(())
        return NamesInLanguage(names, terms.texts, terms.preferred(language, len(names)))

    def uri(self, label: int) -> str:
        """The URI of a label; "" for none."""
        return "" if self.uris is None else self.uris[label]

    def notation(self, label: int) -> str:
        """The notation of a label; "" for none."""
        return "" if self.notations is None else self.notations[label]

    def called(self, wanted: Iterable[str]) -> dict[str, list[int]]:
        """The labels with a URI or else with another name or a notation among some texts, by the text.

        URIs may stand in angle brackets. All labels are read once.
        """
        texts = set(wanted)
        found, terms = self.with_uris(texts), self.terms
        rest = texts - found.keys()
        more = _with_text(self.notations, np.arange(self.n_labels), rest)
        if terms is not None:
            for text, labels in _with_text(terms.texts, terms.labels, rest, terms.kinds != URI).items():
                more[text] = sorted({*more.get(text, ()), *labels})
        return found | more

    def with_uris(self, wanted: Iterable[str]) -> dict[str, list[int]]:
        """The labels with some URIs, also of labels that became one with another, by the URI as it is written."""
        plain = {text: text.removeprefix("<").removesuffix(">") for text in wanted}
        found = _with_text(self.uris, np.arange(self.n_labels), plain.values())
        if self.terms is not None:
            among = self.terms.kinds == URI
            found = _with_text(self.terms.texts, self.terms.labels, plain.values(), among) | found
        return {text: found[uri] for text, uri in plain.items() if uri in found}

    def relabeled(self, target: np.ndarray, old: Sequence[str], new: Sequence[str]) -> LabelMetadata:
        """That of labels that are removed, renamed or merged.

        A merged label has the URI, the notation and the names of the label whose name it has, or else of the first
        one. The URIs and the names of all of them still stand for it. The parents of a removed label become those
        of its children.

        Args:
            target: (L,) the new id of each label, −1 for one that is removed.
            old, new: the names before and after.

        Raises:
            DataError: labels became one that have a label between them in the taxonomy.
        """
        chosen = _representatives(target, old, new)
        keeps = np.zeros(len(target), np.bool_)
        keeps[chosen] = True
        terms = (self.terms or Terms.of(())).relabeled(target, keeps)
        terms = _renamed(terms, chosen, old, new)
        terms = terms.joined(Terms.of(self._of_merged(target, keeps, old, new, terms)))
        uris, notations = (None if texts is None else texts[chosen] for texts in (self.uris, self.notations))
        taxonomy = None if self.taxonomy is None else self.taxonomy.relabeled(target, new, _BETWEEN) or None
        return LabelMetadata(len(new), uris, notations, terms or None, taxonomy)

    def _of_merged(
        self, target: np.ndarray, keeps: np.ndarray, old: Sequence[str], new: Sequence[str], terms: Terms
    ) -> list[Term]:
        """The names of merged labels that do not stand for the new one yet, and what of the others it lacks."""
        several = np.bincount(target[target >= 0], minlength=len(new)) > 1
        found: list[Term] = []
        for label in np.flatnonzero((target >= 0) & several[target]).tolist():
            into = int(target[label])
            known = {new[into], *(text for _, _, text in terms.of_label(into))}
            found += [(into, "", ALTERNATIVE, old[label])] if old[label] not in known else []
            own = "" if keeps[label] else self.notation(label)
            found += [(into, "", ALTERNATIVE, own)] if own and own not in known else []
            found += [(into, "", URI, self.uri(label))] if self.uri(label) and not keeps[label] else []
        return found

    def placed(self, target: np.ndarray, names: Sequence[str]) -> LabelMetadata:
        """That of other labels, of which each is one of these or none.

        Args:
            target: (L,) which of the other labels each label is, −1 for none; no two are the same.
            names: the names of the other labels.
        """
        at, n = np.full(len(names), -1, np.int64), len(names)
        at[target[target >= 0]] = np.flatnonzero(target >= 0)

        def column(texts: Texts | None) -> Texts | None:
            return texts and Texts.from_strings("" if i < 0 else texts[i] for i in at.tolist())

        terms = self.terms and self.terms.relabeled(target, np.ones(len(target), np.bool_))
        taxonomy = None if self.taxonomy is None else self.taxonomy.relabeled(target, names) or None
        return LabelMetadata(n, column(self.uris), column(self.notations), terms or None, taxonomy)

    def for_matching(self) -> Texts | None:
        """The URIs by which labels of data sets are compared, "" where they identify nothing; None for none."""
        uris = ["" if MADE.fullmatch(uri) else uri for uri in self.uris or ()]
        return Texts.from_strings(uris) if any(uris) else None


def _with_text(
    texts: Texts | None, labels: np.ndarray, wanted: Iterable[str], among: np.ndarray | None = None
) -> dict[str, list[int]]:
    """For each wanted text that occurs, the labels that have it, each once; only those `among` (n,) bool count."""
    places = {} if texts is None else texts.positions(text for text in wanted if text)
    found = {text: np.unique(labels[at if among is None else at[among[at]]]) for text, at in places.items()}
    return {text: own.tolist() for text, own in found.items() if len(own)}


def _representatives(target: np.ndarray, old: Sequence[str], new: Sequence[str]) -> np.ndarray:
    """For each new label the old one whose URI it keeps: (n,)."""
    kept = np.flatnonzero(target >= 0)
    order = kept[np.argsort(target[kept], kind="stable")]
    sizes = np.bincount(target[kept], minlength=len(new))
    starts = np.cumsum(sizes) - sizes
    chosen = order[starts]
    for label in np.flatnonzero(sizes > 1).tolist():
        members = order[starts[label] : starts[label] + sizes[label]].tolist()
        chosen[label] = next((i for i in members if old[i] == new[label]), chosen[label])
    return np.asarray(chosen)


def _renamed(terms: Terms, chosen: np.ndarray, old: Sequence[str], new: Sequence[str]) -> Terms:
    """The terms without the former names of labels that are called otherwise now."""
    changed = {i: old[j] for i, j in enumerate(chosen.tolist()) if old[j] != new[i]}
    if not changed:
        return terms
    at = np.flatnonzero(np.isin(terms.labels, list(changed)) & (terms.kinds == PREFERRED))
    dropped = np.zeros(len(terms), np.bool_)
    dropped[[i for i in at.tolist() if terms.texts[i] == changed[int(terms.labels[i])]]] = True
    return terms.without(dropped)

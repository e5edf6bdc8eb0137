"""`Terms`, further names and URIs of labels: in other languages, alternative ones, those of merged labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from megalabel.data.texts import Texts
from megalabel.errors import SettingError

PREFERRED, ALTERNATIVE, URI = range(3)  # kinds: the name in a language, another name, the URI of a merged label
Term = tuple[int, str, int, str]  # label, language, kind, text


class Terms:
    """T further names of L labels, by ascending label.

    Args:
        labels: (T,) int32 ids, ascending.
        languages: (T,) int16, which of the tags each is in.
        kinds: (T,) int8: PREFERRED, ALTERNATIVE or URI.
        texts: the T names.
        tags: the tags of languages, such as "en" or "pt-BR"; "" for none.
    """

    def __init__(
        self, labels: np.ndarray, languages: np.ndarray, kinds: np.ndarray, texts: Texts, tags: tuple[str, ...]
    ) -> None:
        self.labels, self.languages, self.kinds, self.texts, self.tags = labels, languages, kinds, texts, tags
        self._preferred: dict[tuple[str, int], np.ndarray] = {}  # by language and L; see `preferred`

    @classmethod
    def of(cls, terms: Iterable[Term]) -> Terms:
        """The terms in any order; those of a label stay in theirs."""
        found = list(terms)
        tags = {tag: i for i, tag in enumerate(sorted({language for _, language, _, _ in found}))}
        labels = np.array([label for label, _, _, _ in found], np.int32)
        languages = np.array([tags[language] for _, language, _, _ in found], np.int16)
        kinds = np.array([kind for _, _, kind, _ in found], np.int8)
        texts = Texts.from_strings(text for _, _, _, text in found)
        return cls(labels, languages, kinds, texts, tuple(tags))._sorted()

    def __len__(self) -> int:
        return len(self.labels)

    def of_label(self, label: int) -> Iterator[tuple[str, int, str]]:
        """The language, the kind and the text of each term of a label."""
        for i in range(*np.searchsorted(self.labels, [label, label + 1]).tolist()):
            yield self.tags[int(self.languages[i])], int(self.kinds[i]), self.texts[i]

    def preferred_languages(self) -> list[str]:
        """The languages in which labels have a name."""
        used = np.bincount(self.languages[self.kinds == PREFERRED], minlength=len(self.tags))
        return [tag for tag, n in zip(self.tags, used.tolist(), strict=True) if n and tag]

    def preferred(self, language: str, n_labels: int) -> np.ndarray:
        """For each label the term that is its name in a language, −1 for none: (L,) int32.

        The language is found as it is or, such as "en", as the beginning of a tag ("en-GB").

        Raises:
            SettingError: no label has a name in it.
        """
        key = (language, n_labels)
        if key not in self._preferred:
            tags = [self.tags.index(tag) for tag in self._fitting(language)]
            chosen = np.flatnonzero((self.kinds == PREFERRED) & np.isin(self.languages, tags))[::-1]
            self._preferred[key] = np.full(n_labels, -1, np.int32)
            self._preferred[key][self.labels[chosen]] = chosen  # of several, the first
        return self._preferred[key]

    def _fitting(self, language: str) -> list[str]:
        """The tags of a language; SettingError for none."""
        known = self.preferred_languages()
        wanted = language.casefold() if isinstance(language, str) else ""
        fits = [tag for tag in known if tag.casefold() == wanted]
        fits = fits or [tag for tag in known if tag.casefold().startswith(f"{wanted}-")]
        if wanted and fits:
            return fits
        raise SettingError(
            f"the language {language!r:.40}, in which no label has a name",
            wanted=f"one of {', '.join(known)}" if known else "labels with names in several languages",
            next_step=None if known else "leave the language out",
            where="language",
        )

    def relabeled(self, target: np.ndarray, keeps: np.ndarray) -> Terms:
        """The terms of labels with other ids.

        Args:
            target: (L,) the new id of each label, −1 for one that is removed.
            keeps: (L,) bool, whether the names of a label remain preferred ones; else they become alternative.
        """
        new, there = target[self.labels], target[self.labels] >= 0
        kinds = np.where((self.kinds == PREFERRED) & ~keeps[self.labels], ALTERNATIVE, self.kinds)
        at = np.flatnonzero(there)
        labels, kinds = new[at].astype(np.int32), kinds[at].astype(np.int8)
        return Terms(labels, self.languages[at], kinds, self.texts[at], self.tags)._sorted()

    def joined(self, other: Terms) -> Terms:
        """These terms and others of the same labels."""
        if not len(other):
            return self._sorted()
        tags = tuple(sorted({*self.tags, *other.tags}))
        languages = [np.array([tags.index(tag) for tag in part.tags], np.int16)[part.languages] if len(part) else
                     part.languages for part in (self, other)]  # fmt: skip
        return Terms(
            np.concatenate([self.labels, other.labels]),
            np.concatenate(languages),
            np.concatenate([self.kinds, other.kinds]),
            Texts.from_strings(text for part in (self, other) for text in part.texts),
            tags,
        )._sorted()

    def without(self, dropped: np.ndarray) -> Terms:
        """The terms but for those at (T,) bool."""
        at = np.flatnonzero(~dropped)
        return Terms(self.labels[at], self.languages[at], self.kinds[at], self.texts[at], self.tags)

    def _sorted(self) -> Terms:
        order = np.argsort(self.labels, kind="stable")
        return Terms(self.labels[order], self.languages[order], self.kinds[order], self.texts[order], self.tags)


class NamesInLanguage(Sequence[str]):
    """The names of L labels in a language; a label that has none there keeps its name.

    Args:
        names: the L names.
        terms: their further names.
        at: (L,) int32, which term the name of each label is; −1 for the name itself.
    """

    def __init__(self, names: Sequence[str], terms: Texts, at: np.ndarray) -> None:
        self._names, self._terms, self._at = names, terms, at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        at = int(self._at[index])
        return self._names[index] if at < 0 else self._terms[at]


def terms_of(label: int, names: Mapping[str, str], others: Mapping[str, Sequence[str]]) -> list[Term]:
    """The terms of a label from its name by language and its alternative names by language."""
    found: list[Term] = [(label, language, PREFERRED, text) for language, text in names.items()]
    return found + [(label, language, ALTERNATIVE, text) for language, more in others.items() for text in more]

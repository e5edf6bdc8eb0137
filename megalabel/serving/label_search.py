"""Finds labels by the beginnings of the words of their names, as somebody types them.

The words of all names, folded to lower case without accents, lie in one block of bytes. The places where a word
begins are sorted by the text that follows, so that all places with a prefix are neighbors and a binary search
finds them. A search among a million names takes milliseconds; the index takes 8 bytes per word beside the words,
and 4 per label.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

BLOCK = 1 << 16  # names that are folded together
SORTED = 24  # bytes after the beginning of a word by which the places are sorted
_MARKS = re.compile("[\u0300-\u036f]+")
_BETWEEN = re.compile(r"[^\w\n]+|_+")
_ENDS = re.compile(r" *\n *")
SPACE, END = 32, 10


def fold(text: str) -> str:
    """Lower case without accents, with one blank between words; line ends stay, as ends of names."""
    text = text.casefold()
    if not text.isascii():
        text = _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return _ENDS.sub("\n", _BETWEEN.sub(" ", text))


class LabelSearch:
    """An index over the names of L labels.

    Args:
        names: the names.
        counts: (L,) how often each label occurs in the training texts, by which labels that fit equally well are
            ordered; None where it is not known.
    """

    def __init__(self, names: Sequence[str], counts: np.ndarray | None = None) -> None:
        self._bytes = _folded(names)
        text = np.frombuffer(self._bytes, np.uint8)
        word = text > SPACE
        begins = np.flatnonzero(word & ~np.concatenate([[False], word[:-1]])).astype(np.int32)
        order = _order(text, begins)
        labels = np.cumsum(text == END, dtype=np.int32)[begins][order]
        self._begins = begins = begins[order]
        frequency = np.zeros(len(names), np.int64) if counts is None else counts
        self._by_count = np.argsort(-frequency, kind="stable").astype(np.int32)
        place = np.empty(len(names), np.int32)
        place[self._by_count] = np.arange(len(names), dtype=np.int32)
        # Of the label of each beginning, its place by count; minus the number of labels at the start of a name, so
        # that these come first.
        self._keys = place[labels] - np.where(
            (begins == 0) | (text[begins - 1] == END), np.int32(len(names)), np.int32(0)
        )

    def search(self, query: str, limit: int) -> list[int]:
        """The ids of the labels that fit best, at most `limit`.

        First the label that is called so, then labels that begin with the query, labels in which it begins a word,
        and labels with words that begin with the words of the query, in any order. Among these, labels of more
        training texts come first, then those with lower ids.
        """
        words = fold(query.replace("\n", " ")).split()
        if not words:
            return [int(i) for i in self._by_count[:limit]]
        phrase = " ".join(words).encode("utf-8", "surrogatepass")
        whole = self._keys[self._places(phrase + b"\n")]
        found = self._best(whole[whole < 0], limit)
        found += self._best(self._keys[self._places(phrase)], limit)
        if len(set(found)) < limit and len(words) > 1:
            found += self._with_all(words, limit)
        return list(dict.fromkeys(found))[:limit]

    def _best(self, keys: np.ndarray, limit: int) -> list[int]:
        """The labels of the lowest keys, each once."""
        most = 4 * limit
        while True:
            some = np.partition(keys, most)[:most] if most < len(keys) else keys
            found = self._by_count[np.sort(some)]  # a negative key counts from the end, which is the same label
            labels = list(dict.fromkeys(found.tolist()))
            if len(labels) >= limit or len(some) == len(keys):
                return labels[:limit]
            most *= 4

    def _with_all(self, words: list[str], limit: int) -> list[int]:
        """The first labels in which every word of a query begins a word."""
        left = np.ones(len(self._by_count), np.bool_)
        for word in dict.fromkeys(words):
            has = np.zeros(len(left), np.bool_)
            has[self._keys[self._places(word.encode("utf-8", "surrogatepass"))]] = True
            left &= has
        return [int(i) for i in self._by_count[np.flatnonzero(left)[:limit]]]

    def _places(self, prefix: bytes) -> slice | np.ndarray:
        """The sorted places that are followed by a prefix."""
        low = self._bisect(prefix[:SORTED], after=False)
        high = self._bisect(prefix[:SORTED], after=True)
        if len(prefix) <= SORTED:
            return slice(low, high)
        size, data = len(prefix), self._bytes
        fits = [data[at : at + size] == prefix for at in self._begins[low:high].tolist()]
        return low + np.flatnonzero(fits)

    def _bisect(self, prefix: bytes, *, after: bool) -> int:
        low, high, size, data = 0, len(self._begins), len(prefix), self._bytes
        while low < high:
            middle = (low + high) // 2
            at = int(self._begins[middle])
            found = data[at : at + size]
            if found < prefix or (after and found == prefix):
                low = middle + 1
            else:
                high = middle
        return low


def _folded(names: Sequence[str]) -> bytes:
    """The folded names, each followed by a line end."""
    parts = []
    for start in range(0, len(names), BLOCK):
        lines = "\n".join(name.replace("\n", " ") for name in names[start : start + BLOCK])
        parts.append(fold(f"\n{lines}\n")[1:].encode("utf-8", "surrogatepass"))
    return b"".join(parts)


def _order(text: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The order of places by the bytes that follow them."""
    padded = np.concatenate([text, np.full(SORTED, END, np.uint8)])
    order = np.arange(len(begins))
    tied = np.ones(len(begins), np.bool_)  # whether the place still ties with a neighbor in the order
    above = np.zeros(len(begins), np.int64)  # the number of the group of each place among those tied so far
    for part in range(0, SORTED, 8):
        at = np.flatnonzero(tied)
        key = np.zeros(len(at), np.uint64)
        for i in range(part, part + 8):
            key = (key << np.uint64(8)) | padded[begins[order[at]] + i]
        inner = np.lexsort([key, above[at]]) if part else np.argsort(key)
        order[at] = order[at][inner]
        key, group = key[inner], above[at]
        new = np.concatenate([[True], (key[1:] != key[:-1]) | (group[1:] != group[:-1])])
        above[at] = np.cumsum(new)
        tied[at] = ~(new & np.concatenate([new[1:], [True]]))
    return order

"""Words, pairs of words and pieces of words: what stands in how many texts, and which are worth keeping."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from megalabel.errors import DataError, SettingError
from megalabel.inputs.words import END, Kind, words_of

MOST = 1 << 24  # features: the number of a pair, times the texts of a block, has to fit 64 bits
_PENDING = 1 << 22  # pairs that are counted before they join the others


class Learnt(NamedTuple):
    """Words, pairs (first · W + second, rising) and pieces, and in how many of `n_texts` texts each stands."""

    words: list[str]
    pairs: np.ndarray
    pieces: list[str]
    holding: np.ndarray
    n_texts: int


def learn_ngrams(
    blocks: Iterable[list[str]],
    kind: Kind,
    vocabulary: int,
    min_texts: int,
    pairs: bool,
    lengths: tuple[int, int] | None,
) -> Learnt:
    """The `vocabulary` features that stand in most texts, and in `min_texts` at least.

    Ties go to words before pairs before pieces; among words and pieces to the spelling, among pairs to the words.
    At most a few thousand texts a block. Errors as `SparseText.learn` has them.
    """
    _check_settings(vocabulary, min_texts, lengths)
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    piece_numbers: defaultdict[str, int] = defaultdict(count().__next__)
    end, n_texts = numbers[END], 0
    read: list[np.ndarray] = []
    word_texts, piece_texts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for block in blocks:
        words = words_of(block, kind)
        ids = np.fromiter(map(numbers.__getitem__, words), dtype=np.int32, count=len(words))
        rows, n_texts = np.cumsum(ids == end), n_texts + len(block)
        read.append(ids)
        word_texts = _sum(word_texts, _holding(rows, ids, len(numbers)))
        if lengths is not None:
            word_of, places = pieces_of(words, lengths, piece_numbers.__getitem__)
            piece_texts = _sum(piece_texts, _holding(rows[word_of], places, len(piece_numbers)))
    word_texts[end : end + 1] = 0
    words, word_texts, rank = _most_frequent(list(numbers), word_texts, min_texts, vocabulary)
    pieces, piece_texts, _ = _most_frequent(list(piece_numbers), piece_texts, min_texts, vocabulary)
    rank[end] = -2
    codes, pair_texts = _count_pairs(read, rank, end, len(words)) if pairs else (_NONE, _NONE)
    often = pair_texts >= min_texts
    codes, pair_texts = codes[often], pair_texts[often]

    holding = np.concatenate([word_texts, pair_texts, piece_texts])
    if len(holding) == 0:
        raise DataError(
            f"no word that stands in {min_texts} of {n_texts:,} texts",
            wanted="texts with words in common",
            next_step="check that the training texts are not empty, or lower min_texts",
        )
    kept = np.zeros(len(holding), dtype=np.bool_)
    kept[np.argsort(-holding, kind="stable")[:vocabulary]] = True
    keep_word, keep_pair, keep_piece = np.split(kept, np.cumsum([len(words), len(codes)]))
    # A pair stands in no more texts than its words: where it is kept, so are they, and they are the first.
    n_words = int(keep_word.sum())
    first, second = np.divmod(codes[keep_pair], max(len(words), 1))
    pieces = [piece for piece, keep in zip(pieces, keep_piece, strict=True) if keep]
    return Learnt(words[:n_words], first * n_words + second, pieces, holding[kept], n_texts)


def pairs_of(ids: np.ndarray, n_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Where two known words (0 or more) follow each other, and first · n_words + second."""
    at = np.flatnonzero((ids[:-1] >= 0) & (ids[1:] >= 0))
    return at, ids[at].astype(np.int64) * n_words + ids[at + 1]


def pieces_of(
    words: Sequence[str], lengths: tuple[int, int], number: Callable[[str], int | None]
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the pieces of all words, and which word each belongs to; None for a piece leaves it out."""
    different = dict.fromkeys(words)
    different.pop(END, None)
    of_word: dict[str, list[int]] = {END: []}
    for word in different:
        closed = f" {word} "
        pieces = (
            closed[at : at + length]
            for length in range(lengths[0], lengths[1] + 1)
            for at in range(len(closed) - length + 1)
        )
        of_word[word] = [place for place in map(number, pieces) if place is not None]
    lists = [of_word[word] for word in words]
    sizes = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    places = np.fromiter((place for some in lists for place in some), dtype=np.int64, count=int(sizes.sum()))
    return np.repeat(np.arange(len(lists)), sizes), places


_NONE = np.zeros(0, dtype=np.int64)


def _most_frequent(
    names: list[str], holding: np.ndarray, min_texts: int, most: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names by falling frequency, then by spelling; their numbers of texts; and the new number of each, or -1."""
    often = np.flatnonzero(holding >= min_texts).tolist()
    texts = holding.tolist()
    order = np.array(sorted(often, key=lambda i: (-texts[i], names[i]))[:most], dtype=np.int64)
    rank = np.full(len(names), -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    return [names[i] for i in order], holding[order], rank


def _count_pairs(
    read: list[np.ndarray], rank: np.ndarray, end: int, n_words: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of words, rising, and in how many texts it stands."""
    codes, texts = _NONE, _NONE
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    for number, ids in enumerate(read):
        rows = np.cumsum(ids == end)
        at, pairs = pairs_of(rank[ids], n_words)
        n = int(rows[-1]) + 1
        once = _unique(pairs * n + rows[at])[0] // n  # each pair once a text
        pending.append(_unique(once))
        if number + 1 == len(read) or sum(len(some) for some, _ in pending) > max(_PENDING, len(codes)):
            parts = [(codes, texts), *pending]
            codes, texts = _unique(
                np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
            )
            pending = []
    return codes, texts


def _unique(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Different values, rising, and how often each stands or the sum of its weights."""
    if weights is None:
        values = np.sort(values)
    else:
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    sums = np.diff(np.append(starts, len(values))) if weights is None else np.add.reduceat(weights, starts)
    return values[starts], sums


def _holding(rows: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    """(n,) in how many different rows each id stands."""
    return np.bincount(_unique(rows * n + ids)[0] % max(n, 1), minlength=n)


def _sum(total: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Of two vectors, the second no shorter: numbers are given out as they come."""
    more[: len(total)] += total
    return more


def _check_settings(vocabulary: int, min_texts: int, lengths: tuple[int, int] | None) -> None:
    if not 1 <= vocabulary <= MOST:
        raise SettingError(
            f"vocabulary={vocabulary}", wanted=f"1 to {MOST}", next_step="ask for 500000", where="vocabulary"
        )
    if min_texts < 1:
        raise SettingError(
            f"min_texts={min_texts}", wanted="1 or more", next_step="leave it at 1", where="min_texts"
        )
    if lengths is not None and not (len(lengths) == 2 and 1 <= lengths[0] <= lengths[1]):
        raise SettingError(
            f"pieces={lengths}",
            wanted="the fewest and the most letters, 1 or more",
            next_step="leave them out, or ask for (3, 5)",
            where="pieces",
        )

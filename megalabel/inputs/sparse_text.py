"""The sparse view of texts: TF-IDF of words, word pairs and, if wanted, pieces of words, over a learnt vocabulary.

    x[n, f] = (1 + ln tf[n, f]) · idf[f],   idf[f] = ln((1 + N) / (1 + n_f)) + 1,   rows of length 1

as in `inputs/tfidf.py`. A pair is two words that follow each other in one text, a piece some letters that follow
each other in one word (its ends count as letters). The vocabulary is the features that stand in most of the N
texts that it is learnt from. One regular expression, a dict and numpy go over thousands of texts at once: a
fraction of the time of a vectoriser that goes text by text, and nothing that would need pickle (measured in
`docs/log.md`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, FormatError, MegalabelError
from megalabel.inputs.ngrams import learn_ngrams, pairs_of, pieces_of
from megalabel.inputs.tfidf import weigh
from megalabel.inputs.words import END, Kind, words_of
from megalabel.storage.files import read_json, write_json
from megalabel.storage.manifest import NAME, read_manifest, write_manifest

FORMAT = 1
BLOCK = 4096  # texts at a time


class SparseText:
    """A vocabulary of V features in the order words, pairs, pieces, and what each of them weighs.

    kind: how texts are split, see `words_of`.
    words: W words, those of most texts first.
    pairs: int64, rising: first · W + second of each word pair.
    pieces: letters of words, a blank at either end of a word; lengths: their fewest and most letters, or None.
    idf: (V,) float32.

    Raises:
        FormatError: parts that do not fit each other.
    """

    def __init__(
        self,
        kind: Kind,
        words: Sequence[str],
        pairs: np.ndarray,
        pieces: Sequence[str],
        lengths: tuple[int, int] | None,
        idf: np.ndarray,
    ) -> None:
        _check_parts(words, pairs, pieces, idf)
        self.kind, self.words, self.pairs, self.pieces = kind, list(words), pairs, list(pieces)
        self.lengths, self.idf = lengths, idf
        self._places = {word: place for place, word in enumerate(self.words)} | {END: -2}
        self._piece_places = {piece: place for place, piece in enumerate(self.pieces)}

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        vocabulary: int = 500_000,
        min_texts: int = 1,
        kind: Kind = "letters",
        pairs: bool = True,
        pieces: tuple[int, int] | None = None,
    ) -> SparseText:
        """The vocabulary of these texts.

        Args:
            texts: those to train on, read once.
            vocabulary: how many features are kept at most: those of most texts; ties go to words before pairs
                before pieces, then to words by spelling, pairs and pieces by their words.
            min_texts: in how many texts a feature must stand at least.
            kind: how texts are split into words, see `words_of`; "signs" or "symbols" where formulas count.
            pairs: whether pairs of words are features.
            pieces: the fewest and most letters of pieces of words, such as (3, 5); by default there are none.

        Raises:
            DataError: not one feature is left; a text that is no string.
            SettingError: a number below 1, an unknown kind.
        """
        found = learn_ngrams(_blocks(texts), kind, vocabulary, min_texts, pairs, pieces)
        idf = np.log((1 + found.n_texts) / (1 + found.holding)) + 1
        return cls(kind, found.words, found.pairs, found.pieces, pieces, idf.astype(np.float32))

    @property
    def size(self) -> int:
        """V."""
        return len(self.idf)

    @property
    def n_whole(self) -> int:
        """How many of the features, the first ones, are words and pairs of words."""
        return self.size - len(self.pieces)

    def transform(self, texts: Iterable[str]) -> sp.csr_matrix:
        """(N, V) float32 CSR of rows of length 1, columns rising; a text without known features is a row of zeros.

        DataError for a text that is no string.
        """
        blocks = [self._counts(block) for block in _blocks(texts)]
        if len(blocks) == 1:
            return weigh(blocks[0], self.idf)
        counts = sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((0, self.size), dtype=np.float32)
        return weigh(counts, self.idf)

    def names(self, columns: Iterable[int]) -> list[str]:
        """What some features are called: a word, two words, or a piece with dots where it goes on."""
        n_words, n_pairs = len(self.words), len(self.pairs)
        names = []
        for column in columns:
            if column < n_words:
                names.append(self.words[column])
            elif column < n_words + n_pairs:
                first, second = divmod(int(self.pairs[column - n_words]), n_words)
                names.append(f"{self.words[first]} {self.words[second]}")
            else:
                piece = self.pieces[column - n_words - n_pairs]
                before, after = "" if piece[0] == " " else "…", "" if piece[-1] == " " else "…"
                names.append(f"{before}{piece.strip()}{after}")
        return names

    def save(self, folder: str | Path) -> None:
        """Writes words, pairs, pieces and weights into a folder of their own, with a manifest."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).unlink(missing_ok=True)  # it would be among the files that the new one vouches for
        write_json(folder / "words.json", {"words": self.words, "pieces": self.pieces})
        np.save(folder / "pairs.npy", self.pairs)
        np.save(folder / "idf.npy", self.idf)
        facts: dict[str, Any] = {
            "what": "TF-IDF over words, then pairs (first word · words + second word), then pieces of words",
            "kind": self.kind,
            "piece_lengths": self.lengths,
            "features": [len(self.words), len(self.pairs), len(self.pieces)],
        }
        write_manifest(folder, FORMAT, facts)

    @classmethod
    def load(cls, folder: str | Path) -> SparseText:
        """What `save` wrote; FormatError if the folder is damaged, incomplete or something else."""
        folder = Path(folder)
        manifest = read_manifest(
            folder,
            "sparse view of texts",
            FORMAT,
            facts=("kind", "piece_lengths", "features"),
            files=("words.json", "pairs.npy", "idf.npy"),
            next_step=RESTORE_FOLDER,
        )
        listed = read_json(folder / "words.json", next_step=RESTORE_FOLDER)
        try:
            lengths = manifest["piece_lengths"]
            pairs, idf = (np.load(folder / name, allow_pickle=False) for name in ("pairs.npy", "idf.npy"))
            view = cls(manifest["kind"], listed["words"], pairs, listed["pieces"], lengths and tuple(lengths), idf)
            view.transform(["one text"])
        except (MegalabelError, OSError, KeyError, TypeError, ValueError) as error:
            found = error.found if isinstance(error, MegalabelError) else repr(error)
            raise FormatError(
                f"the vocabulary is damaged ({found})",
                wanted="words, pairs, pieces and a weight for each",
                next_step=RESTORE_FOLDER,
                where=folder,
            ) from error
        return view

    def _counts(self, texts: list[str]) -> sp.csr_matrix:
        """How often each feature stands in each text: (n, V) float32 CSR."""
        words = words_of(texts, self.kind)
        ids = np.fromiter(map(self._places.get, words, repeat(-1)), dtype=np.int64, count=len(words))
        rows = np.cumsum(ids == -2)
        known = ids >= 0
        parts = [(rows[known], ids[known])]
        if len(self.pairs):
            at, codes = pairs_of(ids, len(self.words))
            order = np.argsort(codes)  # a search that goes through memory once takes a third of the time
            at, codes = at[order], codes[order]
            places = np.minimum(np.searchsorted(self.pairs, codes), len(self.pairs) - 1)
            hit = self.pairs[places] == codes
            parts.append((rows[at[hit]], places[hit] + len(self.words)))
        if self.lengths is not None and self.pieces:
            word_of, places = pieces_of(words, self.lengths, self._piece_places.get)
            parts.append((rows[word_of], places + len(self.words) + len(self.pairs)))
        where = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        counts = sp.csr_matrix((np.ones(len(where[0]), dtype=np.float32), where), shape=(len(texts), self.size))
        counts.sum_duplicates()
        return counts


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter([texts] if isinstance(texts, str) else texts)
    while block := list(islice(rest, BLOCK)):
        yield block


def _check_parts(words: Sequence[str], pairs: np.ndarray, pieces: Sequence[str], idf: np.ndarray) -> None:
    n = len(words)
    fine = all(isinstance(name, str) and name for name in (*words, *pieces))
    fine = fine and len(set(words)) == n and len(set(pieces)) == len(pieces)
    fine = fine and pairs.dtype == np.int64 and pairs.ndim == 1 and bool((np.diff(pairs) > 0).all())
    fine = fine and (len(pairs) == 0 or (0 <= pairs[0] and pairs[-1] < n * n))
    fine = fine and idf.dtype == np.float32 and idf.shape == (n + len(pairs) + len(pieces),)
    if not (fine and np.isfinite(idf).all() and (idf > 0).all()):
        raise FormatError(
            f"{n} words, {len(pairs)} pairs and {len(pieces)} pieces that do not fit their {idf.shape} weights",
            wanted="different words and pieces, rising pairs of them, and a positive weight for each",
            next_step=RESTORE_FOLDER,
        )

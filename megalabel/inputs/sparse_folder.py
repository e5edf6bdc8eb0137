"""The parts of a vocabulary of sparse features, their checks and their folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from megalabel.errors import RESTORE_FOLDER, FormatError
from megalabel.inputs.words import TokenPattern
from megalabel.storage.files import read_json, write_json
from megalabel.storage.manifest import NAME, read_manifest, write_manifest
from megalabel.storage.reading import reading

FORMAT = 1
MAX_CHAR_NGRAM = 1000  # characters of an n-gram in a folder that is read


class Parts(NamedTuple):
    """The arguments of `SparseText`."""

    pattern: TokenPattern
    words: Sequence[str]
    bigrams: np.ndarray
    char_ngrams: Sequence[str]
    lengths: tuple[int, int] | None
    idf: np.ndarray


def check_parts(parts: Parts) -> None:
    """Raises FormatError for words, bigrams, character n-grams and weights that do not fit each other."""
    _, words, bigrams, char_ngrams, _, idf = parts
    n, total = len(words), len(words) + len(bigrams) + len(char_ngrams)
    fine = all(isinstance(name, str) and name for name in (*words, *char_ngrams))
    fine = fine and len(set(words)) == n and len(set(char_ngrams)) == len(char_ngrams)
    fine = fine and bigrams.dtype == np.int64 and bigrams.ndim == 1 and bool((np.diff(bigrams) > 0).all())
    fine = fine and (len(bigrams) == 0 or (0 <= bigrams[0] and bigrams[-1] < n * n))
    fine = fine and idf.dtype == np.float32 and idf.shape == (total,)
    if not (fine and np.isfinite(idf).all() and (idf > 0).all()):
        raise FormatError(
            f"{n} words, {len(bigrams)} bigrams, {len(char_ngrams)} character n-grams, weights {idf.shape}",
            wanted="different words and character n-grams, ascending bigrams, and a positive weight for each",
            next_step=RESTORE_FOLDER,
        )


def write_parts(folder: Path, parts: Parts) -> None:
    """Writes the parts into a folder of their own, with a manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).unlink(missing_ok=True)  # so that the new manifest does not list the old one
    write_json(folder / "words.json", {"words": parts.words, "pieces": parts.char_ngrams})
    np.save(folder / "pairs.npy", parts.bigrams)
    np.save(folder / "idf.npy", parts.idf)
    facts: dict[str, Any] = {
        "what": "TF-IDF of words, then bigrams (first word · words + second word), then character n-grams",
        "kind": parts.pattern,
        "piece_lengths": parts.lengths,
        "features": [len(parts.words), len(parts.bigrams), len(parts.char_ngrams)],
    }
    write_manifest(folder, FORMAT, facts)


def read_parts(folder: Path) -> Parts:
    """Reads what `write_parts` wrote; FormatError if the folder is damaged, incomplete or something else."""
    manifest = read_manifest(
        folder,
        "vocabulary of sparse features",
        FORMAT,
        facts=("kind", "piece_lengths", "features"),
        files=("words.json", "pairs.npy", "idf.npy"),
        next_step=RESTORE_FOLDER,
    )
    listed = read_json(folder / "words.json", next_step=RESTORE_FOLDER)
    wanted = "words, bigrams, character n-grams and a weight for each"
    with reading(folder, wanted=wanted, next_step=RESTORE_FOLDER, what="the vocabulary is damaged"):
        lengths = _checked_lengths(manifest["piece_lengths"])
        bigrams, idf = (np.load(folder / name, allow_pickle=False) for name in ("pairs.npy", "idf.npy"))
        return Parts(manifest["kind"], listed["words"], bigrams, listed["pieces"], lengths, idf)


def _checked_lengths(lengths: Any) -> tuple[int, int] | None:
    """The least and the largest length of character n-grams; ValueError for others than can be learned."""
    if lengths is None:
        return None
    least, largest = lengths
    if type(least) is not int or type(largest) is not int or not 1 <= least <= largest <= MAX_CHAR_NGRAM:
        raise ValueError(f"character n-grams of {least!r:.40} to {largest!r:.40} characters")
    return least, largest

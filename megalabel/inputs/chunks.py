"""Cuts long texts into chunks of equally many words or tokens, evenly spaced from beginning to end.

A text of n units becomes ⌈(n − overlap) / (size − overlap)⌉ chunks of `size` units each, of which the first begins
with the text and the last ends with it. So no chunk is shorter than the others, and neighbors overlap by `overlap`
units or somewhat more. A text that would have more than `max_chunks` chunks becomes this number of chunks, with
gaps between them.

A word is a run of characters between blanks, of at most 32 characters, so that scripts without blanks are cut too;
an ideograph is a word by itself. Chunks of tokens do not cut words of at most 32 characters, so that their numbers
of tokens can differ by those of a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from megalabel.errors import SettingError
from megalabel.inputs.tokenizer import LONGEST_WORD as LONGEST_WORD
from megalabel.inputs.tokenizer import TextTokenizer

Unit = Literal["words", "tokens"]
Starts = Callable[[Sequence[str]], list[np.ndarray]]  # where the units of texts begin, (n,) int64 per text

SPAN: dict[Unit, int] = {"words": LONGEST_WORD + 1, "tokens": 16}  # characters read for a unit of a very long text
_BLANK, _IDEOGRAPH = 1, 2
_TABLE = 0x3001  # code points from which on no character is blank


class Chunks(NamedTuple):
    """The chunks of N texts.

    texts: C chunks; a text that is not cut is a chunk as it is.
    offsets: (N + 1,) int64; the chunks of text n are offsets[n] … offsets[n + 1] − 1.
    n_sampled: the number of texts with more than `max_chunks` chunks, of which parts are left out.
    """

    texts: list[str]
    offsets: np.ndarray
    n_sampled: int

    def of_texts(self, first: int, last: int) -> Chunks:
        """The chunks of the texts from `first` to below `last`."""
        offsets = self.offsets[first : last + 1]
        return Chunks(self.texts[offsets[0] : offsets[-1]], offsets - offsets[0], self.n_sampled)


@dataclass(frozen=True)
class Chunking:
    """How texts are cut.

    Attributes:
        size: the number of units of a chunk.
        unit: "words", or "tokens" of a tokenizer.
        overlap: the least number of units that neighboring chunks share; below `size`.
        max_chunks: the most chunks of a text; 0 for any number.

    Raises:
        SettingError: a value out of range.
    """

    size: int
    unit: Unit = "words"
    overlap: int = 0
    max_chunks: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (("size", 1, 10**9), ("overlap", 0, self.size - 1), ("max_chunks", 0, 10**9)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise SettingError.range(name, value, least, most, integer=True)
        if self.unit not in get_args(Unit):
            raise SettingError.choice("unit", self.unit, get_args(Unit))

    def __str__(self) -> str:
        overlap = f" that overlap by {self.overlap}" if self.overlap else ""
        most = f", at most {self.max_chunks}" if self.max_chunks else ""
        return f"chunks of {self.size} {self.unit}{overlap}{most}"

    def config(self) -> dict[str, Any]:
        """The values, as JSON."""
        return asdict(self)

    @property
    def scanned(self) -> int | None:
        """The number of characters up to which a text is read completely; None for any number."""
        return self.max_chunks * self.size * SPAN[self.unit] if self.max_chunks else None

    def cut(self, texts: Sequence[str], tokenizer: TextTokenizer | None = None) -> Chunks:
        """Cuts texts; the time per text is bounded if `max_chunks` is.

        Of a text with more characters than `max_chunks` chunks of long words have, only evenly spaced parts are
        looked at.

        Args:
            texts: N texts.
            tokenizer: for chunks of tokens.

        Raises:
            SettingError: chunks of tokens without a tokenizer.
        """
        starts = self._starts(tokenizer)
        found: list[str] = []
        counts = np.zeros(len(texts), np.int64)
        n_sampled = 0
        limit = self.scanned
        whole = [i for i, text in enumerate(texts) if limit is None or len(text) <= limit]
        begins = dict(zip(whole, starts([texts[i] for i in whole]), strict=True))
        for i, text in enumerate(texts):
            if i in begins:
                chunks, sampled = self._chunks(text, begins.pop(i))
            else:
                chunks, sampled = self._parts(text, starts), True
            found += chunks
            counts[i], n_sampled = len(chunks), n_sampled + sampled
        return Chunks(found, np.concatenate([[0], np.cumsum(counts)]), n_sampled)

    def _chunks(self, text: str, begins: np.ndarray) -> tuple[list[str], bool]:
        """The chunks of a text whose units begin there, and whether units between them are left out."""
        n = len(begins)
        if n <= self.size:
            return [text], False
        needed = -(-(n - self.overlap) // (self.size - self.overlap))
        count = min(needed, self.max_chunks or needed)
        first = np.linspace(0, n - self.size, count).round().astype(np.int64) if count > 1 else np.zeros(1, int)
        ends = np.append(begins, len(text))
        bounds = zip(ends[first].tolist(), ends[first + self.size].tolist(), strict=True)
        # A chunk that begins and ends in the same word would be empty.
        return [text[a:b] for a, b in bounds if a < b], count < needed

    def _parts(self, text: str, starts: Starts) -> list[str]:
        """Evenly spaced chunks of a very long text, which is read only as far as these chunks may need it."""
        width = self.size * SPAN[self.unit]
        places = np.linspace(0, len(text) - width, self.max_chunks).round().astype(np.int64).tolist()
        parts = [text[place : place + width] for place in (places if self.max_chunks > 1 else [0])]
        chunks = []
        for i, (part, begins) in enumerate(zip(parts, starts(parts), strict=True)):
            more = max(len(begins) - self.size, 0)
            skipped = max(
                round(more * i / max(self.max_chunks - 1, 1)), min(i, more, 1)
            )  # the first word may be cut
            ends = np.append(begins, len(part))[skipped : skipped + self.size + 1]
            chunks.append(part[ends[0] : ends[-1]])
        return chunks

    def _starts(self, tokenizer: TextTokenizer | None) -> Starts:
        if self.unit == "words":
            return lambda texts: [word_starts(text) for text in texts]
        if tokenizer is None:
            raise SettingError(
                "chunks of tokens for a model without a tokenizer",
                wanted="chunks of words",
                next_step="give their size in words",
                where="chunk_tokens",
            )
        return tokenizer.starts


def word_starts(text: str) -> np.ndarray:
    """The positions at which the words of a text begin: (n,) int64, ascending."""
    if text.isascii():
        kinds = _kinds()[np.frombuffer(text.encode("ascii"), np.uint8)]
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        kinds = _kinds()[np.minimum(codes, _TABLE)]
        for low, high in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)):
            kinds[(codes >= low) & (codes <= high)] = _IDEOGRAPH
    before = np.concatenate([[_BLANK], kinds[:-1]]) if len(kinds) else kinds
    inside = kinds != _BLANK
    begins = inside & ((before == _BLANK) | (kinds == _IDEOGRAPH) | (before == _IDEOGRAPH))
    found = np.flatnonzero(begins)
    if len(found) and int(np.diff(found, append=len(kinds)).max()) > LONGEST_WORD:
        since = np.arange(len(kinds)) - np.maximum.accumulate(np.where(begins, np.arange(len(kinds)), 0))
        found = np.flatnonzero(inside & (begins | (since % LONGEST_WORD == 0)))
    return found


_KINDS: list[np.ndarray] = []


def _kinds() -> np.ndarray:
    """The kind of each character up to `_TABLE`: blank, or 0; ideographs lie beyond."""
    if not _KINDS:
        _KINDS.append(np.array([_BLANK * chr(code).isspace() for code in range(_TABLE + 1)], np.uint8))
    return _KINDS[0]

"""How many tokens texts have, which of them a tokenizer does not know, and how many to read."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megalabel.data.texts import Texts
from megalabel.inputs.coverage import script_of
from megalabel.inputs.tokenizer import TextTokenizer

SAMPLE = 2_000  # texts that are looked at, evenly spaced
LONGEST = 1_000_000  # characters read of each of them
MAY_LOSE = 0.01  # fraction of all tokens that a fitting length may leave unread
STEP = 64  # a fitting length is a multiple of it
NOTABLE = 0.01  # fractions from which on they are reported


@dataclass(frozen=True)
class TokenCounts:
    """What a tokenizer makes of a sample of texts.

    lengths: (n,) int64, the number of tokens of each text, special tokens included.
    unknown: the number of unknown tokens by script, such as "THAI".
    """

    lengths: np.ndarray
    unknown: Counter[str]

    @classmethod
    def of(cls, tokenizer: TextTokenizer, texts: Texts | Sequence[str]) -> TokenCounts:
        """Tokenizes evenly spaced texts without cutting them; the result for the latest texts is kept.

        A recipe chooses the length by it, and the note for the user is made from it afterwards.
        """
        latest = _COUNTED.get(tokenizer)
        if latest is not None and latest[0]() is texts:
            return latest[1]
        counts = cls._counted(tokenizer, texts)
        if isinstance(texts, Texts):  # which never change, as lists may
            _COUNTED[tokenizer] = (weakref.ref(texts), counts)
        return counts

    @classmethod
    def _counted(cls, tokenizer: TextTokenizer, texts: Texts | Sequence[str]) -> TokenCounts:
        step = max(1, -(-len(texts) // SAMPLE))
        sample = [texts[i][:LONGEST] for i in range(0, len(texts), step)]
        unknown: Counter[str] = Counter()
        lengths = []
        for text, tokens in zip(sample, tokenizer.encode(sample, LONGEST), strict=True):
            lengths.append(len(tokens))
            if tokenizer.unknown_id is not None and tokenizer.unknown_id in tokens:
                unknown.update(script_of(part) for part in tokenizer.unknown_parts(text))
        return cls(np.array(lengths, dtype=np.int64), unknown)

    def fitting(self, most: int) -> int:
        """The least multiple of 64 tokens that reads 99% of all tokens, but at most `most`."""
        total = int(self.lengths.sum())
        for length in range(STEP, most, STEP):
            if total - int(np.minimum(self.lengths, length).sum()) <= MAY_LOSE * total:
                return length
        return most

    def notes(self, max_length: int) -> list[str]:
        """Sentences on unknown tokens and on texts that are cut, where they are at least 1%."""
        total, found = max(int(self.lengths.sum()), 1), []
        unknown = self.unknown.total()
        if unknown >= NOTABLE * total:
            scripts = ", ".join(
                f"{n / unknown:.0%} of them {name.title()}" for name, n in self.unknown.most_common(2)
            )
            found.append(f"tokens: {unknown / total:.0%} are unknown to the tokenizer ({scripts})")
        cut = float((self.lengths > max_length).mean()) if len(self.lengths) else 0.0
        lost = 1 - int(np.minimum(self.lengths, max_length).sum()) / total
        if cut >= NOTABLE:
            found.append(
                f"max_length: {cut:.0%} of the texts have more than {max_length:,} tokens; "
                f"{lost:.0%} of all tokens are not read"
            )
        return found


# For each tokenizer the latest texts and their counts; neither is kept alive by it.
_COUNTED: weakref.WeakKeyDictionary[TextTokenizer, tuple[weakref.ref[Texts], TokenCounts]] = (
    weakref.WeakKeyDictionary()
)

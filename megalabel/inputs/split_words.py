"""Whole words for a WordPiece vocabulary that splits many words of the texts, as English pieces do with German.

A bag can hardly tell apart words that share their pieces. `with_split_words` adds frequent words as tokens
where the texts are of another language in Latin script than the vocabulary, or full of rare names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np

from megalabel.data.texts import Texts
from megalabel.inputs.coverage import LEARN_FROM, LONGEST, READ, SAMPLE, WordSplitter, spaced, with_pieces
from megalabel.inputs.tokenizer import TextTokenizer

MANY_SPLIT = 0.1  # share of split words from which on words are learned; note 0023
MIN_COUNT = 10  # occurrences of a word that is learned
_WORD = re.compile(r"[a-z]+")


def is_word(token: str) -> bool:
    """Whether a token is a whole word of the letters a to z, to which accented ones are reduced."""
    return _WORD.fullmatch(token) is not None


def split_share(tokenizer: TextTokenizer, texts: Texts | Sequence[str]) -> float:
    """The share of words of a to z, in a sample of texts, that a tokenizer splits into three or more pieces."""
    size = tokenizer.vocabulary_size
    continues, letters = np.zeros(size, bool), np.zeros(size, bool)
    for token, i in tokenizer.tokenizer.get_vocab().items():
        continues[i] = token.startswith("##")
        letters[i] = is_word(token.removeprefix("##"))
    sample = [text[:READ] for text in spaced(texts, SAMPLE)]
    end = [tokenizer.pad_id] * 2
    ids = np.array([i for row in tokenizer.encode(sample, READ) for i in (*row, *end)] + end, np.int64)
    words = letters[ids] & ~continues[ids]
    split = words[:-2] & continues[ids[1:-1]] & continues[ids[2:]]
    return float(split.sum() / max(words.sum(), 1))


def with_split_words(tokenizer: TextTokenizer, texts: Sequence[Texts | Sequence[str]], size: int) -> TextTokenizer:
    """A tokenizer with tokens for split words, or itself where it splits less than 10% of the words.

    Args:
        tokenizer: a WordPiece tokenizer that lowercases and removes accents.
        texts: the training texts, and others such as label texts. The share of split words is that of the first.
        size: the maximum number of tokens to add.

    Returns:
        The tokenizer with the ids of its own tokens unchanged; its `note` says what was added and why.
    """
    share = split_share(tokenizer, texts[0])
    words = split_words(tokenizer, texts, size) if share >= MANY_SPLIT else []
    if not words:
        return tokenizer
    extended = with_pieces(tokenizer, words)
    reason = f"since the word pieces split {share:.0%} of the words in three or more"
    note = f"tokenizer: {len(words):,} words learned, {reason}"
    extended.note = "; ".join(filter(None, [tokenizer.note, note]))
    return extended


def split_words(tokenizer: TextTokenizer, texts: Sequence[Texts | Sequence[str]], size: int) -> list[str]:
    """The words of a to z that occur 10 times or more and are several word pieces.

    Args:
        tokenizer, texts, size: as for `with_split_words`.

    Returns:
        At most `size` words by descending number of occurrences, ties by spelling.
    """
    splitter, counts = WordSplitter(tokenizer), Counter[str]()
    for text in chain.from_iterable(spaced(some, LEARN_FROM) for some in texts):
        counts.update(splitter.split(text[:READ]))
    model = tokenizer.tokenizer.model
    frequent = (word for word, n in counts.items() if n >= MIN_COUNT and len(word) <= LONGEST and is_word(word))
    split = [word for word in frequent if len(model.tokenize(word)) > 1]
    return sorted(split, key=lambda word: (-counts[word], word))[:size]

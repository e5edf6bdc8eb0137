"""Encodes texts word by word with a cache of words, for tokenizers in which no token crosses a blank.

Most words of a corpus are among some ten thousand, so that looking them up is several times as fast as splitting
each of them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MOST_WORDS = 1 << 17  # kept, which take about 25 MB
LONGEST = 32  # characters of a word that is kept
WORDS = r"\w+|[^\w\s]"  # words and single other characters
# What maps each character alone, or together with combining marks, and never a blank.
NORMALIZERS = {"BertNormalizer", "Lowercase", "StripAccents", "NFC", "NFD", "NFKC", "NFKD"}
PRE_TOKENIZERS = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
MODELS = {"WordLevel", "WordPiece"}


class WordCache:
    """Encodes texts by the token ids of their words, which it keeps. Threads may share it.

    Args:
        tokenizer: a tokenizer without truncation and padding, whose tokens are within the words between blanks.
        before, after: special tokens that come before and after those of a text.
    """

    def __init__(self, tokenizer: Tokenizer, before: Sequence[int], after: Sequence[int]) -> None:
        self.tokenizer, self.before, self.after = tokenizer, list(before), list(after)
        self.known: dict[str, tuple[int, ...]] = {}

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> WordCache | None:
        """A cache for a tokenizer; None if its tokens may cross a blank, or if that is not known."""
        parts = json.loads(tokenizer.to_str())
        special = _special_tokens(parts["post_processor"])
        return None if special is None or not _is_wordwise(parts) else cls(tokenizer, *special)

    def encode(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """The ids of each text, as the tokenizer encodes it; at most `max_length` with the special tokens."""
        limit = max_length - len(self.before) - len(self.after)
        parts = [text.split(" ", 2 * limit) for text in texts]
        found = self._joined([words[: 2 * limit] for words in parts], limit)
        rest = [i for i, words in enumerate(parts) if len(words) > 2 * limit and len(found[i]) < limit]
        for i, ids in zip(rest, self._joined([texts[i].split(" ") for i in rest], limit), strict=True):
            found[i] = ids  # of a text with many words that have no token
        return [[*self.before, *ids[:limit], *self.after] for ids in found]

    def _joined(self, rows: Sequence[Sequence[str]], limit: int) -> list[list[int]]:
        """The ids of the words of each row, at least the first `limit` of them."""
        known, new = self.known, self._encoded(rows)
        joined = []
        for words in rows:
            ids: list[int] = []
            for word in words:
                of_word = known.get(word)
                ids += new[word] if of_word is None else of_word
                if len(ids) >= limit:
                    break
            joined.append(ids)
        return joined

    def _encoded(self, rows: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
        """The ids of the words that are not known yet; some of them are from now on."""
        known = self.known
        missing = list({word for words in rows for word in words if word not in known})
        encodings = self.tokenizer.encode_batch_fast(missing, add_special_tokens=False) if missing else []
        new = {word: tuple(encoding.ids) for word, encoding in zip(missing, encodings, strict=True)}
        if len(known) < MOST_WORDS:
            known.update((word, ids) for word, ids in new.items() if len(word) <= LONGEST)
        return new


def _is_wordwise(parts: Mapping[str, Any]) -> bool:
    """Whether a tokenizer, described by its JSON, encodes the words between blanks each by itself."""
    before, pattern = parts["pre_tokenizer"] or {}, {"Regex": WORDS}
    split = before.get("type") == "Split" and before["pattern"] == pattern and before["invert"]
    normalizers = parts["normalizer"] or {"type": "Sequence", "normalizers": []}
    kinds = [part["type"] for part in normalizers.get("normalizers", [normalizers])]
    return (
        (split or before.get("type") in PRE_TOKENIZERS)
        and NORMALIZERS.issuperset(kinds)
        and parts["model"]["type"] in MODELS
        and all(_is_within_a_word(token) for token in parts["added_tokens"])
    )


def _is_within_a_word(token: Mapping[str, Any]) -> bool:
    """Whether an added token is found in a text no matter what is beyond the next blank."""
    return " " not in token["content"] and not any(
        token[name] for name in ("lstrip", "rstrip", "single_word", "normalized")
    )


def _special_tokens(post_processor: Mapping[str, Any] | None) -> tuple[list[int], list[int]] | None:
    """The ids of the special tokens before and after a text; None for a kind of template that is not known."""
    if post_processor is None:
        return [], []
    if post_processor["type"] != "TemplateProcessing":
        return None
    sides: tuple[list[int], list[int]] = ([], [])
    texts = 0
    for part in post_processor["single"]:
        if "Sequence" in part:
            texts += 1
        else:
            sides[texts > 0].extend(post_processor["special_tokens"][part["SpecialToken"]["id"]]["ids"])
    return sides if texts == 1 else None

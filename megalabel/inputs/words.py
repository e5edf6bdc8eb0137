"""Splits texts into words, with one regular expression over many texts at once.

This is an order of magnitude faster than splitting text by text. The patterns "words" and "symbols" are those of
`learn_tokenizer`, for features that are counted instead of embedded.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, get_args

from megalabel.errors import DataError, SettingError
from megalabel.runtime.words import END as END
from megalabel.runtime.words import fold as fold

TokenPattern = Literal["letters", "words", "signs", "symbols"]

# Emoji and other pictures, which only the patterns "words" and "signs" read as words.
EMOJI = re.compile("[\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")

# Each ideograph is a word, since no blanks between ideographs show where a word ends.
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def split_words(texts: Iterable[str], pattern: TokenPattern) -> list[str]:
    """Splits texts into words: one list of the words of all texts, with an `END` after each text.

    Args:
        texts: any number of texts, or a single one; an `END` within a text counts as a blank.
        pattern: which parts of a text are words.

            * "letters": runs of letters and digits, in lower case and without accents;
            * "words": these, and every other character except blanks by itself;
            * "signs": the same, but a run of other characters, such as an arrow, is one word;
            * "symbols": whatever is between blanks, unchanged, for formulas and codes.

            With every pattern but "symbols", each ideograph is a word.

    Raises:
        DataError: a text is not a string.
        SettingError: the pattern is unknown.
    """
    if pattern not in get_args(TokenPattern):
        raise SettingError.choice("token_pattern", pattern, get_args(TokenPattern))
    texts = [texts] if isinstance(texts, str) else list(texts)
    for text in texts:
        if not isinstance(text, str):
            raise DataError(
                f"a text of type {type(text).__name__}",
                wanted="a string",
                next_step='give "" for an empty text',
            )
    if pattern != "symbols":
        texts = [text if text.isascii() else fold(text) for text in texts]
    words: list[str] = []
    for ascii_only, run in itertools.groupby(texts, key=str.isascii):  # other texts take five times as long
        some = list(run)
        joined = END.join([*some, ""])
        if joined.count(END) != len(some):
            joined = END.join([text.replace(END, " ") for text in some] + [""])
        if pattern != "symbols" and ascii_only:
            joined = joined.lower()
        words += _regex(pattern, ascii_only).findall(joined)
    return words


def check_has_words(texts: Iterable[str], pattern: TokenPattern) -> None:
    """Raises DataError unless some text has a word; stops at the first. Other errors: see `split_words`."""
    if not any(word != END for text in texts for word in split_words(text, pattern)):
        raise DataError(
            f"no text has a word (with the token pattern {pattern!r})",
            wanted="texts with words",
            next_step="check that the right file or column was read, or choose another pattern: with "
            '"words" (--token-pattern words), each emoji and other sign is a word',
        )


def word_regex() -> re.Pattern[str]:
    """What finds words and single signs in a text that is not folded; an `END` is found too."""
    return _regex("words", False)


def word_pattern(pattern: TokenPattern, ascii_only: bool) -> str:
    """The regular expression of the words, and of `END`, in folded texts, or in those of ASCII alone."""
    if pattern == "symbols":
        return rf"{END}|[^\s{END}]+"
    word = "0-9A-Z_a-z" if ascii_only else _word_characters()
    ideographs = "" if ascii_only else "".join(f"{chr(first)}-{chr(last)}" for first, last in _IDEOGRAPHS)
    others = {
        "letters": f"|[{ideographs}]" if ideographs else "",
        "words": rf"|[^{word}\s]",
        "signs": (f"|[{ideographs}]" if ideographs else "") + rf"|[^{word}{ideographs}\s{END}]+",
    }
    return rf"[{word}]+|{END}{others[pattern]}"


@functools.cache
def _regex(pattern: TokenPattern, ascii_only: bool) -> re.Pattern[str]:
    return re.compile(word_pattern(pattern, ascii_only))


@functools.cache
def _word_characters() -> str:
    """Ranges of letters, digits, the underscore and marks (which write vowels in many scripts), no ideographs."""
    ideographs = {code for first, last in _IDEOGRAPHS for code in range(first, last + 1)}
    ranges: list[list[int]] = []
    for code in range(_IDEOGRAPHS[-1][1]):
        char = chr(code)
        if code not in ideographs and (char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M"):
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)

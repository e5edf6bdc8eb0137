"""What each character becomes before words are looked up, by asking the tokenizer of a model."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from megalabel.exporting.strings import string_arrays
from megalabel.runtime.tokens import BLANK, NOTHING, OTHER, SAME, WORD

_BLOCK = 256  # characters that are normalized at once
_MARK = "q"  # a letter that normalizing and splitting leave alone
_SURROGATES = range(0xD800, 0xE000)


@functools.lru_cache(maxsize=8)
def character_arrays(normalizer: str, pre_tokenizer: str) -> dict[str, np.ndarray] | None:
    """The arrays of `megalabel.runtime.tokens.Characters` for two parts of a tokenizer, given as JSON.

    None if a character does not always become the same, such as where a pre-tokenizer splits within words.
    """
    tokenizer = _with_parts(normalizer, pre_tokenizer)
    starts, found, codes, strings = [0], [SAME], [], []
    for start in range(0, sys.maxunicode + 1, _BLOCK):
        block = [chr(code) for code in range(start, start + _BLOCK) if code not in _SURROGATES]
        meanings = _meanings(tokenizer, block) if block else []
        if meanings is None:
            return None
        for character, (kind, other) in zip(block, meanings, strict=True):
            if kind == OTHER:
                codes.append(ord(character))
                strings.append(other)
            if kind != found[-1]:
                starts.append(ord(character))
                found.append(kind)
    arrays: dict[str, np.ndarray] = {
        "chars.starts": np.array(starts, np.int32),
        "chars.kinds": np.array(found, np.uint8),
        "chars.codes": np.array(codes, np.int32),
    }
    return {**arrays, **string_arrays("chars.others", strings)}


def _meanings(tokenizer: Any, block: list[str]) -> list[tuple[int, str]] | None:
    """Kind and, for OTHER, meaning of each character of a block; most blocks of Unicode have one kind."""
    text = "".join(block)
    normal = _normalize(tokenizer, text)
    if not normal:
        return [(NOTHING, "")] * len(block)
    n_pieces = len(tokenizer.pre_tokenizer.pre_tokenize_str(f"a{text}a"))
    alone = normal == text and n_pieces == len(text) + 2
    if alone or (n_pieces == 1 and normal == "".join(f" {character} " for character in block)):
        return [(WORD, "")] * len(block)
    if n_pieces == 1 and normal == text:
        return [(SAME, "")] * len(block)
    parts = _normalize(tokenizer, _MARK + _MARK.join(block) + _MARK).split(_MARK)[1:-1]
    if len(parts) != len(block):  # some contain the mark themselves
        parts = [_normalize(tokenizer, character) for character in block]
    kinds = _kinds(tokenizer, sorted(set("".join(parts))))
    if kinds is None:
        return None
    return [_meaning(character, part, kinds) for character, part in zip(block, parts, strict=True)]


def _with_parts(normalizer: str, pre_tokenizer: str) -> Tokenizer:
    """A tokenizer with these parts, which the library makes from JSON of whole tokenizers alone."""
    state = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": json.loads(normalizer), "pre_tokenizer": json.loads(pre_tokenizer), "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
    }  # fmt: skip
    return Tokenizer.from_str(json.dumps(state))


def _normalize(tokenizer: Any, text: str) -> str:
    normalizer = tokenizer.normalizer
    return text if normalizer is None else str(normalizer.normalize_str(text))


def _kinds(tokenizer: Any, characters: Sequence[str]) -> dict[str, int] | None:
    """Whether each normalized character continues a word (SAME), is a BLANK or a WORD; None for anything else."""
    units = "\n".join(f"a{character}a" for character in characters)
    pieces = {span for _, span in tokenizer.pre_tokenizer.pre_tokenize_str(units)}
    kinds = {}
    for i, character in enumerate(characters):
        at = 4 * i
        if (at, at + 3) in pieces:
            kinds[character] = SAME
        elif (at, at + 1) in pieces and (at + 2, at + 3) in pieces:
            kinds[character] = WORD if (at + 1, at + 2) in pieces else BLANK
        else:
            return None
    return kinds


def _meaning(character: str, normal: str, kinds: dict[str, int]) -> tuple[int, str]:
    """The kind of a character and, for OTHER, what stands for it."""
    shown = "".join({BLANK: " ", WORD: f" {part} "}.get(kinds[part], part) for part in normal)
    if shown == character:
        return SAME, shown
    if not shown:
        return NOTHING, shown
    if not shown.strip(" "):
        return BLANK, shown
    return (WORD if shown == f" {character} " else OTHER), shown

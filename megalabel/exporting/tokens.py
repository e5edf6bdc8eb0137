"""The tokenizer of a bag for the runtime: tables where these give the same tokens, else the library's JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.exporting.characters import character_arrays
from megalabel.exporting.strings import string_arrays
from megalabel.inputs.coverage import LONGEST, spaced
from megalabel.inputs.tokenizer import PROBES, TextTokenizer
from megalabel.models.neural import NeuralClassifier
from megalabel.runtime.container import Container
from megalabel.runtime.tokens import tokens_of

SAMPLE = 1000  # label names whose tokens are compared

Parts = tuple[dict[str, Any], dict[str, np.ndarray]]  # facts and arrays

# The pre-tokenizer that `megalabel.inputs.coverage.extend` adds, which cuts words.
_CUT = {"Regex": f".{{1,{LONGEST}}}"}


def token_parts(tokenizer: TextTokenizer, max_length: int, *, tables: bool = True) -> Parts:
    """What `megalabel.runtime.tokens` reads.

    Args:
        tokenizer: of the model.
        max_length: the tokens of a text that it reads, with those that are added.
        tables: whether tables are allowed.
    """
    text = tokenizer.tokenizer.to_str()
    found = _tables(tokenizer, json.loads(text), max_length) if tables else None
    if found is not None:
        return found
    return {"kind": "library", "max_length": max_length}, {
        "tokenizer.json": np.frombuffer(text.encode(), np.uint8)
    }


def same_tokens(model: NeuralClassifier, path: Path) -> bool:
    """Whether an exported file gives some label names and other texts the tokens that the model gives them."""
    texts = [*PROBES, *spaced(model.label_texts, SAMPLE)]
    found = tokens_of(Container(str(path)))
    return [found(text) for text in texts] == model.encoder.tokenizer.encode(texts, model.max_length)


def _tables(tokenizer: TextTokenizer, state: dict[str, Any], max_length: int) -> Parts | None:
    """Facts and arrays of a tokenizer of words or word pieces; None for any other."""
    model, special = state["model"], _special(tokenizer)
    added = {token["content"]: token["id"] for token in state["added_tokens"]}
    plain = not any(
        token["single_word"] or token["lstrip"] or token["rstrip"] or token["normalized"]
        for token in state["added_tokens"]
    )
    unknown = (
        model.get("vocab", {}).get(model.get("unk_token")) if model["type"] in ("WordPiece", "WordLevel") else None
    )
    splits = _without_cut(state["pre_tokenizer"])
    if unknown is None or special is None or not plain or splits is None:
        return None
    characters = character_arrays(json.dumps(state["normalizer"]), json.dumps(splits))
    if characters is None:
        return None
    facts = {
        "kind": "tables",
        "max_length": max_length,
        "prefix": special[0],
        "suffix": special[1],
        "unknown": unknown,
        "pieces": model["type"] == "WordPiece",
        "continues": model.get("continuing_subword_prefix", ""),
        "longest": model.get("max_input_chars_per_word", 0),
        "cut": 0 if splits is state["pre_tokenizer"] else LONGEST,
        "added": added,
    }
    tokens = sorted(model["vocab"].items(), key=lambda item: item[1])
    arrays = string_arrays("tokens", (token for token, _ in tokens), found=True)
    return facts, {**characters, **arrays, "tokens.ids": np.array([i for _, i in tokens], np.int32)}


def _without_cut(pre_tokenizer: dict[str, Any] | None) -> dict[str, Any] | None:
    """A pre-tokenizer without the one that cuts words."""
    if pre_tokenizer is None or pre_tokenizer["type"] != "Sequence":
        return pre_tokenizer
    parts = pre_tokenizer["pretokenizers"]
    cuts = len(parts) == 2 and parts[1]["type"] == "Split" and parts[1]["pattern"] == _CUT
    return parts[0] if cuts and parts[1]["behavior"] == "Isolated" and not parts[1]["invert"] else pre_tokenizer


def _special(tokenizer: TextTokenizer) -> tuple[list[int], list[int]] | None:
    """The tokens before and after those of a text."""
    around = tokenizer.encode([""], tokenizer.n_special + 1)[0]
    one = tokenizer.encode(["a"], tokenizer.n_special + 1)[0]
    for i in range(len(around) + 1):
        if (
            one[:i] == around[:i]
            and one[len(one) - len(around) + i :] == around[i:]
            and len(one) == len(around) + 1
        ):
            return around[:i], around[i:]
    return None

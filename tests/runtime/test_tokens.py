"""Tokenizers in the runtime: the same tokens from tables in the file, or by the tokenizers library."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from megalabel.data.texts import Texts
from megalabel.encoders.bag import Bag
from megalabel.encoders.start import start_tokenizer
from megalabel.exporting.container import write_container
from megalabel.exporting.export import export
from megalabel.exporting.tokens import token_parts
from megalabel.heads.dense import DenseHead
from megalabel.inputs.coverage import extend
from megalabel.inputs.split_words import with_split_words
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer
from megalabel.models.neural import NeuralClassifier
from megalabel.runtime import ModelError, load
from megalabel.runtime.container import Container
from megalabel.runtime.tokens import LibraryTokens, Tokens, tokens_of

LEARNED = ["Ein Text über Ähren", "x² + y = 文字列", "naïve café", "привет мир"] * 20


def texts() -> list[str]:
    """Texts of all kinds of characters, with the names of special tokens in between."""
    chance = random.Random(0)
    pools = [range(0x110000), range(0x20, 0x250), range(0x300, 0x1100), range(0x1E00, 0x3400), range(128)]
    found = ["", " ", "a" * 200, "[CLS] x[UNK]y [sep]", "\0\t\n\u3000", "Ünd-so-weiter", "が か\u3099 한글"]
    for _ in range(600):
        pool = chance.choice(pools)
        parts = [chr(chance.choice(chance.choice([pool, pools[4]]))) for _ in range(chance.randrange(40))]
        found.append("".join(parts))
    return found


def special() -> TextTokenizer:
    """Word pieces with special tokens before and after the text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_str(start_tokenizer().tokenizer.to_str())
    pair = [("[CLS]", 101), ("[SEP]", 102)]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=pair)
    return TextTokenizer(tokenizer)


MADE = {
    "pieces": start_tokenizer,
    "special": special,
    "split words": lambda: with_split_words(start_tokenizer(), [["zymurgy quokka"] * 50], 5),
    "extended": lambda: extend(start_tokenizer(), [LEARNED], 50),
    "words": lambda: learn_tokenizer(LEARNED, 30),
    "symbols": lambda: learn_tokenizer(LEARNED, 30, "symbols"),
}


@pytest.mark.parametrize("name", MADE)
def test_tables_give_the_tokens_of_the_library(name, tmp_path):
    tokenizer = MADE[name]()
    facts, arrays = token_parts(tokenizer, 24)
    write_container(tmp_path / "file", {"tokens": facts}, arrays)
    found = tokens_of(Container(str(tmp_path / "file")))
    assert isinstance(found, Tokens)
    given = texts()
    assert [found(text) for text in given] == tokenizer.encode(given, 24)


def model_with(tokenizer: TextTokenizer) -> NeuralClassifier:
    torch.manual_seed(0)
    encoder, head = Bag(tokenizer, dim=6, hidden_dim=0), DenseHead(5, 6, init_std=1.0)
    return NeuralClassifier(encoder, head, Texts.from_strings(list("abcde")), 10).eval()


def lowercasing(pre_tokenizer: dict) -> TextTokenizer:
    state = json.loads(learn_tokenizer(LEARNED, 30).tokenizer.to_str())
    state["pre_tokenizer"] = pre_tokenizer
    return TextTokenizer(Tokenizer.from_str(json.dumps(state)))


@pytest.mark.parametrize("kind", ["WhitespaceSplit", "UnicodeScripts"])
def test_tokenizers_that_tables_do_not_describe_stay_those_of_the_library(kind, tmp_path):
    whole = model_with(lowercasing({"type": kind}))
    export(whole, tmp_path / "model.mlr")
    found = tokens_of(Container(str(tmp_path / "model.mlr")))
    assert isinstance(found, Tokens if kind == "WhitespaceSplit" else LibraryTokens)
    sample = ["abc12 def", "文字ab", "x 1a2"]
    assert [found(text) for text in sample] == whole.encoder.tokenizer.encode(sample, 10)
    assert load(tmp_path / "model.mlr").topk(sample, 2).ids == np.asarray(whole.topk(sample, 2).ids).tolist()


def test_without_the_library_its_tokenizers_are_refused(tmp_path, monkeypatch):
    export(model_with(lowercasing({"type": "UnicodeScripts"})), tmp_path / "model.mlr")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ModelError, match=r"(?i)pip install"):
        load(tmp_path / "model.mlr")

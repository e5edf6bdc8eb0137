"""Texts encoded word by word are encoded as by the tokenizers library."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from megalabel.encoders.build import start_tokenizer
from megalabel.inputs import word_cache
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer
from megalabel.inputs.word_cache import WordCache

LEARNED = ["the cat sat on the mat", "Ünïcode e\u0301 \u6587\u5b57 x+y=z", "a b c d e f"]
PIECES = [
    "the",
    "cat",
    "CAT's",
    " ",
    "  ",
    "\n",
    "\t",
    "\u00a0",
    "\u3000",
    "[MASK]",
    "[UNK]",
    "e\u0301",
    "\u0301",
    "\u00a8",
    "\x00",
    "\x1c",
]
PIECES += [
    "\ufb01",
    "\u6587\u5b57",
    "\U0001f600",
    "\u0130",
    "-",
    "x" * 101,
    "caterpillar\u00ad",
    "\u200b",
    "\ufeff",
]
TEXT = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=20).map("".join)


def bert() -> TextTokenizer:
    """The bundled word pieces with the special tokens of BERT around each text."""
    tokenizer = Tokenizer.from_str(start_tokenizer().tokenizer.to_str())
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 101), ("[SEP]", 102)],
    )
    return TextTokenizer(tokenizer)


KINDS = {
    "wordpiece": start_tokenizer(),
    "words": learn_tokenizer(LEARNED, 50),
    "symbols": learn_tokenizer(LEARNED, 50, "symbols"),
    "bert": bert(),
    "prompt": bert().with_prompt("query: the "),
}


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(TEXT, max_size=4), max_length=st.sampled_from([7, 8, 12, 1000]))
@example(texts=[" " * 40 + "cat", "\x00 " * 40 + "cat cat", ""], max_length=7)
@example(texts=["e \u0301 \u00a8 \u0301", "a\u3000b\u00a0c\x1cd"], max_length=1000)
def test_the_ids_are_those_of_the_library(kind: str, texts: list[str], max_length: int) -> None:
    tokenizer = KINDS[kind]
    assert tokenizer._words is not None
    library = TextTokenizer(tokenizer.tokenizer, prompt=tokenizer.prompt)
    library._words = None
    wanted = library.encode(texts, max_length)
    assert tokenizer.encode(texts, max_length) == wanted  # some words for the first time
    assert tokenizer.encode(texts, max_length) == wanted  # all words known


def test_words_are_kept_up_to_a_number_and_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cache, "MOST_WORDS", 3)
    cache = WordCache.of(start_tokenizer().tokenizer)
    assert cache is not None
    long = "y" * 33
    first = cache.encode([f"one two {long}"], 100)
    assert set(cache.known) == {"one", "two"}
    cache.encode(["three four"], 100)
    kept = set(cache.known)
    assert cache.encode(["five"], 100) == start_tokenizer().encode(["five"], 100)
    assert set(cache.known) == kept
    assert cache.encode([f"one two {long}"], 100) == first


def byte_pairs() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    return tokenizer


def changed(change: str) -> Tokenizer:
    """The bundled tokenizer with one part whose tokens may depend on what is beyond a blank."""
    tokenizer = Tokenizer.from_str(start_tokenizer().tokenizer.to_str())
    match change:
        case "normalizer":
            tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(" ", "_")])
        case "pre-tokenizer":
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        case "no pre-tokenizer":
            tokenizer.pre_tokenizer = None
        case "added token":
            from tokenizers import AddedToken

            tokenizer.add_tokens([AddedToken("new york", normalized=False)])
        case "template":
            tokenizer.post_processor = processors.ByteLevel()
    return tokenizer


@pytest.mark.parametrize("change", ["normalizer", "pre-tokenizer", "no pre-tokenizer", "added token", "template"])
def test_other_tokenizers_encode_whole_texts(change: str) -> None:
    assert WordCache.of(changed(change)) is None


def test_byte_pairs_encode_whole_texts() -> None:
    assert WordCache.of(byte_pairs()) is None


def test_a_saved_tokenizer_is_loaded_with_a_cache(tmp_path: Path) -> None:
    KINDS["wordpiece"].save(tmp_path, max_length=5)
    loaded = TextTokenizer.load(tmp_path)
    assert loaded._words is not None
    assert loaded.encode(["the cat " * 9], 100) == KINDS["wordpiece"].encode(["the cat " * 9], 100)


def test_a_cleared_cache_is_filled_again() -> None:
    tokenizer = start_tokenizer()
    before = tokenizer.encode(["the cat"], 10)
    assert tokenizer._words is not None and len(tokenizer._words.known) == 2
    tokenizer.clear_cache()
    assert len(tokenizer._words.known) == 0
    assert tokenizer.encode(["the cat"], 10) == before

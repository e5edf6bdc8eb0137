import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.errors import DataError, FormatError, SettingError, StaleTokens
from megalabel.inputs.needs_texts import check_texts
from megalabel.inputs.token_store import (
    TokenStore,
    open_or_build_tokens,
    prepared_folder,
    sharing_tokens,
    tokens_by,
)
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer

WORDS = ["a cat sat", "the cat", "", "A dog, a cat!"]


@pytest.fixture
def tokenizer():
    return learn_tokenizer(WORDS, 50)


def test_a_store_gives_back_the_tokens_of_each_text(tokenizer, tmp_path):
    store = TokenStore.build(Texts.from_strings(WORDS), tokenizer, 16, tmp_path / "s")
    wanted = tokenizer.encode(WORDS, 16)
    assert [ids.tolist() for ids in store.gather(np.arange(4))] == wanted
    assert store.lengths.tolist() == [len(ids) for ids in wanted]
    assert store.ids.dtype == np.uint16
    assert isinstance(store.ids, np.memmap)


def test_memory_and_disk_hold_the_same(tokenizer, tmp_path):
    texts = Texts.from_strings(WORDS)
    on_disk, in_memory = (TokenStore.build(texts, tokenizer, 3, f) for f in (tmp_path / "s", None))
    assert np.array_equal(on_disk.ids, in_memory.ids)
    assert np.array_equal(on_disk.offsets, in_memory.offsets)
    assert on_disk.lengths.max() == 3


@pytest.mark.parametrize(
    ("texts", "length", "named"),
    [
        (WORDS[:3], 16, "n_texts"),
        ([*WORDS[:3], "a dog"], 16, "texts_sha256"),
        (WORDS, 8, "max_length"),
    ],
)
def test_a_stale_store_is_refused(tokenizer, tmp_path, texts, length, named):
    TokenStore.build(Texts.from_strings(WORDS), tokenizer, 16, tmp_path / "s")
    with pytest.raises(StaleTokens, match=named) as caught:
        TokenStore.open_or_build(Texts.from_strings(texts), tokenizer, length, tmp_path / "s")
    assert "megalabel prepare" in str(caught.value)


def test_another_tokenizer_makes_a_store_stale(tokenizer, tmp_path):
    texts = Texts.from_strings(WORDS)
    TokenStore.build(texts, tokenizer, 16, tmp_path / "s")
    with pytest.raises(StaleTokens, match="tokenizer_sha256"):
        TokenStore.open_or_build(texts, learn_tokenizer(WORDS, 5), 16, tmp_path / "s")


def test_a_damaged_store_is_refused(tokenizer, tmp_path):
    TokenStore.build(Texts.from_strings(WORDS), tokenizer, 16, tmp_path / "s")
    with open(tmp_path / "s" / "ids.bin", "r+b") as file:
        file.write(b"\xff")
    with pytest.raises(FormatError, match=r"ids\.bin"):
        TokenStore.open(tmp_path / "s")


def test_a_store_of_another_format_is_refused(tokenizer, tmp_path):
    TokenStore.build(Texts.from_strings(WORDS), tokenizer, 16, tmp_path / "s")
    path = tmp_path / "s" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(FormatError, match="format 99"):
        TokenStore.open(tmp_path / "s")


def test_a_tokenizer_survives_the_disk(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = TextTokenizer.load(tmp_path)
    assert again.encode(WORDS, 9) == tokenizer.encode(WORDS, 9)
    assert (again.pad_id, again.sha256) == (tokenizer.pad_id, tokenizer.sha256)


def test_words_are_lowered_and_symbols_are_kept():
    words, symbols = (learn_tokenizer(["|- ( Ph -> ph )"], 50, kind) for kind in ("words", "symbols"))
    assert len(symbols.encode(["|- ( Ph -> ph )"], 50)[0]) == 6
    assert len(set(symbols.encode(["Ph ph"], 50)[0])) == 2
    assert len(set(words.encode(["Ph ph"], 50)[0])) == 1


@settings(max_examples=50)
@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_has_tokens_or_none_but_never_fails(texts):
    tokenizer = learn_tokenizer(["a b"], 10)
    store = TokenStore.build(Texts.from_strings(texts), tokenizer, 4)
    assert len(store) == len(texts)
    assert store.lengths.max() <= 4


def test_bad_settings_are_refused(tokenizer):
    with pytest.raises(SettingError, match="max_length: 0"):
        TokenStore.build(Texts.from_strings(WORDS), tokenizer, 0)
    with pytest.raises(SettingError, match="'bytes'"):
        learn_tokenizer(WORDS, 10, "bytes")


def test_prepared_tokens_are_found_beside_the_data_and_go_stale_with_it(tokenizer, tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a cat", "labels": ["x"]}\n')
    data = Corpus.open(tmp_path)
    folder = prepared_folder(data, "trn", tokenizer, 8)
    assert folder is not None
    TokenStore.open_or_build(data.train.texts, tokenizer, 8, folder)
    assert isinstance(open_or_build_tokens(data, "trn", tokenizer, 8).ids, np.memmap)
    (tmp_path / "train.jsonl").write_text('{"text": "a dog", "labels": ["x"]}\n')
    with pytest.raises(StaleTokens):
        open_or_build_tokens(Corpus.open(tmp_path), "trn", tokenizer, 8)


def test_trainings_that_share_tokens_build_them_once(tokenizer):
    data, built = Corpus.of(["a cat", "a dog"], [["x"], ["y"]]), []
    with sharing_tokens(), tokens_by(lambda *given: built.append(given) or TokenStore.build(*given)):
        first = open_or_build_tokens(data, "trn", tokenizer, 8)
        assert open_or_build_tokens(data, "trn", tokenizer, 8) is first
        assert len(open_or_build_tokens(data, "lbl", tokenizer, 8)) == 2
        for length in (4, 5, 6, 7):
            assert open_or_build_tokens(data, "trn", tokenizer, length).manifest["max_length"] == length
        assert open_or_build_tokens(data, "trn", tokenizer, 8) is not first  # only the newest are kept
    assert len(built) == 7
    assert open_or_build_tokens(data, "trn", tokenizer, 8) is not open_or_build_tokens(data, "trn", tokenizer, 8)


def test_room_for_the_tokenizers_own_tokens_is_asked_for():
    from tokenizers.processors import TemplateProcessing

    tokenizer = learn_tokenizer(WORDS, 50)
    ends = [("[PAD]", 0), ("[UNK]", 1)]
    tokenizer.tokenizer.post_processor = TemplateProcessing(single="[PAD] $A [UNK]", special_tokens=ends)
    assert [len(ids) for ids in tokenizer.encode(["a cat sat", ""], 3)] == [3, 2]
    with pytest.raises(SettingError, match=r"max_length = 2.*at least 3"):
        tokenizer.encode(["a cat"], 2)


def test_what_is_no_string_is_refused(tokenizer):
    with pytest.raises(DataError, match="a text of type float"):
        tokenizer.encode(["a", float("nan")], 8)


def test_bags_of_words_are_not_taken_for_texts(tmp_path):
    (tmp_path / "bow.txt").write_text("2 3 2\n0 0:1 1:2\n1 1:1\n")
    data = Corpus.open(tmp_path / "bow.txt")
    with pytest.raises(DataError, match="bags of words"):
        check_texts(data.train, data)

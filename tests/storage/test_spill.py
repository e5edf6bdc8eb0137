"""Bytes and arrays that leave the memory for a temporary file are the same as those that stay."""

from __future__ import annotations

import mmap
import pickle

import numpy as np
import pytest

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.text_lines import read_text_lines
from megalabel.data.texts import Texts
from megalabel.encoders.start import start_tokenizer
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.token_store import TokenStore
from megalabel.storage import spill
from megalabel.storage.spill import Spill, SpilledArrays, forget

WORDS = ["ein Text", "", "zwei über", "more words", "x" * 300, "\ud800 half"] * 40


@pytest.fixture(params=["memory", "file"])
def spilled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs a test once in memory and once with files for more than 64 bytes."""
    if request.param == "file":
        monkeypatch.setattr(spill, "LIMIT", 64)
    return bool(request.param == "file")


def test_bytes_are_mapped_only_beyond_the_limit() -> None:
    for n, kind in ((10, bytearray), (11, mmap.mmap)):
        made = Spill(10)
        for i in range(n):
            made.append(bytes([i]))
        block = made.block()
        assert isinstance(block, kind) and len(made) == n and block[:] == bytes(range(n))
        forget(block)
        assert block[:] == bytes(range(n))


def test_an_array_is_what_was_appended(spilled: bool) -> None:
    parts = [np.arange(n, dtype=np.int32) for n in (3, 0, 50)]
    made, arrays = Spill(), SpilledArrays()
    for part in parts:
        made.append(part)
        arrays.append(part)
    whole = made.array(np.int32)
    assert isinstance(whole, np.memmap) == spilled and np.array_equal(whole, np.concatenate(parts))
    for _ in range(2):
        assert [found.tolist() for found in arrays] == [part.tolist() for part in parts] and len(arrays) == 3


def test_nothing_was_appended(spilled: bool) -> None:
    assert len(Spill().block()) == 0 and Spill().array(np.uint16).shape == (0,) and not [*SpilledArrays()]


def test_texts_are_the_same_in_a_file(spilled: bool) -> None:
    texts = Texts.from_strings(WORDS)
    assert isinstance(texts._bytes, mmap.mmap) == spilled
    assert list(texts) == WORDS and texts.sha256() == Texts.from_strings(WORDS[:]).sha256()
    assert [texts[i] for i in range(len(texts))] * 3 == [texts[i] for _ in range(3) for i in range(len(texts))]
    order = np.random.default_rng(0).permutation(len(WORDS))
    assert list(texts[order]) == [WORDS[i] for i in order]
    assert list(pickle.loads(pickle.dumps(texts[order]))) == [WORDS[i] for i in order]


def test_parts_of_long_texts_are_released(spilled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalabel.data.texts._RELEASE", 10)
    assert list(Texts.from_strings(WORDS)) == WORDS


@pytest.mark.parametrize("content", ["a\r\n\r\nbb\r\nc", "a\n\nb\n", "\n\nx", "\r\n"])
def test_lines_are_the_same_in_a_file(spilled: bool, content: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "texts.txt").write_bytes(content.encode() * 30)
    monkeypatch.setattr("megalabel.data.file_bytes._CHUNK_BYTES", 7)
    found = read_text_lines(tmp_path / "texts.txt", Findings())
    wanted = (content * 30).replace("\r\n", "\n").removesuffix("\n").split("\n")
    assert list(found) == wanted


def test_tokens_are_the_same_in_a_file(spilled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalabel.inputs.token_store.RELEASE", 3)
    tokenizer = start_tokenizer()
    store = TokenStore.build(Texts.from_strings(WORDS), tokenizer, 16)
    assert isinstance(store.ids, np.memmap) == spilled
    wanted = tokenizer.encode(WORDS, 16)
    for _ in range(3):
        assert [ids.tolist() for ids in store.gather(np.arange(len(WORDS)))] == wanted


def test_features_are_the_same_whether_their_words_were_in_a_file(spilled: bool) -> None:
    texts = [f"alpha beta {'gamma ' * (i % 7)} word{i % 11}" for i in range(60)]
    learned, rows = SparseText.learn_rows(texts)
    again = SparseText.learn(texts)
    assert learned.words == again.words
    assert (rows != again.transform(texts)).nnz == 0


def test_a_corpus_of_spilled_texts_has_the_same_fingerprint(spilled: bool) -> None:
    texts, labels = ["first text", "second text", "third one"] * 20, [["a"], ["b"], ["a"]] * 20
    assert Corpus.of(texts, labels).fingerprint() == FINGERPRINT


FINGERPRINT = Corpus.of(["first text", "second text", "third one"] * 20, [["a"], ["b"], ["a"]] * 20).fingerprint()


def test_a_full_disk_is_told_with_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    made = Spill(1)
    with pytest.raises(OSError) as error:
        made.append(b"too long")
    assert error.value.filename == str(tmp_path / "missing")

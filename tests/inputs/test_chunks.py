"""Cutting texts: all words are covered, chunks are equally long, and the work per text is bounded."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from megalabel.errors import SettingError
from megalabel.inputs.chunks import LONGEST_WORD, Chunking, word_starts
from megalabel.inputs.tokenizer import TextTokenizer, learn_tokenizer

WORDS = [f"w{i}" for i in range(1000)]


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("n", [1, 6, 7, 8, 99, 250])
def test_chunks_are_equally_long_and_cover_the_text(size, overlap, n):
    if overlap >= size:
        return
    chunks = Chunking(size, overlap=overlap).cut([" ".join(WORDS[:n]), "one"])
    assert chunks.offsets[-1] == len(chunks.texts)
    parts = [text.split() for text in chunks.texts[: chunks.offsets[1]]]
    assert all(len(part) == min(size, n) for part in parts)
    places = [[WORDS.index(word) for word in part] for part in parts]
    assert all(place == list(range(place[0], place[0] + len(place))) for place in places)
    assert places[0][0] == 0
    assert places[-1][-1] == n - 1
    shared = [a[-1] - b[0] + 1 for a, b in itertools.pairwise(places)]
    assert all(s >= overlap for s in shared)
    assert len(parts) == max(1, -(-(n - overlap) // (size - overlap)))
    assert chunks.texts[-1] == "one"
    assert chunks.n_sampled == 0


def test_a_text_of_one_chunk_stays_as_it_is():
    texts = ["", "  ", " a  b\n", "x"]
    assert Chunking(2).cut(texts).texts == texts


def test_longer_texts_become_evenly_spaced_chunks():
    chunks = Chunking(10, max_chunks=3).cut([" ".join(WORDS[:60]), " ".join(WORDS[:30])])
    assert chunks.offsets.tolist() == [0, 3, 6]
    assert [text.split()[0] for text in chunks.texts[:3]] == ["w0", "w25", "w50"]
    assert chunks.n_sampled == 1
    first = Chunking(10, max_chunks=1).cut([" ".join(WORDS)])
    assert first.texts[0].split() == WORDS[:10]


def test_a_very_long_text_is_not_read_as_a_whole():
    class Counted(str):
        """Fails when all of it is encoded."""

        def encode(self, *arguments):
            raise AssertionError("the whole text is read")

    text = Counted(" ".join(WORDS * 100))
    chunks = Chunking(20, max_chunks=5).cut([text])
    assert [len(part.split()) for part in chunks.texts] == [20] * 5
    assert all(word in set(WORDS) for part in chunks.texts for word in part.split())
    assert chunks.texts[0].split() == WORDS[:20]
    assert chunks.texts[-1].split() == WORDS[-20:]
    assert chunks.n_sampled == 1


def test_what_a_word_is():
    assert word_starts("").tolist() == []
    assert word_starts(" ab  c\n").tolist() == [1, 5]
    assert word_starts("ab\u00a0c\u3000d").tolist() == [0, 3, 5]  # no-break and ideographic space
    assert word_starts("日本 ab日c").tolist() == [0, 1, 3, 5, 6]
    assert word_starts("é" * (2 * LONGEST_WORD + 1)).tolist() == [0, LONGEST_WORD, 2 * LONGEST_WORD]
    assert word_starts("a " + "x" * 40 + " b").tolist() == [0, 2, 2 + LONGEST_WORD, 43]
    assert word_starts("a\ud800 b").tolist() == [0, 3]  # half of a surrogate pair


@pytest.mark.parametrize("seed", range(3))
def test_words_are_those_of_split(seed):
    random = np.random.default_rng(seed)
    text = "".join(random.choice(list("ab é\u2003\n-"), 500).tolist())
    starts = word_starts(text)
    assert [text[a:].split()[0] for a in starts.tolist()] == text.split()


def test_chunks_of_tokens_have_as_many_tokens():
    tokenizer = learn_tokenizer([" ".join(WORDS)], 2000)
    chunks = Chunking(8, "tokens").cut([" ".join(WORDS[:30]), "w1, w2"], tokenizer)
    assert [len(ids) for ids in tokenizer.encode(chunks.texts, 100)] == [8, 8, 8, 8, 3]
    assert chunks.offsets.tolist() == [0, 4, 5]


def test_a_chunk_of_word_pieces_begins_with_a_word():
    from megalabel.encoders.start import start_tokenizer

    text = " ".join(["internationalization", "unbelievableness"] * 40)
    for part in Chunking(7, "tokens").cut([text], start_tokenizer()).texts:
        assert part.startswith(("internationalization", "unbelievableness"))


def test_a_sentence_without_blanks_is_cut_between_its_tokens():
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = "กขคงจฉชซ"  # of a script without blanks; here a sentence is one word of many tokens
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    text = letters * 8
    assert Chunking(16, "tokens").cut([text], TextTokenizer(tokenizer)).texts == [letters * 2] * 4


def test_no_chunk_is_empty_where_a_word_has_more_tokens_than_a_chunk():
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    chunks = Chunking(4, "tokens").cut(["a" * 20 + " " + "b" * 20], TextTokenizer(tokenizer))
    assert all(chunks.texts)
    assert set("".join(chunks.texts)) == {"a", "b", " "}


@pytest.mark.parametrize(
    "values",
    [{"size": 0}, {"size": 5, "overlap": 5}, {"size": 5, "max_chunks": -1}, {"size": 5, "unit": "letters"}],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(SettingError):
        Chunking(**values)


def test_tokens_need_a_tokenizer():
    with pytest.raises(SettingError, match="tokenizer"):
        Chunking(5, "tokens").cut(["a b"])

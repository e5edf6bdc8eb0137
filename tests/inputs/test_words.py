"""Texts to words: kinds, scripts, blanks, and what is refused."""

from __future__ import annotations

import pytest

from megalabel.errors import DataError, SettingError
from megalabel.inputs.words import split_words


def test_split_of_kinds():
    text = "Don't |- ( ps -> Ph )"
    assert split_words([text], "letters") == ["don", "t", "ps", "ph", "\0"]
    assert split_words([text], "words") == ["don", "'", "t", "|", "-", "(", "ps", "-", ">", "ph", ")", "\0"]
    assert split_words([text], "signs") == ["don", "'", "t", "|-", "(", "ps", "->", "ph", ")", "\0"]
    assert split_words([text], "symbols") == ["Don't", "|-", "(", "ps", "->", "Ph", ")", "\0"]


def test_split_of_scripts():
    assert split_words(["Ærø CAFÉ İs\nÉtÉ"], "words") == ["ærø", "cafe", "is", "ete", "\0"]
    assert split_words(["हिन्दी 中文 한국어 кафе́"], "words") == ["हिन्दी", "中", "文", "한국어", "кафе", "\0"]
    assert split_words(["हिन्दी 中文, 한국어"], "letters") == ["हिन्दी", "中", "文", "한국어", "\0"]
    assert split_words(["中文 -> ü"], "signs") == ["中", "文", "->", "u", "\0"]
    assert split_words(["中->ß文"], "signs") == ["中", "->", "ß", "文", "\0"]
    assert split_words(["a\0b", "", "\0", "c"], "words") == ["a", "b", "\0", "\0", "\0", "c", "\0"]
    assert split_words([], "words") == []
    assert split_words("one text", "words") == ["one", "text", "\0"]


def test_many_texts_are_split_as_each_alone():
    texts = ["plain", "é", "more Plain", "", "ΌΣΟΣ Σ", "x\u00a0y", "😀 ok", "\ud800 half", "last"]
    for kind in ("letters", "words", "signs", "symbols"):
        assert split_words(texts, kind) == [word for text in texts for word in split_words([text], kind)]


def test_what_is_no_text():
    with pytest.raises(DataError, match="NoneType"):
        split_words(["a", None], "words")  # type: ignore[list-item]
    with pytest.raises(SettingError, match="lines"):
        split_words(["a"], "lines")  # type: ignore[arg-type]

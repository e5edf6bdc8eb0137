"""Texts to words: kinds, scripts, blanks, and what is refused."""

from __future__ import annotations

import pytest

from megalabel.errors import DataError, SettingError
from megalabel.inputs.words import words_of


def test_split_of_kinds():
    text = "Don't |- ( ps -> Ph )"
    assert words_of([text], "letters") == ["don", "t", "ps", "ph", "\0"]
    assert words_of([text], "words") == ["don", "'", "t", "|", "-", "(", "ps", "-", ">", "ph", ")", "\0"]
    assert words_of([text], "signs") == ["don", "'", "t", "|-", "(", "ps", "->", "ph", ")", "\0"]
    assert words_of([text], "symbols") == ["Don't", "|-", "(", "ps", "->", "Ph", ")", "\0"]


def test_split_of_scripts():
    assert words_of(["Ærø CAFÉ İs\nÉtÉ"], "words") == ["ærø", "cafe", "is", "ete", "\0"]
    assert words_of(["हिन्दी 中文 한국어 кафе́"], "words") == ["हिन्दी", "中", "文", "한국어", "кафе", "\0"]
    assert words_of(["हिन्दी 中文, 한국어"], "letters") == ["हिन्दी", "中", "文", "한국어", "\0"]
    assert words_of(["中文 -> ü"], "signs") == ["中", "文", "->", "u", "\0"]
    assert words_of(["中->ß文"], "signs") == ["中", "->", "ß", "文", "\0"]
    assert words_of(["a\0b", "", "\0", "c"], "words") == ["a", "b", "\0", "\0", "\0", "c", "\0"]
    assert words_of([], "words") == []
    assert words_of("one text", "words") == ["one", "text", "\0"]


def test_many_texts_are_split_as_each_alone():
    texts = ["plain", "é", "more Plain", "", "ΌΣΟΣ Σ", "x\u00a0y", "😀 ok", "\ud800 half", "last"]
    for kind in ("letters", "words", "signs", "symbols"):
        assert words_of(texts, kind) == [word for text in texts for word in words_of([text], kind)]


def test_what_is_no_text():
    with pytest.raises(DataError, match="NoneType"):
        words_of(["a", None], "words")  # type: ignore[list-item]
    with pytest.raises(SettingError, match="lines"):
        words_of(["a"], "lines")  # type: ignore[arg-type]

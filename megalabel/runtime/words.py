"""Splits a text into the words that are features; the patterns are those that the model was trained with."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

END = "\0"  # separates texts in training; a blank within a text
_ACCENTS = "[\u0300-\u036f]+"


def fold(text: str) -> str:
    """The text in lower case, without the accents of Latin, Greek and Cyrillic letters."""
    import unicodedata

    return unicodedata.normalize("NFC", re.sub(_ACCENTS, "", unicodedata.normalize("NFD", text.lower())))


class Splitter:
    """Splits texts by a pattern of `megalabel.inputs.words`.

    Args:
        about: `folds`, whether texts are folded; `ascii` and `other`, the regular expressions of words in texts of
            ASCII alone and in others, which are compiled when the first such text comes.
    """

    def __init__(self, about: dict[str, Any]) -> None:
        self._folds, self._ascii, self._other = bool(about["folds"]), str(about["ascii"]), str(about["other"])

    def __call__(self, text: str) -> list[str]:
        """The words of a text, in their order."""
        if END in text:
            text = text.replace(END, " ")
        is_ascii = text.isascii()
        if self._folds:
            text = text.lower() if is_ascii else fold(text)
            is_ascii = text.isascii()
        return re.findall(self._ascii if is_ascii else self._other, text)

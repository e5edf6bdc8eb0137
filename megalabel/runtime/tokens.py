"""Turns a text into token ids, as the tokenizer of the model does, by tables in the file.

Each character stands for itself, for nothing, for a blank, for a word of its own, or for other characters. What is
between blanks is a word: a token, or divided into the longest pieces that are tokens. A tokenizer that does not
work like this needs the `tokenizers` library.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right

from .container import Container
from .errors import ModelError
from .strings import Strings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SAME, NOTHING, BLANK, WORD, OTHER = range(5)  # what characters of a run stand for
CACHED = 1 << 16  # words whose tokens are kept


class Characters(dict[int, "int | str | None"]):
    """What each character stands for, as `str.translate` takes it; looked up in the file when it first occurs."""

    def __init__(self, file: Container) -> None:
        super().__init__()
        self._starts, self._kinds = file.array("chars.starts", "i"), file.array("chars.kinds", "B")
        self._codes, self._others = file.array("chars.codes", "i"), Strings(file, "chars.others")

    def __missing__(self, code: int) -> int | str | None:
        kind = self._kinds[bisect_right(self._starts, code) - 1]
        found: int | str | None = {NOTHING: None, BLANK: " ", WORD: f" {chr(code)} "}.get(kind, code)
        if kind == OTHER:
            found = self._others[bisect_left(self._codes, code)]
        self[code] = found
        return found


class Tokens:
    """The tokenizer of a model; see `megalabel.exporting.tokens` for the arrays."""

    def __init__(self, file: Container) -> None:
        about = file.model["tokens"]
        self._characters, self._vocabulary = Characters(file), Strings(file, "tokens")
        self._ids = file.array("tokens.ids", "i")
        self._prefix, self._suffix = [int(i) for i in about["prefix"]], [int(i) for i in about["suffix"]]
        self._most = int(about["max_length"]) - len(self._prefix) - len(self._suffix)
        self._unknown, self._pieces = int(about["unknown"]), bool(about["pieces"])
        self._continues, self._longest = str(about["continues"]), int(about["longest"])
        self._cut = int(about["cut"])
        self._added: dict[str, int] = dict(about["added"])
        self._divide = re.compile("|".join(map(re.escape, sorted(self._added, key=len, reverse=True))))
        self._known: dict[str, list[int]] = {}

    def __call__(self, text: str) -> list[int]:
        """The ids of the tokens of a text, with those that the tokenizer adds."""
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()  # halves of surrogate pairs become question marks
        ids: list[int] = []
        at = 0
        if self._added:
            for added in self._divide.finditer(text):
                self._append(text[at : added.start()], ids)
                ids.append(self._added[added.group()])
                at = added.end()
        self._append(text[at:], ids)
        return [*self._prefix, *ids[: self._most], *self._suffix]

    def _append(self, text: str, ids: list[int]) -> None:
        cut = self._cut
        for word in text.translate(self._characters).split(" "):
            if word and len(ids) < self._most:
                for first in range(0, len(word), cut or len(word)):
                    ids += self._of(word[first : first + cut] if cut else word)

    def _of(self, word: str) -> list[int]:
        found = self._known.get(word)
        if found is None:
            found = self._divided(word) if self._pieces else [self._id(word, self._unknown)]
            if len(self._known) >= CACHED:
                self._known.clear()
            self._known[word] = found
        return found

    def _id(self, token: str, otherwise: int) -> int:
        number = self._vocabulary.find(token)
        return int(self._ids[number]) if number >= 0 else otherwise

    def _divided(self, word: str) -> list[int]:
        """The longest piece from the start on, then the longest of the rest; the unknown token if one is none."""
        if len(word) > self._longest:
            return [self._unknown]
        found: list[int] = []
        first = 0
        while first < len(word):
            before = self._continues if first else ""
            for last in range(len(word), first, -1):
                piece = self._id(before + word[first:last], -1)
                if piece >= 0:
                    break
            else:
                return [self._unknown]
            found.append(piece)
            first = last
        return found


class LibraryTokens:
    """A tokenizer of the `tokenizers` library, whose JSON lies in the file."""

    def __init__(self, file: Container) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise ModelError(
                "a tokenizer that only the tokenizers library reads",
                wanted="the library, or a tokenizer that megalabel makes",
                next_step="run pip install tokenizers",
                where=file.path,
            ) from None
        first, last = file.bytes_of("tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_str(file.pages[first:last].decode())
        except Exception as error:  # whatever the library raises
            raise file.refused(f"a damaged tokenizer ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(int(file.model["tokens"]["max_length"]))

    def __call__(self, text: str) -> list[int]:
        """The ids of the tokens of a text."""
        ids: list[int] = self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids
        return ids


def tokens_of(file: Container) -> Any:
    """The tokenizer of a file."""
    return LibraryTokens(file) if file.model["tokens"]["kind"] == "library" else Tokens(file)

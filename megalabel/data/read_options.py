"""How a data set is read where its files alone do not say it: fields, the separator of labels, the encoding."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field, fields
from typing import Any

from megalabel.errors import SettingError

IGNORED = "-"  # as the field of weights or sources: that they are not read
PARTS = ("title", "content", "both")  # of texts that have a title and a content
_ESCAPES = {"\\t": "\t", "\\n": "\n", "tab": "\t", "space": " ", "comma": ",", "semicolon": ";"}


def _option(metavar: str, text: str) -> Any:
    return field(default=None, metadata={"metavar": metavar, "help": text})


@dataclass(frozen=True)
class ReadOptions:
    """The options of reading, each None where the reader decides by itself.

    Attributes:
        format: the format, needed only where a folder holds several or a file has an unusual suffix.
        text_field: the column or key of the texts, instead of `text`.
        labels_field: the column or key of the labels, instead of `labels`.
        weight_field: the column or key of the texts' weights, instead of `weight`; "-" to read no weights.
        source_field: the column or key of the texts' sources, instead of `source`; "-" to read no sources.
        leave_out_source: the source whose texts are left out of the training side.
        label_separator: the text between two labels of one cell. A space means any white space; `\\t`, `\\n`,
            "tab", "space", "comma" and "semicolon" are understood too.
        encoding: the encoding of text files, instead of UTF-8, such as "windows-1252".
        text_parts: what makes a text where the files hold titles and contents: "title", "content" or "both"; by
            default the title of a set that is published as one of titles, else both.
        text_separator: the text between title and content; by default a space, or what the layout has.

    Raises:
        SettingError: an encoding that Python does not know, a bad choice of parts, or an empty field or separator.
    """

    format: str | None = _option("FORMAT", "Format of the data, where a folder holds several.")
    text_field: str | None = _option("NAME", "Column or key of the texts; default: text.")
    labels_field: str | None = _option("NAME", "Column or key of the labels; default: labels.")
    weight_field: str | None = _option("NAME", "Column or key of weights; default: weight; -: none.")
    source_field: str | None = _option("NAME", "Column or key of sources; default: source; -: none.")
    leave_out_source: str | None = _option("NAME", "Train without the texts of this source.")
    label_separator: str | None = _option("TEXT", "Separator of the labels in a cell; default: guessed.")
    encoding: str | None = _option("NAME", "Encoding of text files; default: utf-8.")
    text_parts: str | None = _option(
        "NAME", "Of records with title and content: title, content or both; default: as published."
    )
    text_separator: str | None = _option("TEXT", "Separator of title and content; default: a space.")

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None and (not isinstance(value, str) or not value):
                raise SettingError(f"{value!r} is not a text", wanted="a text", where=option.name)
        if self.encoding is not None and not _is_text_encoding(self.encoding):
            raise SettingError(
                f"{self.encoding!r} is not an encoding of text",
                wanted="a name such as utf-8, utf-16, windows-1252, latin-1, gb18030 or shift_jis",
                where="encoding",
            )
        if self.text_parts not in (None, *PARTS):
            raise SettingError.choice("text_parts", self.text_parts, PARTS)
        if self.label_separator is not None:
            object.__setattr__(self, "label_separator", _ESCAPES.get(self.label_separator, self.label_separator))

    @property
    def text(self) -> str:
        """The column or key of the texts."""
        return self.text_field or "text"

    @property
    def labels(self) -> str:
        """The column or key of the labels."""
        return self.labels_field or "labels"

    def row_fields(self, usual: bool = True) -> tuple[str | None, str | None]:
        """The columns or keys of weights and of sources; None for one that is not read.

        usual: whether they are `weight` and `source` where no other name is given.
        """
        weight, source = self.weight_field or "weight" * usual, self.source_field or "source" * usual
        not_read = ("", IGNORED, self.text, self.labels)
        return None if weight in not_read else weight, None if source in not_read else source

    def given(self) -> dict[str, str]:
        """The options that are set, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


def _is_text_encoding(name: str) -> bool:
    try:
        codecs.getincrementaldecoder(name)
        "a".encode(name)
    except (LookupError, ValueError):  # a NUL in the name is a ValueError
        return False
    return True

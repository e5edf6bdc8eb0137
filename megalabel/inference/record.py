"""Makes the text of a record, such as one line of JSON, as the readers of data sets do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from megalabel.data.formats.title_content import CONTENT, TITLE, TitleAndContent
from megalabel.models.text_list import no_text

TEXT = "text"  # the key, or the column, of the texts
LABELS = ("labels", "score_type", "target_ind", "target_rel")  # fields that an answer has itself, or true labels

Say = Callable[[str], Any]


class Row(NamedTuple):
    """One text, and the other fields of its record, which are passed on to the answer."""

    text: str
    fields: dict[str, Any]


class TextOptions(NamedTuple):
    """How texts are read, where the caller says so.

    format: one of `guess.FORMATS` or `guess.ALIASES`; None: by the suffix of the file and by its start.
    text_field: the key or column of the texts.
    encoding: of the file; None for UTF-8.
    text_parts: what of title and content makes a text, where there is no field of texts: "title", "content" or
        "both"; None for the title of a model of titles, else both.
    text_separator: the text between title and content; None for a space.
    data_name: the name of the data set that the model was trained on.
    trained_field: the key or column of the texts in training; read where a source has it and `text_field` is TEXT.
    trained_format: the format of the data in training, for files of texts that do not show theirs.
    """

    format: str | None = None
    text_field: str = TEXT
    encoding: str | None = None
    text_parts: str | None = None
    text_separator: str | None = None
    data_name: str = ""
    trained_field: str = ""
    trained_format: str = ""


class Notice:
    """A message that the user gets once, however many records it is true of."""

    def __init__(self, say: Say) -> None:
        self._say, self._said = say, False

    def once(self, line: str) -> None:
        """Says the line unless one was said before."""
        if not self._said:
            self._say(line)
            self._said = True


class Records:
    """Makes rows of the records of one source.

    Args:
        options: the key of the texts, and what of titles and contents is read.
        name: what messages call the source.
        say: gets a line if titles and contents are read in place of texts.
    """

    def __init__(self, options: TextOptions, name: str, say: Say) -> None:
        self._key, self._name, self._notice = options.text_field, name, Notice(say)
        self._trained = options.trained_field if options.text_field == TEXT else ""
        self._parts = TitleAndContent(options.data_name, options.text_parts or "auto", options.text_separator)

    def row(self, value: Any, where: str) -> Row:
        """The text of a record, or of a string in its place, and the fields beside it.

        Raises:
            DataError: there is no text in it.
        """
        if isinstance(value, str):
            return Row(value, {})
        if isinstance(value, dict):
            if self._trained and isinstance(value.get(self._trained), str):
                self._notice.once(f"{self._name}: {as_trained(self._trained)}")
                return Row(value[self._trained], _beside(value, (self._trained,)))
            if isinstance(value.get(self._key), str):
                if self._trained:
                    self._notice.once(f"{self._name}: {not_as_trained(self._trained)}")
                return Row(value[self._key], _beside(value, (self._key,)))
            of_parts = any(key in value for key in (*TITLE, *CONTENT))
            if self._key == TEXT and TEXT not in value and of_parts:
                return self._of_parts(value, where)
        raise no_text(value, self._key, "--text-field", where)

    def _of_parts(self, value: dict[str, Any], where: str) -> Row:
        parts = self._parts.parts
        text = self._parts.text(value, where)
        taken = "title and content" if parts == "both" else f"the {parts} alone"
        self._notice.once(f"{self._name}: there is no field {TEXT!r}; the text is {taken} (--text-parts)")
        return Row(text, _beside(value, (*TITLE, *CONTENT)))


def as_trained(field: str) -> str:
    """Says that the texts are read from the field that they were read from in training."""
    return f"the texts are read from {field!r}, as in training"


def not_as_trained(field: str) -> str:
    """Says that this field is not there, so that the usual one is read."""
    return f"there is no {field!r} as in training; the texts are read from {TEXT!r}"


def _beside(value: dict[str, Any], taken: tuple[str, ...]) -> dict[str, Any]:
    return {key: kept for key, kept in value.items() if key not in (*taken, *LABELS)}

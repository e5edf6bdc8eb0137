"""Turns what callers give as texts into a list of strings, or says why it is none."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import PurePath
from typing import Any

import scipy.sparse as sp

from megalabel.data.texts import Texts, check_list
from megalabel.errors import DataError, SettingError, of_type

WANTED = "a list of texts"


def as_texts(texts: object) -> Sequence[str]:
    """The texts as a sequence of strings, in their order.

    Lists, tuples, `Texts`, one-dimensional arrays of strings, columns of pandas, polars, pyarrow and `datasets`,
    and generators are read; what has more than one column, no order, or something else than strings is refused.

    Raises:
        SettingError: one string, a path, an open file, or something that holds no texts one after the other.
        DataError: a table, a dictionary, a set, an array of another shape, or a text that is not a string.
    """
    if isinstance(texts, Texts):
        return texts
    if isinstance(texts, (list, tuple)):
        return _checked(texts)
    _refuse(texts)
    for name in ("to_pylist", "to_list", "tolist"):  # pyarrow; polars and pandas; numpy
        convert = getattr(texts, name, None)
        if callable(convert):
            return _checked(convert())
    if not isinstance(texts, Iterable):
        raise SettingError(of_type(texts), wanted=WANTED, next_step="write [text] for a single text")
    return _checked(list(texts))


def no_text(value: Any, key: str, option: str, where: str) -> DataError:
    """The error for a record without a string under a key."""
    wanted, step = f"a string under the key {key!r}", f"name the key of the texts with {option}"
    if isinstance(value, Mapping) and key in value:
        return DataError(f"no text in {key!r}, which is {value[key]!r:.80}", wanted=wanted, where=where)
    keys = ", ".join(map(repr, value))[:120] if isinstance(value, Mapping) else ""
    found = f"the keys {keys}" if keys else f"{value!r:.60}"
    return DataError(f"no text in {found}", wanted=wanted, next_step=step, where=where)


def check_stream(texts: Any) -> None:
    """Raises for what is no stream of texts or records one after the other, although some of it can be iterated.

    Raises:
        SettingError: one string, one record, or something that cannot be iterated.
        DataError: a table, whose columns would be taken for texts, or a set, whose order is arbitrary.
    """
    if isinstance(texts, (str, bytes, Mapping)) or not isinstance(texts, Iterable):
        raise SettingError(
            of_type(texts), wanted="a stream of texts", next_step="call predict, with [text] for one text"
        )
    if isinstance(texts, Set) or hasattr(texts, "columns"):
        _refuse(texts)


def _refuse(texts: Any) -> None:
    """Raises for what is no list of texts, although some of it can be iterated."""
    if isinstance(texts, (str, bytes, bytearray)):
        what = "one string" if isinstance(texts, str) else "one value of bytes"
        raise SettingError(what, wanted=WANTED, next_step="write [text] for a single text")
    if isinstance(texts, PurePath):
        raise SettingError(
            f"the path {texts}",
            wanted=WANTED,
            next_step="read its texts first, or use `megalabel predict RUN FILE`",
        )
    if isinstance(texts, io.IOBase):
        raise SettingError(
            "an open file", wanted=WANTED, next_step="read its lines first, with file.read().splitlines()"
        )
    if sp.issparse(texts):
        check_list(texts)
    columns = _columns(texts)
    if columns is not None:
        name = "text" if "text" in columns or not columns else columns[0]
        raise DataError(
            f"a table ({_kind(texts)}) with the columns {', '.join(map(repr, columns))[:80]}",
            wanted=f"{WANTED}, such as one of its columns",
            next_step=f"give the column of the texts, as in table[{name!r}]",
            where="texts",
        )
    if isinstance(texts, Mapping):
        raise DataError(
            f"{of_type(texts)} with {len(texts)} keys",
            wanted=WANTED,
            next_step="give its values, list(texts.values()), or the entry that holds the texts",
            where="texts",
        )
    if isinstance(texts, Set):
        raise DataError(
            f"{of_type(texts)}, whose order is arbitrary",
            wanted=f"{WANTED}, since answers come in the order of the texts",
            next_step="give a list, such as sorted(texts)",
            where="texts",
        )
    shape = getattr(texts, "shape", None)
    if isinstance(shape, tuple) and len(shape) != 1:
        many = "give one column of it, as in texts[:, 0]" if len(shape) else "write [text] for a single text"
        raise DataError(
            f"an array of {len(shape)} dimensions, shape {shape}",
            wanted=f"{WANTED}, or an array of one dimension",
            next_step=many,
            where="texts",
        )


def _columns(texts: Any) -> list[Any] | None:
    """The names of a table's columns; None for what is no table."""
    names = getattr(texts, "column_names", None)  # pyarrow, datasets
    if names is None and not isinstance(texts, type) and len(getattr(texts, "shape", ())) == 2:
        names = getattr(texts, "columns", None)  # pandas, polars
    if names is None or callable(names):
        return None
    return [name for part in names.values() for name in part] if isinstance(names, Mapping) else list(names)


def _checked(texts: Sequence[Any]) -> Sequence[str]:
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(
                f"a text of type {_kind(text)} (text {i})",
                wanted="a string",
                next_step=_repair(text),
                where="texts",
            )
    return texts


def _repair(text: object) -> str:
    """How something else than a string becomes one."""
    if text is None or isinstance(text, float):
        return 'give "" for an empty text'
    if isinstance(text, Mapping):
        return "give the texts of the records, as in [record['text'] for record in records]"
    return "decode it, as in text.decode()" if isinstance(text, bytes) else "convert the texts to str"


def _kind(value: object) -> str:
    return type(value).__name__

"""The labels of models whose own files number them: names, one per line, or a vocabulary that Annif has loaded."""

from __future__ import annotations

import csv
import io
from collections.abc import Sized
from pathlib import Path
from typing import Any, NamedTuple

from megalabel.data.texts import Texts
from megalabel.errors import FormatError, SettingError
from megalabel.storage.reading import read_bytes, reading

VOCABULARY = "subjects.csv"  # of Annif, in data/vocabs/VOCABULARY
_NAME = "label_"  # before the language, in a column of names
_LANGUAGE = "en"  # whose names are taken, if it is there


class Labels(NamedTuple):
    """The names of L labels, and by label what else is known, as `metadata_of` takes it."""

    names: Texts
    records: dict[int, dict[str, Any]]


def read_labels(path: Path, language: str | None = None) -> Labels:
    """Reads a text file with a name per line, or a CSV file with a column `uri`, as Annif's `subjects.csv`.

    Args:
        path: the file; line i, or row i below the header, belongs to label i.
        language: the language of the names; default: English if the file has it, else its first language. Labels
            without a name in it get that of another language, or their URI.

    Raises:
        FormatError: the file is damaged.
        SettingError: a language that it does not have.
    """
    with reading(
        path,
        wanted="a label name per line, or Annif's subjects.csv",
        next_step="give another file",
        what="no labels can be read",
    ):
        lines = io.StringIO(str(read_bytes(path, path.stat().st_size), "utf-8-sig"), newline="")
        if path.suffix.lower() != ".csv":
            if language is not None:
                raise no_languages(path)
            return Labels(Texts.from_strings(_names(lines.read())), {})
        rows = csv.DictReader(lines)
        languages = [name.removeprefix(_NAME) for name in rows.fieldnames or () if name.startswith(_NAME)]
        if "uri" not in (rows.fieldnames or ()) or not languages:
            raise ValueError("no columns uri and label_en, or of another language")
        records = [_record(row, languages) for row in rows]
    if language is not None and language not in languages:
        raise SettingError(f"language = {language!r}", wanted=" or ".join(languages), where=path)
    chosen = language or (_LANGUAGE if _LANGUAGE in languages else languages[0])
    names = (
        record.get("names", {}).get(chosen) or next(iter(record.get("names", {}).values()), record["uri"])
        for record in records
    )
    return Labels(Texts.from_strings(names), dict(enumerate(records)))


def no_languages(where: object) -> FormatError:
    """The error for a language of names that have none."""
    return FormatError(
        "a language of label names without languages",
        wanted="Annif's subjects.csv, with a column such as label_en for each language",
        next_step="give it as labels, or leave the language out",
        where=str(where),
    )


def check_count(names: Sized, n_labels: int, *, more: bool = False) -> None:
    """FormatError unless there is a name for each label of a model; `more` names may be allowed."""
    if len(names) < n_labels or (len(names) > n_labels and not more):
        raise FormatError(
            f"{len(names):,} label names for {n_labels:,} labels of the model",
            wanted="a name for each label, in the order of the model",
            next_step="give the complete list, or leave it out for the labels of the model",
            where="labels",
        )


def vocabulary_of(project: Path) -> Path | None:
    """The vocabulary beside a project folder of Annif, if it is the only one."""
    found = sorted(project.absolute().parent.parent.glob(f"vocabs/*/{VOCABULARY}"))
    return found[0] if len(found) == 1 else None


def _names(text: str) -> list[str]:
    """The lines of a text, in which a name may hold other separators of lines than a newline.

    Raises:
        ValueError: a line is blank.
    """
    lines = text.split("\n")
    names = [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise ValueError(f"line {number} of {len(names)} holds no name")
    return names


def _record(row: dict[str, str], languages: list[str]) -> dict[str, Any]:
    if not (row["uri"] or "").strip():
        raise ValueError("a row without a URI")
    names = {
        language: row[_NAME + language] for language in languages if (row.get(_NAME + language) or "").strip()
    }
    record: dict[str, Any] = {"uri": row["uri"]}
    if names:
        record["names"] = names
    if row.get("notation"):
        record["notation"] = row["notation"]
    return record

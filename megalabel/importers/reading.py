"""Recognizes the model of another tool, and makes one of megalabel from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from megalabel.data.metadata_records import metadata_of
from megalabel.data.texts import Texts
from megalabel.errors import FormatError, SettingError
from megalabel.importers.fasttext import MAGIC, read_fasttext
from megalabel.importers.labels import Labels, no_languages, read_labels, vocabulary_of
from megalabel.importers.omikuji import SETTINGS, read_omikuji
from megalabel.importers.pecos import is_pecos, read_pecos
from megalabel.models.base import Classifier
from megalabel.storage.paths import as_path
from megalabel.storage.reading import open_regular, reading

OMIKUJI_OF_ANNIF, FASTTEXT_OF_ANNIF = "omikuji-model", "fasttext-model"
WANTED = (
    "a model.bin of fastText, or a folder of Omikuji, of PECOS's XR-Linear, or of an Annif project with the "
    "backend omikuji or fasttext"
)


def read_model(path: str | Path, labels: str | Path | None = None, language: str | None = None) -> Classifier:
    """The model of another tool as one of megalabel, with the same scores.

    Models of Omikuji, of PECOS, and of Annif's backend omikuji read rows of features, which the tool makes from
    texts; those of fastText read texts.

    Args:
        path: a `model.bin` of fastText, a folder of Omikuji 0.5 or of an XR-Linear or text2text model of PECOS, or
            the folder of a project in Annif's data folder, with the backend omikuji or fasttext.
        labels: the names of the labels: a file with one per line, or Annif's `subjects.csv`; default: what the
            model holds, for Annif the only vocabulary in its data folder.
        language: the language of the names in `subjects.csv`.

    Raises:
        FormatError: there is no such model, or it is damaged.
        SettingError: an Annif project with several vocabularies and no labels, or more labels than names.
        ResourceError: too little memory.
    """
    path = as_path(path, "path")
    of_annif = next((name for name in (OMIKUJI_OF_ANNIF, FASTTEXT_OF_ANNIF) if (path / name).exists()), None)
    given = _labels(path, labels, language, of_annif)
    if language is not None and given is None:
        raise no_languages(path)
    names = given.names if given else None
    with reading(
        path, wanted=WANTED, next_step="give the model again as the tool wrote it", what="no model can be read"
    ):
        if of_annif == FASTTEXT_OF_ANNIF:
            assert given is not None
            return _with_metadata(*_by_subject(path / FASTTEXT_OF_ANNIF, given))
        model: Classifier
        if of_annif == OMIKUJI_OF_ANNIF:
            model = read_omikuji(path / OMIKUJI_OF_ANNIF, names)
        elif (path / SETTINGS).is_file():
            model = read_omikuji(path, names)
        elif is_pecos(path):
            model = read_pecos(path, names)
        elif path.is_file() and _is_fasttext(path):
            model = read_fasttext(path, names)
        else:
            raise FormatError(
                _other(path),
                wanted=WANTED,
                next_step="give the .bin file" if path.suffix == ".vec" else "check the path",
                where=path,
            )
    return _with_metadata(model, given.records if given else {})


def _labels(path: Path, labels: str | Path | None, language: str | None, of_annif: str | None) -> Labels | None:
    if labels is None and of_annif is not None:
        labels = vocabulary_of(path)
        if labels is None:
            raise SettingError(
                f"{path} has no vocabulary beside it, or several",
                wanted="that of the project",
                next_step="give data/vocabs/VOCABULARY/subjects.csv of Annif as labels",
                where="labels",
            )
    return None if labels is None else read_labels(as_path(labels, "labels"), language)


def _by_subject(path: Path, given: Labels) -> tuple[Classifier, dict[int, dict[str, Any]]]:
    """A fastText model of Annif, whose labels are numbers of subjects."""
    model = read_fasttext(path)
    subjects = np.array([int(label) for label in model.label_texts])
    model.label_texts = Texts.from_strings(given.names[int(subject)] for subject in subjects)
    return model, {row: given.records[int(s)] for row, s in enumerate(subjects) if int(s) in given.records}


def _with_metadata(model: Classifier, records: dict[int, dict[str, Any]]) -> Classifier:
    model.metadata = metadata_of(model.label_texts, records) if records else None
    return model


def _other(path: Path) -> str:
    """What a path is that holds no model."""
    if not path.exists():
        return "there is no such file or folder"
    if path.suffix == ".vec":
        return "vectors of words without labels"
    return "a folder without such a model" if path.is_dir() else "a file that holds no such model"


def _is_fasttext(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(len(MAGIC)) == MAGIC

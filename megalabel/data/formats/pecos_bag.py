"""PECOS's folder without texts: features in X.trn.npz, labels in Y.trn.npz, and both of the test side.

The features may also be in a folder inside, as in PECOS's archives of the public data sets:
tfidf-attnxml/X.trn.npz.
"""

from __future__ import annotations

from pathlib import Path

import scipy.sparse as sp

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Found, Sink, Source
from megalabel.data.formats.pecos import load_matrix, read_sides
from megalabel.data.formats.pecos import write as write_sides
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData
from megalabel.errors import DataError


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None."""
    if not (folder / "Y.trn.npz").is_file():
        return None
    places = [folder, *sorted(p for p in folder.iterdir() if p.is_dir() and p.name.startswith("tfidf"))]
    place = next((p for p in places if (p / "X.trn.npz").is_file()), None)
    if place is None:
        return None
    test = place / "X.tst.npz"
    return Found(folder, place / "X.trn.npz", test if test.is_file() else None)


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    width: list[int] = []

    def inputs(file: Path) -> tuple[Texts, sp.csr_matrix]:
        matrix = load_matrix(file)
        width.append(matrix.shape[1])
        if width[0] != width[-1]:
            raise DataError(
                f"{width[-1]:,} features, in the training file {width[0]:,}",
                wanted="the same number in both files",
                where=file,
            )
        return Texts.blank(matrix.shape[0]), matrix

    return read_sides(source, findings, inputs)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the features and the labels; DataError for a data set of texts."""
    if data.train.features is None:
        raise DataError(
            f"{data.name} holds texts, not features",
            wanted="bag-of-words features",
            next_step="convert to pecos, whose own preprocessing makes features of texts",
            where=data.path,
        )
    write_sides(data, sink)

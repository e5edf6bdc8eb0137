"""PECOS's folder: X.trn.txt with one text per line, Y.trn.npz with its labels, X.tst.txt and Y.tst.npz.

The npz files are scipy CSR matrices (N, L). Label names come from output-items.txt, Y.txt or labels.txt, one per
line. Features beside the texts (X.trn.npz) are not read; a folder of these alone is of the format pecos-bag.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.assembly import check_data, check_largest_id, make_split
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Found, Sink, Source
from megalabel.data.formats.output import drop_unseen, line_writer, single_lines, write_filters
from megalabel.data.label_rows import LabelRows, check_count
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError

Inputs = Callable[[Path], tuple[Texts, sp.csr_matrix | None]]  # texts, or blank texts and features, of a file
_DAMAGED = (
    ValueError, OSError, KeyError, EOFError, TypeError, AttributeError, OverflowError, MemoryError, RuntimeError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_NAMES = ("output-items.txt", "output-labels.txt", "Y.txt", "labels.txt")


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None."""
    train = find_file(folder, "X.trn.txt")
    if train is None or not (folder / "Y.trn.npz").is_file():
        return None
    return Found(folder, train, find_file(folder, "X.tst.txt"))


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    return read_sides(source, findings, lambda file: (read_text_lines(file, findings), None))


def read_sides(source: Source, findings: Findings, inputs: Inputs) -> CorpusData:
    """Reads the labels of both sides, and their texts or features with `inputs`."""
    file = find_file(source.folder, *_NAMES)
    names = read_text_lines(file, findings) if file is not None else None
    train = _split(source, source.only or "trn", source.train, inputs, findings, names, file)
    test = None if source.test is None else _split(source, "tst", source.test, inputs, findings, names, file)
    n_labels = train.labels.shape[1]
    if test is not None and test.labels.shape[1] != n_labels:
        raise DataError(
            f"{test.labels.shape[1]:,} labels, in Y.trn.npz {n_labels:,}",
            wanted="the same number in both files",
            next_step="check that both files belong together",
            where=source.folder / "Y.tst.npz",
        )
    names = Texts.numbers(n_labels) if names is None else names
    data = CorpusData(source.name, train, test, names, source.folder)
    return check_data(data, findings, file or source.folder / "Y.trn.npz")


def _split(
    source: Source, side: str, file: Path, inputs: Inputs, findings: Findings, names: Texts | None, of: Path | None
) -> Split:
    path = source.folder / f"Y.{side}.npz"
    if not path.is_file():
        raise DataError(
            f"{file.name} exists, but {path.name} does not",
            wanted=f"{path.name} with the labels of each text",
            where=source.folder,
        )
    labels = load_matrix(path)
    if (labels.data != 1).any():
        message = f"the value {labels.data[labels.data != 1][0]:g}; a label has no weight, and all but 0 count"
        findings.note("weights", path, message, count=int((labels.data != 1).sum()))
        labels.eliminate_zeros()
    if names is not None and of is not None and len(names) != labels.shape[1]:
        raise DataError(
            f"{len(names):,} label names, but {path.name} has {labels.shape[1]:,} columns",
            wanted="one name for each label",
            next_step="check that both files belong together",
            where=of,
        )
    texts, features = inputs(file)
    n = labels.shape[0]
    rows = LabelRows(path, labels.indices.astype(np.int64), np.diff(labels.indptr), np.arange(1, n + 1))
    check_count(texts, file, rows)
    if names is None:
        check_largest_id(rows, labels.shape[1])
    known = f"{path.name} has"
    return make_split(source, side, texts, rows, labels.shape[1], findings, known, features=features)


def load_matrix(path: Path) -> sp.csr_matrix:
    """A scipy sparse matrix in a .npz file as float32 CSR; DataError for a damaged file. No pickles are read."""
    try:
        with path.open("rb") as file:
            matrix = sp.csr_matrix(sp.load_npz(file), dtype=np.float32)
        matrix.check_format()
    except _DAMAGED as error:
        raise DataError(
            f"cannot be read as a sparse matrix ({str(error).splitlines()[0][:120] if str(error) else error!r})",
            wanted="a matrix that scipy.sparse.save_npz wrote",
            next_step="copy or write it again",
            where=path,
        ) from error
    matrix.sum_duplicates()
    if not np.isfinite(matrix.data).all():
        raise DataError("a value that is not finite", wanted="finite values", where=path)
    return matrix


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the texts, the labels and output-items.txt, which PECOS's text2text and XR-Transformer read.

    A data set of features is written with X.trn.npz for the texts.
    """
    drop_unseen(data, sink, "the npz files of PECOS, whose labels are columns,")
    with line_writer(sink, "output-items.txt") as put:
        for name in single_lines(data.label_texts, sink, "label name"):
            put(name)
    for side, split in (("trn", data.train), ("tst", data.test)):
        if split is None:
            continue
        sp.save_npz(sink.folder / f"Y.{side}.npz", split.labels)
        if split.features is not None:
            sp.save_npz(sink.folder / f"X.{side}.npz", split.features)
            continue
        with line_writer(sink, f"X.{side}.txt") as put:
            for text in single_lines(split.texts, sink, "training text" if side == "trn" else "test text"):
                put(text)
    write_filters(data, sink)

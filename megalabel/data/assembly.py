"""Assembles the splits of a data set, with the checks that are common to all formats."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Source
from megalabel.data.label_names import note_label_names, note_unseen_names
from megalabel.data.label_rows import MAX_LABELS, LabelRows, label_matrix, read_filter
from megalabel.data.row_values import RowValues, with_files_beside
from megalabel.data.text_lines import find_file
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split, Unseen
from megalabel.errors import DataError, line_of


def make_split(
    source: Source,
    side: str,
    texts: Texts,
    rows: LabelRows,
    n_labels: int,
    findings: Findings,
    known_from: str,
    unseen: Unseen | None = None,
    features: sp.csr_matrix | None = None,
    values: RowValues | None = None,
) -> Split:
    """Makes a split: checks its labels against L, and reads its filter pairs, weights and sources.

    Args:
        source: the files of the data set.
        side: the prefix of the split's files, "trn" or "tst".
        texts: the N texts.
        rows: the labels of each text.
        n_labels: the number of labels, L.
        findings: collects irregularities.
        known_from: the source of L for messages, such as "Y.txt has".
        unseen: true labels without a column.
        features: (N, V) CSR of a bag-of-words file.
        values: the weights and sources that the file of the texts has; others are read from files beside it.

    Raises:
        DataError: more labels than int32 can number, an id of L or more, bad filter pairs, or bad weights.
    """
    if n_labels > MAX_LABELS:
        raise DataError(
            f"{n_labels:,} labels",
            wanted=f"at most {MAX_LABELS:,}",
            where=rows.file,
        )
    labels = label_matrix(rows, n_labels, findings, known_from)
    unlabeled = np.flatnonzero((np.diff(labels.indptr) == 0) if unseen is None else _unlabeled(labels, unseen))
    if len(unlabeled):
        line = int(rows.lines[unlabeled[0]])
        message = "row without a label; it is kept, and a test row counts in the mean of every metric"
        findings.note("bare", rows.file, message, line=line, count=len(unlabeled), severity="info")
    side = source.only or side
    pairs = read_filter(source.folder, side, (len(texts), n_labels), findings)
    weights, sources = with_files_beside(values, source.folder, side, len(texts), findings)
    return Split(texts, labels, pairs, features, unseen, weights, sources)


def _unlabeled(labels: sp.csr_matrix, unseen: Unseen) -> np.ndarray:
    return np.asarray(np.diff(labels.indptr) + np.bincount(unseen.rows, minlength=labels.shape[0]) == 0)


def unseen_ids(rows: LabelRows, n_labels: int, findings: Findings) -> tuple[LabelRows, Unseen | None]:
    """Moves the ids of a test split that training lacks to `Unseen`, where no file says how many labels exist."""
    beyond = rows.ids >= n_labels
    if not beyond.any():
        return rows, None
    of_label = rows.rows()[beyond]
    note_unseen(findings, rows, int(of_label[0]), str(rows.ids[beyond][0]), int(beyond.sum()))
    return rows.keep(~beyond), Unseen(of_label, Texts.from_strings(str(i) for i in rows.ids[beyond].tolist()))


def note_unseen(findings: Findings, rows: LabelRows, row: int, name: str, count: int) -> None:
    """Notes that some test labels have no column."""
    findings.note(
        "unseen",
        rows.file,
        f"label {name!r} is not in the training data and has no column; it still counts as a true label "
        "in metrics that divide by the number of true labels",
        line=int(rows.lines[row]),
        count=count,
    )


def check_largest_id(rows: LabelRows, n_labels: int, header_line: int | None = None) -> None:
    """Raises DataError if L is far larger than the data suggests, which is most likely a typing error.

    Args:
        rows: the labels of the training texts.
        n_labels: L, which is not confirmed by a list of label names.
        header_line: the line of the header that states L; None where L follows from the largest id.
    """
    if n_labels <= 1_000_000 or n_labels <= 1_000_000 + 100 * len(np.unique(rows.ids)):
        return
    found = f"the header says {n_labels:,} labels, but there are only {len(rows.ids):,} pairs of text and label"
    if header_line is None:
        header_line = int(rows.lines[rows.rows()[int(rows.ids.argmax())]])
        found = f"label id {n_labels - 1:,} among only {len(rows.ids):,} labels, and nothing says how many exist"
    raise DataError(
        found,
        wanted="ids counted from 0 without large gaps, or a list of label names",
        next_step="correct the number, put a list of names (Y.txt, labels.txt) beside the file, or write the ids "
        "as texts in quotes, which makes them names",
        where=line_of(rows.file, header_line),
    )


def check_data(data: CorpusData, findings: Findings, labels_file: object, where: Path | None = None) -> CorpusData:
    """Checks the whole data set, and returns it with its findings so far.

    Args:
        data: the data set.
        findings: collects notes on label names and coverage, if it collects at all.
        labels_file: the file of the label names, for messages.
        where: the file of the labels of the texts, if it is not one of several in the folder.

    Raises:
        DataError: no training text, or none of the texts that are measured, has a label.
    """
    train = data.train
    if data.n_labels == 0 or train.labels.nnz == 0:
        step = "check that the label file or column is the right one"
        raise DataError(
            f"no {'' if findings.measured else 'training '}text of {len(train):,} has a label",
            wanted="at least one",
            next_step=f"{step}, or use `predict` for texts without labels" if findings.measured else step,
            where=where or data.path,
        )
    note_label_names(data, findings, str(labels_file))
    note_unseen_names(data, findings)
    if findings.collect:
        _note_more(data, findings, str(labels_file))
    return replace(data, findings=tuple(findings.all()), opened=findings.options.given())


def _note_more(data: CorpusData, findings: Findings, labels_file: str) -> None:
    """Adds what only a check of the data looks for: repeated names, spare files, labels of the test texts only."""
    train = data.train
    _note_names(data, findings, labels_file)
    if data.test is None and data.path is not None and data.path.is_dir():
        spare = find_file(data.path, "tst_filter_labels.txt", "filter_labels_test.txt")
        if spare is not None:
            findings.note("spare-filter", spare, "filter pairs for a test split that does not exist; not read")
    in_train = np.bincount(train.labels.indices, minlength=data.n_labels) > 0
    if data.test is not None:
        in_test = np.bincount(data.test.labels.indices, minlength=data.n_labels) > 0
        only = np.flatnonzero(in_test & ~in_train)
        if len(only):
            findings.note(
                "test-only",
                None,
                f"label {only[0]} ({data.label_texts[int(only[0])]!r}) occurs in test but in no training text; "
                "it keeps its column",
                count=len(only),
            )


def _note_names(data: CorpusData, findings: Findings, where: str) -> None:
    """Notes blank label names and repeated ones."""
    names = list(data.label_texts)
    blank = [i for i, name in enumerate(names) if not name.strip()]
    if blank:
        findings.note("blank-name", where, f"label {blank[0]} has a blank name", count=len(blank))
    if len(set(names)) < len(names) - max(len(blank) - 1, 0):
        first: dict[str, int] = {}
        repeated = [(first[n], i) for i, n in enumerate(names) if n.strip() and first.setdefault(n, i) != i]
        if repeated:
            a, b = repeated[0]
            message = f"labels {a} and {b} have the same name {names[a]!r}; they remain two labels"
            findings.note("same-name", where, message, count=len(repeated))

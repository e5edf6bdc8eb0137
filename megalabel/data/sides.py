"""Putting the sides of a data set together, and the checks that hold for every format."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus, Split, Unseen
from megalabel.data.findings import Findings
from megalabel.data.formats import Source
from megalabel.data.lines import find
from megalabel.data.rows import MOST_LABELS, LabelRows, label_matrix, read_filter
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of


def split_of(
    source: Source,
    side: str,
    texts: Texts,
    rows: LabelRows,
    n_labels: int,
    findings: Findings,
    known_from: str,
    unseen: Unseen | None = None,
    features: sp.csr_matrix | None = None,
) -> Split:
    """One side ("trn" or "tst") with its filter file, its labels checked against L."""
    if n_labels > MOST_LABELS:
        raise DataError(
            f"{n_labels:,} labels",
            wanted=f"at most {MOST_LABELS:,}",
            next_step="check the header",
            where=rows.file,
        )
    labels = label_matrix(rows, n_labels, findings, known_from)
    bare = np.flatnonzero((np.diff(labels.indptr) == 0) if unseen is None else _bare(labels, unseen))
    if len(bare):
        line = int(rows.lines[bare[0]])
        message = "row without a label; it stays, and a test row counts in every mean"
        findings.note("bare", rows.file, message, line=line, count=len(bare), severity="info")
    pairs = read_filter(source.folder, side, (len(texts), n_labels), findings)
    return Split(texts, labels, pairs, features, unseen)


def _bare(labels: sp.csr_matrix, unseen: Unseen) -> np.ndarray:
    return np.asarray(np.diff(labels.indptr) + np.bincount(unseen.rows, minlength=labels.shape[0]) == 0)


def unseen_ids(rows: LabelRows, n_labels: int, findings: Findings) -> tuple[LabelRows, Unseen | None]:
    """Takes out of a test side the ids beyond training's, where no file says how many labels there are."""
    beyond = rows.ids >= n_labels
    if not beyond.any():
        return rows, None
    of_label = rows.rows()[beyond]
    note_unseen(findings, rows, int(of_label[0]), str(rows.ids[beyond][0]), int(beyond.sum()))
    return rows.keep(~beyond), Unseen(of_label, Texts.of(str(i) for i in rows.ids[beyond].tolist()))


def note_unseen(findings: Findings, rows: LabelRows, row: int, name: str, count: int) -> None:
    """Notes test labels that got no column."""
    findings.note(
        "unseen",
        rows.file,
        f"label {name!r} is not among the known labels; it gets no column, and still counts as a true label "
        "where a metric divides by their number",
        line=int(rows.lines[row]),
        count=count,
    )


def refuse_wild_ids(rows: LabelRows, n_labels: int, header_line: int | None = None) -> None:
    """DataError where L, which no list of names confirms, is far beyond what the data fills: likely a slip.

    header_line: the line of the header that says L, or None where the largest id does.
    """
    if n_labels <= 1_000_000 + 1000 * len(rows.ids):
        return
    slip = f"the header says {n_labels:,} labels, but there are only {len(rows.ids):,} pairs of text and label"
    if header_line is None:
        header_line = int(rows.lines[rows.rows()[int(rows.ids.argmax())]])
        slip = f"label id {n_labels - 1:,} among only {len(rows.ids):,} labels, and nothing says how many exist"
    raise DataError(
        slip,
        wanted="ids counted from 0 without large gaps, or a list of label names",
        next_step="correct the number, or put a list of names (Y.txt, labels.txt) beside the file",
        where=line_of(rows.file, header_line),
    )


def finish(corpus: Corpus, findings: Findings, labels_file: object) -> Corpus:
    """The checks on the whole data set: something to learn, names that are there and differ, coverage."""
    train = corpus.train
    if corpus.n_labels == 0 or train.labels.nnz == 0:
        raise DataError(
            f"no training text of {len(train):,} has a label",
            wanted="labels to learn from",
            next_step="check that the label file or column is the right one",
            where=corpus.path,
        )
    if not findings.collect:  # what follows only tells
        return corpus
    _names(corpus, findings, str(labels_file))
    if corpus.test is None and corpus.path is not None and corpus.path.is_dir():
        spare = find(corpus.path, "tst_filter_labels.txt", "filter_labels_test.txt")
        if spare is not None:
            findings.note("spare-filter", spare, "filter pairs for a test side that is not there; not read")
    in_train = np.bincount(train.labels.indices, minlength=corpus.n_labels) > 0
    if corpus.test is not None:
        in_test = np.bincount(corpus.test.labels.indices, minlength=corpus.n_labels) > 0
        only = np.flatnonzero(in_test & ~in_train)
        if len(only):
            findings.note(
                "test-only",
                None,
                f"label {only[0]} ({corpus.label_texts[int(only[0])]!r}) is in test, in no training text; "
                "it keeps its column",
                count=len(only),
            )
    return corpus


def _names(corpus: Corpus, findings: Findings, where: str) -> None:
    """Notes blank label names, repeated ones, and those that differ in case or white space only."""
    names = list(corpus.label_texts)
    blank = [i for i, name in enumerate(names) if not name.strip()]
    if blank:
        findings.note("blank-name", where, f"label {blank[0]} has a blank name", count=len(blank))
    if len(set(names)) < len(names) - max(len(blank) - 1, 0):
        first: dict[str, int] = {}
        again = [(first[n], i) for i, n in enumerate(names) if n.strip() and first.setdefault(n, i) != i]
        if again:
            a, b = again[0]
            message = f"labels {a} and {b} share the name {names[a]!r}; they stay two labels"
            findings.note("same-name", where, message, count=len(again))

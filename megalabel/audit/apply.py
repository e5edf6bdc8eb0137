"""Applies findings of an audit to a copy of the data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from megalabel.audit.finding import LabelFinding
from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.data.types import Split
from megalabel.errors import DataError
from megalabel.kernels.sparse.sparse_rows import remove_pairs


def apply(data: Corpus, findings: Sequence[LabelFinding]) -> Corpus:
    """The data set with the changes of all these findings; `data` itself stays as it is.

    Wrong labels are taken from their training texts and missing ones given to them. A duplicate or synonym becomes
    the label that stays, in both splits, and is no label any more.

    Args:
        data: the data set that was audited.
        findings: those that are right.

    Raises:
        DataError: a finding of another data set, or labels that would become each other.
    """
    names = data.label_texts
    n, n_labels = data.train.labels.shape
    for finding in findings:
        if not _fits(finding, data):
            place = f" in row {finding.row}" if finding.other_id is None else f", to become {finding.other!r:.80}"
            raise DataError(
                f"a finding about the label {finding.label!r:.80} (id {finding.label_id}){place}",
                wanted=f"findings about {data.name} as it is, with {n:,} training texts and {n_labels:,} labels",
                next_step="audit this data set, and apply what was found there",
                where="findings",
            )
    pairs = {
        kind: np.array([(f.row, f.label_id) for f in findings if f.kind == kind], np.int64).reshape(-1, 2)
        for kind in ("wrong", "missing")
    }
    labels = data.train.labels.tocsr().copy()
    remove_pairs(labels, pairs["wrong"])
    labels = _with_pairs(labels, pairs["missing"])
    target, stays = _targets(n_labels, findings, names)
    train = _merged(replace(data.train, labels=labels), target, len(stays))
    test = None if data.test is None else _merged(data.test, target, len(stays))
    if len(stays) == n_labels:
        return replace(data, train=train, test=test)
    left = Texts.from_strings([names[int(i)] for i in stays])
    known = None if data.metadata is None else data.metadata.relabeled(target, names, left)
    return replace(data, train=train, test=test, label_texts=left, metadata=known)


def _fits(finding: LabelFinding, data: Corpus) -> bool:
    """Whether a finding is about labels and a text that the data set has, by number and by name."""
    names, texts = data.label_texts, data.train.texts
    labels = [(finding.label_id, finding.label), (finding.other_id, finding.other)]
    for i, name in labels:
        if i is not None and not (0 <= i < len(names) and name in (None, names[i])):
            return False
    row = finding.row
    return row is None or (0 <= row < len(texts) and texts[row].startswith(str(finding.text)))


def _targets(n: int, findings: Sequence[LabelFinding], names: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The new id of each label (n,), and the labels that stay, ascending."""
    parent = np.arange(n)
    for finding in findings:
        if finding.kind in ("duplicate", "synonym") and finding.other_id is not None:
            parent[finding.label_id] = finding.other_id
    root, changed = parent, int((parent != np.arange(n)).sum())
    for _ in range(changed + 1):  # labels may become labels that become others
        root, before = parent[root], root
        if np.array_equal(root, before):
            break
    else:
        at = int(np.flatnonzero(root != before)[0])
        raise DataError(
            f"findings by which the label {names[at]!r:.80} would become itself",
            wanted="of two labels one that stays",
            next_step="remove one of the two findings",
            where="findings",
        )
    stays = np.flatnonzero(root == np.arange(n))
    return np.searchsorted(stays, root), stays


def _merged(split: Split, target: np.ndarray, n: int) -> Split:
    """A split whose labels have new ids, of which several may be the same."""
    if n == len(target):
        return split
    labels = split.labels.tocoo()
    found = sp.csr_matrix((np.ones(labels.nnz, np.float32), (labels.row, target[labels.col])), (len(split), n))
    found.sum_duplicates()
    found.data[:] = 1
    pairs = split.filter
    if pairs is not None:
        pairs = np.stack([pairs[:, 0], target[pairs[:, 1]]], axis=1)
    return replace(split, labels=found, filter=pairs)


def _with_pairs(labels: sp.csr_matrix, pairs: np.ndarray) -> sp.csr_matrix:
    """Labels (N, L) of ones with further pairs (row, label)."""
    more = sp.csr_matrix((np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])), labels.shape)
    found = (labels + more).tocsr().astype(np.float32)
    found.data[:] = 1
    found.sort_indices()
    return found

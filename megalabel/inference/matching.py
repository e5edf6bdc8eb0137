"""Brings the labels of a data set into the columns of a model, by URI or by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError

SHOWN = 3  # names that a message lists


@dataclass(frozen=True)
class Truth:
    """The true labels of a split in the columns of a model.

    Attributes:
        labels: (N, L) float32 CSR of ones.
        n_true: (N,) int64, the number of true labels of each text, those that the model lacks included.
        filter: (F, 2) int64 pairs (row, column), or None.
        columns: (L of the data set,) int64, the column of each of its labels, -1 where the model lacks it.
        notes: what is said of labels that differ, one sentence each.
    """

    labels: sp.csr_matrix
    n_true: np.ndarray
    filter: np.ndarray | None
    columns: np.ndarray
    notes: list[str] = field(default_factory=list)

    @property
    def same_labels(self) -> bool:
        """Whether every label of one side is a label of the other, in whatever order."""
        n = int(self.labels.shape[1])
        return len(self.columns) == n and len(np.unique(self.columns[self.columns >= 0])) == n


def match_labels(
    names: Sequence[str], data: CorpusData, split: Split, metadata: LabelMetadata | None = None
) -> Truth:
    """The truth of a split for a model with these label names.

    Labels in the same order keep their columns, whatever their names. Otherwise they are matched by URI where both
    sides have URIs and share some, and by name: a label of the data set that the model lacks cannot be predicted,
    and its true pairs count as not found. A name that no label of the model has may be an alternative name or a
    notation of one.

    Args:
        names: the names of the labels of the model.
        data, split: the data set and its split.
        metadata: what else is known of the labels of the model.

    Raises:
        DataError: no label in common, or a true label whose name several labels have.
    """
    if len(names) == data.n_labels and list(names) == list(data.label_texts):
        return Truth(split.labels, split.n_true(), split.filter, np.arange(data.n_labels))
    by_uri, decided = _by_uri(metadata, data)
    index, twice = _index(names)
    of_data, twice_there = _index(data.label_texts, among=by_uri < 0)
    missing = {*of_data, *(() if split.unseen is None else split.unseen.names)} - index.keys()
    index |= _alternatives(metadata, missing)
    columns = np.fromiter((index.get(name, -1) for name in data.label_texts), np.int64, data.n_labels)
    decided &= (by_uri >= 0) | ~_without_uri(metadata, columns)
    columns = np.where(decided, by_uri, columns)
    known = len(np.unique(columns[columns >= 0]))
    if known == 0:
        raise _nothing_in_common(names, data)
    truth = _in_columns(split, columns, index, len(names))
    _refuse_ambiguous((twice | twice_there) & index.keys(), data, split, decided)
    pairs = split.filter
    if pairs is not None:
        pairs = np.stack([pairs[:, 0], columns[pairs[:, 1]]], axis=1)
        pairs = pairs[pairs[:, 1] >= 0]
    found = Truth(truth, split.n_true(), pairs, columns)
    found.notes.extend(_notes(found, names, data, known, "URI" if decided.any() else "name"))
    if truth.nnz == 0:
        raise DataError(
            f"none of the {int(found.n_true.sum()):,} true labels of the texts is a label of the model",
            wanted="texts with labels that the model knows",
            next_step="give test texts of the task that the model was trained for",
            where=data.path,
        )
    return found


def _index(names: Sequence[str], among: np.ndarray | None = None) -> tuple[dict[str, int], set[str]]:
    """The first column of each name, and the names that occur twice; only labels `among` (L,) bool count."""
    index: dict[str, int] = {}
    kept = ((i, name) for i, name in enumerate(names) if among is None or among[i])
    twice = {name for i, name in kept if index.setdefault(name, i) != i}
    return index, twice


def _by_uri(metadata: LabelMetadata | None, data: CorpusData) -> tuple[np.ndarray, np.ndarray]:
    """The column of each label of the data by its URI, −1 for none, and whether it has a URI that counts."""
    columns, decides = np.full(data.n_labels, -1, np.int64), np.zeros(data.n_labels, np.bool_)
    theirs = None if data.metadata is None else data.metadata.for_matching()
    ours = None if metadata is None else metadata.for_matching()
    if metadata is None or ours is None or theirs is None:
        return columns, decides
    found = metadata.with_uris({uri for uri in theirs if uri})
    for i, uri in enumerate(theirs):
        columns[i] = found.get(uri, [-1])[0]
        decides[i] = bool(uri)
    return (columns, decides) if found else (columns, np.zeros_like(decides))


def _without_uri(metadata: LabelMetadata | None, columns: np.ndarray) -> np.ndarray:
    """Whether columns are those of labels without a URI: (n,) bool."""
    if metadata is None or metadata.uris is None:
        return columns >= 0
    empty = metadata.uris.lengths[np.maximum(columns, 0)] == 0
    return np.asarray((columns >= 0) & empty)


def _alternatives(metadata: LabelMetadata | None, names: set[str]) -> dict[str, int]:
    """The columns of alternative names and notations of one label each."""
    found = {} if metadata is None else metadata.called(names)
    return {name: labels[0] for name, labels in found.items() if len(labels) == 1}


def _refuse_ambiguous(names: set[str], data: CorpusData, split: Split, decided: np.ndarray) -> None:
    """DataError for a true label whose name is among these, which several labels have, unless its URI decides."""
    used = (
        {data.label_texts[int(i)] for i in np.unique(split.labels.indices) if not decided[i]} if names else set()
    )
    if split.unseen is not None and names:
        used.update(split.unseen.names)
    for name in sorted(names & used):
        raise DataError(
            f"several labels have the name {name!r}",
            wanted="labels with different names, since they are in another order or number than the model's",
            next_step="make the names differ in both data sets, or keep the order of the labels of training",
            where=data.path,
        )


def _in_columns(split: Split, columns: np.ndarray, index: dict[str, int], n_labels: int) -> sp.csr_matrix:
    """The labels of a split, those without a column in its data set included, in the columns of the model."""
    rows = np.repeat(np.arange(len(split)), np.diff(split.labels.indptr))
    where = columns[split.labels.indices]
    if split.unseen is not None:
        more = np.fromiter((index.get(name, -1) for name in split.unseen.names), np.int64, len(split.unseen))
        rows, where = np.concatenate([rows, split.unseen.rows]), np.concatenate([where, more])
    rows, where = rows[where >= 0], where[where >= 0]
    truth = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, where)), shape=(len(split), n_labels))
    truth.data[:] = 1
    truth.sort_indices()
    return truth


def _notes(found: Truth, names: Sequence[str], data: CorpusData, known: int, by: str) -> list[str]:
    unknown = np.flatnonzero(found.columns < 0)
    lines = []
    if len(unknown):
        lines.append(
            f"{len(unknown):,} of {data.n_labels:,} labels of {data.name} are not labels of the model "
            f"({_some([data.label_texts[int(i)] for i in unknown[:SHOWN]], len(unknown))})"
        )
    missing = int(found.n_true.sum()) - found.labels.nnz
    if missing:
        lines.append(
            f"{missing:,} of {int(found.n_true.sum()):,} true labels are not labels of the model; recall and nDCG "
            "count them as not found, PSP and macro-F1 leave them out"
        )
    if known < len(names):
        lines.append(f"{len(names) - known:,} of {len(names):,} labels of the model are not labels of {data.name}")
    if not lines:
        lines.append(f"the labels of {data.name} are those of the model in another order: matched by {by}")
    return lines


def _nothing_in_common(names: Sequence[str], data: CorpusData) -> DataError:
    return DataError(
        f"no label of {data.name} ({_some(list(data.label_texts[:SHOWN]), data.n_labels)}) is one of the model's "
        f"({_some(list(names[:SHOWN]), len(names))})",
        wanted="labels with the names that the model knows them by",
        next_step="give test texts of the task that the model was trained for; where the labels are ids, put the "
        "list of their names (labels.txt, Y.txt) beside the texts",
    )


def _some(names: list[str], n: int) -> str:
    return ", ".join(map(repr, names)) + (", …" if n > len(names) else "")

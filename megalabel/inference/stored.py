"""Evaluates stored predictions: npz and JSON lines of `megalabel predict`, and sparse npz as PECOS writes it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.data.types import Split, Unseen
from megalabel.errors import DataError, MegalabelError, SettingError, line_of
from megalabel.inference.evaluate import DEPTHS, check_depths, measure_at, tell
from megalabel.inference.matching import Truth
from megalabel.inference.source import open_source
from megalabel.inference.stored_checks import check_fits
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.results import Metrics
from megalabel.metrics.topk import apply_filter, checked_arrays, topk_from_csr
from megalabel.types import TopK

NPZ, LINES = (".npz",), (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
BY_NAME = '{"labels": [{"label": …, "score": …}, …]}'
Name = tuple[str, int | None]


class Stored(NamedTuple):
    """Rankings of N texts.

    top: (N, k) ids, of `names` where there are some, else of the labels of the data set in their order.
    names: the name of each label, with its id in the file if it has one; None where the file holds ids alone.
    n_labels: the number of labels that the file says there are; None where it does not say.
    score_type: what the scores are; "" where the file does not say.
    """

    top: TopK
    names: list[Name] | None
    n_labels: int | None = None
    score_type: str = ""

    @property
    def label_names(self) -> list[str] | None:
        """The names without ids."""
        return None if self.names is None else [name for name, _ in self.names]


def is_predictions(path: Path) -> bool:
    """Whether a path is a file with the suffix of stored predictions."""
    return path.is_file() and path.name.lower().endswith((*NPZ, *LINES))


def read_predictions(path: Path, k: int) -> Stored:
    """The rankings in a file, at most k labels of each text where the file is a sparse matrix.

    Raises:
        DataError: the file is damaged, or holds something else than rankings.
    """
    return _read_npz(path, k) if path.name.lower().endswith(NPZ) else _read_lines(path)


def evaluate_predictions(
    path: Path,
    data: Corpus,
    split: Split,
    *,
    k: Sequence[int] | None = None,
    a: float | None = None,
    b: float | None = None,
    say: Any = None,
    stored: Stored | None = None,
) -> Metrics:
    """The metrics of stored predictions on a split of a data set, in percent.

    Labels are matched by name where the file holds names; ids are those of the data set. Filter pairs are removed
    from the predictions. Propensities come from the training split of the data set; without one they are left out.

    Args:
        path: the predictions, in the order of the texts.
        data: the data set.
        split: one of its splits.
        k: depths; default: those of 1, 3 and 5 that the predictions reach.
        a, b: constants of the propensity model.
        say: gets a sentence on what is left out.
        stored: what `read_predictions` read of the path before, or a part of it; None to read it.

    Raises:
        DataError: predictions for another number of texts, of labels that the data set lacks.
        SettingError: a depth that the predictions do not reach.
    """
    depths = check_depths(DEPTHS if k is None else k)
    stored = stored or read_predictions(path, labels_needed(split, k))
    check_fits(stored.top, stored.label_names, data, split, path)
    top, truth = in_one_space(stored, data, split)
    notes = []
    if stored.names is None:
        notes.append(f"{path}: ids are taken for the {data.n_labels:,} labels of {data.name} in their order")
    depths = _reached(depths, top, truth, path, explicit=k is not None, notes=notes)
    if truth.filter is not None and len(truth.filter):
        top = apply_filter(top, truth.filter, min(max(depths), top.k))
    weights = None
    if split is data.train:
        notes.append(f"PSP and PSnDCG are left out: {data.name} has no training texts to count labels in")
    elif len(data.train) >= 3:
        counts = np.bincount(data.train.labels.indices, minlength=truth.labels.shape[1])
        constants = data.propensity_constants
        weights = inverse_propensity(
            counts, len(data.train), constants[0] if a is None else a, constants[1] if b is None else b
        )
    tell(notes, say, serious=False)
    return Metrics(measure_at(top, truth, depths, weights))


def _read_npz(path: Path, k: int) -> Stored:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            if {"labels", "scores"} <= set(found.files):
                top = TopK(*checked_arrays(TopK(found["labels"], found["scores"])))
                kind = str(found["score_type"]) if "score_type" in found.files else ""
                return Stored(top, None, score_type=kind)
            names = ", ".join(found.files)[:80]
        if "indptr" in names:
            matrix = sp.load_npz(path).tocsr()
            most = int(np.diff(matrix.indptr).max(initial=1))
            return Stored(topk_from_csr(matrix, max(min(k, most), 1)), None, matrix.shape[1])
    except MegalabelError as error:  # of the shapes and types of the arrays
        raise DataError(error.found, wanted=error.wanted, next_step=error.next_step, where=path) from error
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"cannot be read as npz ({str(error)[:80]})",
            wanted="an npz file of predictions",
            next_step="write it again with `megalabel predict -o FILE.npz`",
            where=path,
        ) from error
    raise DataError(
        f"an npz file with the arrays {names}",
        wanted="the arrays labels and scores, or a scipy sparse matrix (texts × labels)",
        next_step="write it with `megalabel predict -o FILE.npz` or scipy.sparse.save_npz",
        where=path,
    )


def _read_lines(path: Path) -> Stored:
    index: dict[Name, int] = {}
    rows: list[tuple[list[int], list[float]]] = []
    kind = ""
    with open_source(path) as source:
        for number, line in source.lines():
            if line.strip():
                names, scores, kind = _ranking(line, line_of(path, number))
                rows.append(([index.setdefault(name, len(index)) for name in names], scores))
    width = max((len(ids) for ids, _ in rows), default=0)
    ids, values = np.full((len(rows), max(width, 1)), -1, np.int64), np.full((len(rows), max(width, 1)), -np.inf)
    for i, (row, scores) in enumerate(rows):
        ids[i, : len(row)], values[i, : len(row)] = row, scores
    order = np.argsort(-values, axis=1, kind="stable")
    ids, values = np.take_along_axis(ids, order, 1), np.take_along_axis(values, order, 1)
    return Stored(TopK(ids, values.astype(np.float32)), list(index), score_type=kind)


def _ranking(line: str, where: str) -> tuple[list[Name], list[float], str]:
    """The names of the labels on a line, their scores, and what these are; without scores the order counts."""
    try:
        value = json.loads(line)
        labels = value["labels"] if isinstance(value, dict) else value
        names: list[Name] = []
        scores: list[float] = []
        for i, label in enumerate(labels):
            name = label["label"] if isinstance(label, dict) else label
            score = label.get("score", -i) if isinstance(label, dict) else -i
            if isinstance(name, bool) or not isinstance(name, (str, int)) or score != score:
                raise ValueError(f"label {name!r}")
            at = label.get("id") if isinstance(label, dict) else None
            names.append((str(name), at if isinstance(at, int) else None))
            scores.append(float(score))
        kind = value.get("score_type", "") if isinstance(value, dict) else ""
        return names, scores, str(kind)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"no ranking of labels ({str(error)[:60]})",
            wanted=f"a line as `megalabel predict` writes it, {BY_NAME}",
            next_step="give a file that `megalabel predict -o FILE.jsonl` wrote",
            where=where,
        ) from error


def in_one_space(stored: Stored, data: Corpus, split: Split) -> tuple[TopK, Truth]:
    """Predictions and truth over the same columns: those of the data set, then the labels that it lacks."""
    if stored.names is None:
        if stored.n_labels not in (None, data.n_labels):
            raise DataError(
                f"predictions over {stored.n_labels:,} labels",
                wanted=f"the {data.n_labels:,} labels of {data.name}, in their order",
                next_step="give the data set that the predictions were made for",
                where=data.path,
            )
        return stored.top, Truth(split.labels, split.n_true(), split.filter, np.arange(data.n_labels))
    index: dict[str, int] = {}
    for i, name in enumerate(data.label_texts):
        index.setdefault(name, i)
    further = data.n_labels + np.arange(len(stored.names))  # columns of labels that the data set lacks
    for (name, _), column in zip(stored.names, further.tolist(), strict=True):
        index.setdefault(name, column)

    def column_of(name: str, at: int | None) -> int:
        here = at is not None and 0 <= at < data.n_labels and data.label_texts[at] == name
        return at if here and at is not None else index[name]

    columns = np.array([column_of(*name) for name in stored.names], np.int64)
    shape = len(split), data.n_labels + len(stored.names)
    labels = sp.csr_matrix((split.labels.data, split.labels.indices, split.labels.indptr), shape=shape)
    if split.unseen is not None:
        there = [(row, index[name]) for row, name in _named(split.unseen) if name in index]
        rows, more = np.array(there, np.int64).reshape(-1, 2).T
        labels = (labels + sp.csr_matrix((np.ones(len(rows), np.float32), (rows, more)), shape=shape)).tocsr()
        labels.data[:] = 1
    ids = np.where(stored.top.ids < 0, -1, columns[stored.top.ids]) if len(columns) else stored.top.ids
    return TopK(ids, stored.top.scores), Truth(labels, split.n_true(), split.filter, np.arange(data.n_labels))


def _named(unseen: Unseen) -> Iterator[tuple[int, str]]:
    return zip(unseen.rows.tolist(), unseen.names, strict=True)


def _reached(
    depths: list[int], top: TopK, truth: Truth, path: Path, *, explicit: bool, notes: list[str]
) -> list[int]:
    """The depths that the predictions reach; SettingError for one that was asked for and is not reached."""
    width, labels = top.k, len(truth.columns)
    if width >= min(max(depths), labels):
        return depths
    if explicit:
        raise SettingError(
            f"k = {max(depths):,} for predictions of {width:,} labels per text",
            wanted=f"depths from 1 to {width:,}",
            next_step="predict more labels per text (-k), or measure at a smaller k",
            where="k",
        )
    reached = [depth for depth in depths if depth <= width]
    notes.append(f"{path} holds {width:,} labels per text; deeper metrics are left out")
    return reached


def labels_needed(split: Split, k: Sequence[int] | None) -> int:
    """The labels per text that metrics at depths k read: k and the largest number of filter pairs of a text."""
    filtered = 0 if split.filter is None or not len(split.filter) else int(np.bincount(split.filter[:, 0]).max())
    return max(check_depths(DEPTHS if k is None else k)) + filtered

"""Evaluates stored predictions: npz and JSON lines of `megalabel predict`, and sparse npz as PECOS writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.corpus import Corpus
from megalabel.data.taxonomy import Taxonomy
from megalabel.data.types import Split, Unseen
from megalabel.errors import DataError, SettingError
from megalabel.inference.evaluate import DEPTHS, check_depths, measure_at, tell
from megalabel.inference.hierarchy import hierarchical, taxonomy_for
from megalabel.inference.matching import Truth
from megalabel.inference.stored_checks import check_fits
from megalabel.inference.stored_files import Stored, columns_of, read_predictions
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.results import Metrics
from megalabel.metrics.topk import apply_filter
from megalabel.types import TopK


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
    taxonomy: Taxonomy | None = None,
) -> Metrics:
    """The metrics of stored predictions on a split of a data set, in percent.

    Labels are matched by URI or by name where the file holds these; ids are those of the data set. Filter pairs
    are removed from the predictions. Propensities come from the training split of the data set; without one they
    are left out.

    Args:
        path: the predictions, in the order of the texts.
        data: the data set.
        split: one of its splits.
        k: depths; default: those of 1, 3 and 5 that the predictions reach.
        a, b: constants of the propensity model.
        say: gets a sentence on what is left out.
        taxonomy: over the labels of the data set; default: that of the data set, if any.
        stored: what `read_predictions` read of the path before, or a part of it; None to read it.

    Raises:
        DataError: predictions for another number of texts, of labels that the data set lacks.
        SettingError: a depth that the predictions do not reach.
    """
    depths = check_depths(DEPTHS if k is None else k)
    stored = stored or read_predictions(path, labels_needed(split, k))
    check_fits(stored.top, stored.names_and_uris, data, split, path)
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
    hierarchy = taxonomy_for(taxonomy, data.metadata, data, truth, data.label_texts)
    found = measure_at(top, truth, depths, weights)
    return Metrics(found | hierarchical(top, truth, depths, hierarchy))


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
    columns = columns_of(stored.names, data)
    further: dict[str, int] = {}  # columns of labels that the data set lacks, by URI and by name
    for at, name in enumerate(stored.names):
        if columns[at] < 0:
            same = [further[text] for text in (name.uri, name.text) if text in further]
            columns[at] = same[0] if same else data.n_labels + at
            further |= {text: int(columns[at]) for text in (name.uri, name.text) if text}
    shape = len(split), data.n_labels + len(stored.names)
    labels = sp.csr_matrix((split.labels.data, split.labels.indices, split.labels.indptr), shape=shape)
    if split.unseen is not None:
        there = [(row, further[name]) for row, name in _named(split.unseen) if name in further]
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

"""Builds the label tree of a corpus: label features, label graph, clusters."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.data.texts import Texts
from megalabel.errors import SettingError
from megalabel.labels.settings import TreeSettings

if TYPE_CHECKING:
    import scipy.sparse as sp

    from megalabel.data.corpus import Corpus
    from megalabel.labels.tree import LabelTree

Say = Callable[[str], Any]
LABEL_TEXTS = "label_texts_sha256"  # a key of `LabelTree.built`
LABEL_COUNTS = "label_counts_sha256"  # another: how many training texts each label has


def build_tree(
    data: Corpus, *, rows: np.ndarray | None = None, say: Say | None = None, **settings: Any
) -> LabelTree:
    """Builds the label tree of a corpus from its training texts, as CascadeXML does (arXiv 2211.00640).

    The result does not depend on the number of threads.

    Args:
        data: the corpus. Bags of words are used directly as features of the texts, without the settings of words.
        rows: (n,) integers, the training texts to use, such as those not held out for validation. Default: all.
        say: a function that takes one line of text per step, such as `print`.
        settings: the fields of `TreeSettings` by name, such as depths=(8, 11); default: its defaults.

    Raises:
        SettingError: a value is out of its range, or the depths do not fit the number of labels.
        DataError: texts and labels have no words.
    """
    from megalabel.labels.cluster import check_depths, choose_depths
    from megalabel.labels.head_labels import cluster_without_head

    chosen = TreeSettings(**settings)
    _check_settings(chosen, data)
    given = chosen.depths
    depths = choose_depths(data.n_labels) if given is None else check_depths(given, data.n_labels)
    rows = _check_rows(rows, len(data.train))
    step = _StepLog(say)
    step.say(_depths_line(depths, data.n_labels, given is None))
    features, labels = _label_features(data, rows, chosen, step)
    if chosen.graph:
        features = _smoothed(features, labels, chosen, step)
    counts = np.bincount(labels.indices, minlength=labels.shape[1])
    tree = cluster_without_head(features, depths, counts, chosen.head_labels_above, seed=chosen.seed)
    step("clusters", " > ".join(f"{n:,}" for n in tree.sizes))
    tree.built.update(
        data=data.name, source=chosen.source, normalize=chosen.normalize, depths=list(depths),
        cluster_features=chosen.cluster_features, **chosen.words(), seed=chosen.seed, texts=int(labels.shape[0]),
        graph=chosen.walks() if chosen.graph else None, head_labels_above=chosen.head_labels_above,
        **{LABEL_TEXTS: data.label_texts.sha256(), LABEL_COUNTS: _counts_sha256(data)},
    )  # fmt: skip
    return tree


def check_fits(tree: LabelTree, data: Corpus) -> None:
    """Raises SettingError unless the tree is over the labels of the corpus.

    A tree of `build_tree` holds a hash of its label texts; of other trees only the number of labels is compared.
    If one of the two has ids instead of names, such as a bag of words of the same data set, the labels are
    compared by their numbers of training texts.
    """
    of = f" of {tree.built['data']}" if "data" in tree.built else ""
    if tree.n_labels != data.n_labels:
        found = f"the label tree{of} has {tree.n_labels:,} labels, {data.name} has {data.n_labels:,}"
    elif tree.built.get(LABEL_TEXTS) not in (None, data.label_texts.sha256()):
        if _same_ids(tree, data):
            return
        found = f"the label tree{of} was built over other label texts than those of {data.name}"
    else:
        return
    raise SettingError(
        found,
        wanted="a tree over the labels of this data set",
        next_step=f"build one for {data.name} with `megalabel tree build`",
    )


def _same_ids(tree: LabelTree, data: Corpus) -> bool:
    ids = Texts.numbers(data.n_labels).sha256()
    without_names = ids in (tree.built.get(LABEL_TEXTS), data.label_texts.sha256())
    return without_names and tree.built.get(LABEL_COUNTS) == _counts_sha256(data)


def _counts_sha256(data: Corpus) -> str:
    counts = np.bincount(data.train.labels.indices, minlength=data.n_labels)
    return hashlib.sha256(counts.astype("<i8").tobytes()).hexdigest()


class _StepLog:
    """Writes one line per step: what it made, and how many seconds it took."""

    def __init__(self, say: Say | None) -> None:
        self.say, self.start = say or (lambda _: None), time.monotonic()

    def __call__(self, name: str, made: str) -> None:
        now = time.monotonic()
        self.say(f"{name:<10} {now - self.start:7.1f} s  {made}")
        self.start = now


def _check_settings(settings: TreeSettings, data: Corpus) -> None:
    from megalabel.inputs.bag_of_words import check_text_settings_unused
    from megalabel.labels.graph import check_graph
    from megalabel.labels.graph_file import check_name

    if settings.cluster_features < 1:
        raise SettingError.range("cluster_features", settings.cluster_features, 1, integer=True)
    if settings.seed < 0:
        raise SettingError.range("seed", settings.seed, 0, integer=True)
    if settings.source == "texts" and data.train.features is not None:
        check_text_settings_unused(TreeSettings, **settings.words())
    if settings.head_labels_above < 0:
        raise SettingError.range("head_labels_above", settings.head_labels_above, 0, integer=True)
    if settings.graph_file is not None:
        check_name(settings.graph_file)
        if not settings.graph:
            found = f"graph_file = {settings.graph_file!r} without a graph"
            raise SettingError(found, wanted="a graph, or no graph_file", where="graph_file")
    if settings.graph:
        check_graph(settings.walk_length, settings.restart_probability, settings.graph_top_k)


def _label_features(
    data: Corpus, rows: np.ndarray | None, settings: TreeSettings, step: _StepLog
) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """The features of the labels (L, V), and the labels (n, L) of the texts that are used."""
    from megalabel.inputs.tfidf import l2_rows
    from megalabel.labels.features import feature_sources, label_features

    found = feature_sources(data, rows, source=settings.source, **settings.words())
    labels, weights = found.labels, found.texts.nnz + found.names.nnz
    step("texts", f"{len(data.train) if rows is None else len(rows):,} texts, {weights:,} weights")
    features = label_features(found, settings.source, settings.cluster_features)
    del found
    if settings.normalize:
        features = l2_rows(features)
    step("features", f"{features.nnz:,} of {features.shape[0]:,} labels{_unplaced(labels, features)}")
    return features, labels


def _smoothed(
    features: sp.csr_matrix, labels: sp.csr_matrix, settings: TreeSettings, step: _StepLog
) -> sp.csr_matrix:
    """The features of the labels (L, V), smoothed along the label graph."""
    from megalabel.labels.graph import label_graph, smoothed
    from megalabel.labels.graph_file import load_graph, save_graph

    file, walks = settings.graph_file, {**settings.walks(), "seed": settings.seed}
    if file is not None and Path(file).exists():
        edges, source = load_graph(file, labels, walks), f" from {file}"
    else:
        edges, source = label_graph(labels, **walks), ""
        if file is not None:
            save_graph(file, edges, labels, walks)
    step("graph", f"{edges.nnz:,} edges{source}")
    features = smoothed(edges, features, settings.cluster_features)
    step("smoothing", f"{features.nnz:,} features")
    return features


def _depths_line(depths: tuple[int, ...], n_labels: int, chosen: bool) -> str:
    clusters = " > ".join(f"{2**d:,}" for d in depths)
    mean = n_labels / 2 ** depths[-1]
    line = f"depths {','.join(map(str, depths))}: {clusters} clusters, {mean:.1f} labels per leaf"
    return line + (" (chosen from the number of labels)" if chosen else "")


def _unplaced(labels: Any, features: Any) -> str:
    """The number of labels without training texts, and of labels without any features."""
    no_text = np.bincount(labels.indices, minlength=labels.shape[1]) == 0
    no_features = np.diff(features.indptr) == 0
    parts = [
        f"{np.count_nonzero(mask):,} {what}"
        for mask, what in (
            (no_text & ~no_features, "without training text, clustered by their label text"),
            (no_features, "without any features, assigned to balance the clusters"),
        )
        if mask.any()
    ]
    return f" ({'; '.join(parts)})" if parts else ""


def _check_rows(rows: np.ndarray | None, n: int) -> np.ndarray | None:
    if rows is None:
        return None
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0 or rows.min() < 0 or rows.max() >= n:
        raise SettingError(
            f"rows of shape {rows.shape} and dtype {rows.dtype}",
            wanted=f"at least one integer from 0 to {n - 1}",
            where="rows",
        )
    return rows.astype(np.int64)
